package remote

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/worker"
)

func TestPeerFiles(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, _, _ := connect(t, speaks)
		b := startBuild(t, c, "test", nil)
		ctx := within(t)
		for _, size := range []int{0, 1, blockSize, 3*blockSize + 17, 5 << 20} {
			data := make([]byte, size)
			for i, r := 0, rand.New(rand.NewPCG(1, uint64(size))); i < size; i++ {
				data[i] = byte(r.Uint32())
			}
			if err := b.Download(ctx, "sub/file", bytes.NewReader(data), int64(size), 0o750); err != nil {
				t.Fatal(err)
			}
			there := filepath.Join(b.Dir(), "sub", "file")
			got, err := os.ReadFile(there)
			if info, statErr := os.Stat(there); err != nil || statErr != nil || !bytes.Equal(got, data) || info.Mode().Perm() != 0o750 {
				t.Fatalf("%d bytes down: %d bytes, %v, %v", size, len(got), err, info)
			}
			var back bytes.Buffer
			if err := b.Upload(ctx, "sub/file", &back, int64(size)); err != nil || !bytes.Equal(back.Bytes(), data) {
				t.Fatalf("%d bytes up: %d bytes, %v", size, back.Len(), err)
			}
			if size == 0 {
				continue
			}
			back.Reset()
			if err := b.Upload(ctx, "sub/file", &back, int64(size-1)); !errors.Is(err, ErrTooLarge) || back.Len() >= size {
				t.Errorf("%d bytes up, one too many: %d bytes, %v", size, back.Len(), err)
			}
			if err := b.Download(ctx, "sub/big", bytes.NewReader(data), int64(size-1), 0); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%d bytes down, one too many: %v", size, err)
			}
		}

		run(t, b, sh(b, "mkdir -p tree/sub; echo one >tree/1; echo two >tree/sub/2; ln -s /etc/passwd tree/link"))
		var archive bytes.Buffer
		if err := b.UploadDir(ctx, "tree", &archive, 1<<20); err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for r := tar.NewReader(&archive); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			found[h.Name] = string(text) + h.Linkname
		}
		for name, want := range map[string]string{"1": "one\n", "sub/2": "two\n", "link": "/etc/passwd"} {
			if found[name] != want {
				t.Errorf("%s in the archive: %q, want %q (%v)", name, found[name], want, found)
			}
		}
		if err := b.UploadDir(ctx, "tree", io.Discard, 1000); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large a directory: %v", err)
		}

		if err := b.Upload(ctx, "no-such-file", io.Discard, 1000); err == nil || !strings.Contains(err.Error(), "no-such-file") {
			t.Errorf("a file that is not there: %v", err)
		}
		if err := b.UploadDir(ctx, "no-such-dir", io.Discard, 1000); err == nil {
			t.Error("a directory that is not there was sent")
		}
		broken := errors.New("disk full")
		if err := b.Upload(ctx, "sub/file", writerFunc(func() error { return broken }), 100<<20); !errors.Is(err, broken) {
			t.Errorf("a writer that fails: %v", err)
		}
		if err := b.Download(ctx, "x", io.MultiReader(strings.NewReader("begun"), readerFunc(func() error { return broken })), 100, 0); !errors.Is(err, broken) {
			t.Errorf("a reader that fails: %v", err)
		}
		cut, cancel := context.WithCancel(ctx)
		if err := b.Upload(cut, "sub/file", writerFunc(func() error { cancel(); return nil }), 100<<20); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if exit, out := run(t, b, sh(b, "echo fine")); exit.Code != 0 || out.text(worker.Stdout) != "fine\n" {
			t.Errorf("afterwards: %+v", exit)
		}
		end(t, b, worker.DropDir)
	})
}

type writerFunc func() error

func (f writerFunc) Write(p []byte) (int, error) { return len(p), f() }

type readerFunc func() error

func (f readerFunc) Read([]byte) (int, error) { return 0, f() }
