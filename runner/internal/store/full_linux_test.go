package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bothy/runner/build"
)

// mountTmpfs returns a directory on a file system of its own, of the given size.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("NOT TESTED: cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The disk fills up while the store commits, at once or page by page; what was
// refused is kept by the caller, merged with what comes later, and committed
// when there is space. Nothing is lost, nothing is there twice.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, free := range []int64{0, 1, 4096, 40_000} {
		t.Run(fmt.Sprint(free, " bytes left"), func(t *testing.T) {
			dir := mountTmpfs(t, "8m")
			s := mustOpen(t, filepath.Join(dir, "state.db"))
			mustStart(t, s)
			mustCommit(t, s, func(b *Batch) { numbered(b, 1, 1, 1) })
			ballast := filepath.Join(dir, "ballast")
			fillUp(t, dir, ballast, free)

			kept := NewBatch()
			n, refused := int64(1), 0
			for refused < 30 {
				n++
				b := NewBatch()
				b.PutRequest(&Request{ID: n, Builder: "b", Submitted: t0, Result: build.None})
				numbered(b, n, n, 1)
				kept.Merge(b)
				err := s.Commit(kept)
				if err == nil {
					kept = NewBatch()
					continue
				}
				refused++
				if !IsFull(err) || !strings.Contains(err.Error(), "full") {
					t.Fatalf("batch %d: %v", n, err)
				}
				// What is on disk can be read all the while.
				if _, err := s.Request(t.Context(), 1); err != nil {
					t.Fatalf("read on a full disk: %v", err)
				}
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(kept); err != nil {
				t.Fatalf("with space again: %v", err)
			}
			checkNumbered(t, s, n)
			before := dump(t, s)
			s = reopen(t, s)
			if d := cmp.Diff(before, dump(t, s)); d != "" {
				t.Error(d)
			}
			checkNumbered(t, s, n)
		})
	}
}

// fillUp leaves free bytes of the file system.
func fillUp(t *testing.T, dir, path string, free int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-free/4096*4096); err != nil {
		t.Fatal(err)
	}
}

// A disk that is full from the start is an error of Open or Start, not a crash.
func TestStartOnAFullDisk(t *testing.T) {
	dir := mountTmpfs(t, "1m")
	path := filepath.Join(dir, "state.db")
	fillUp(t, dir, filepath.Join(dir, "ballast"), 0)
	if s, err := Open(path, quiet()); err == nil {
		t.Fatalf("opened; closed: %v", s.Close())
	} else if !IsFull(err) && !strings.Contains(err.Error(), "disk I/O error") {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if r := mustStart(t, mustOpen(t, path)); r.Epoch != 1 {
		t.Errorf("epoch %d", r.Epoch)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := mountTmpfs(t, "4m")
	path := filepath.Join(dir, "state.db")
	s := mustOpen(t, path)
	mustStart(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Join(dir, "new.db")} {
		s, err := Open(p, quiet())
		if err == nil {
			t.Fatalf("opened %s; closed: %v", p, s.Close())
		}
		says(t, err, ErrReadOnly, p, "must be writable")
	}
}
