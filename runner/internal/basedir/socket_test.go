package basedir

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// talk listens, dials, and passes a word through.
func talk(t *testing.T, h *Holder) {
	t.Helper()
	l, err := h.Listen()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		defer close(got)
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		data, err := io.ReadAll(c)
		if err = errors.Join(err, c.Close()); err != nil {
			t.Error(err)
		}
		got <- string(data)
	}()
	c, err := Dial(t.Context(), h.Layout())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("got %q", s)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSocket(t *testing.T) {
	h := hold(t, resolve(t))
	if _, err := Dial(t.Context(), h.Layout()); !errors.Is(err, ErrNoMaster) {
		t.Errorf("before it listens: %v", err)
	}
	talk(t, h)
	if _, err := Dial(t.Context(), h.Layout()); !errors.Is(err, ErrNoMaster) {
		t.Errorf("after it listened: %v", err)
	}
	if _, err := os.Stat(socketRecord(h.Layout())); !os.IsNotExist(err) {
		t.Errorf("the record of the socket is left: %v", err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	run := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", run)
	h := hold(t, resolve(t))
	l, err := h.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := l.Addr().String()
	if runtime.GOOS == "windows" {
		t.Skip("NOT TESTED: Windows has no modes")
	}
	if want := filepath.Join(run, "bothy", h.ID()+".sock"); path != want {
		t.Errorf("socket %s, want %s", path, want)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
	}
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestSocketPathIsShortAndNotInAnothersDirectory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT TESTED: Windows has no XDG_RUNTIME_DIR")
	}
	fallback := socketDirs("")[0]
	open := shortDir(t)
	if err := os.Mkdir(filepath.Join(open, "bothy"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(open, "bothy"), 0o777); err != nil {
		t.Fatal(err)
	}
	link := shortDir(t)
	if err := os.Symlink(t.TempDir(), filepath.Join(link, "bothy")); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]string{
		"too long": "/" + strings.Repeat("x", 80), "missing": filepath.Join(t.TempDir(), "no"), "open to others": open, "a link": link,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", run)
			path, err := hold(t, resolve(t)).socketPath()
			if err != nil || filepath.Dir(path) != fallback {
				t.Errorf("%s, %v; want it below %s", path, err, fallback)
			}
		})
	}
}

func TestDialRefusesWhatIsNoPath(t *testing.T) {
	for _, content := range []string{"", "\n", "relative.sock\n", "/a\x00b\n", "/a\n/b\n", "/" + strings.Repeat("x", 5000)} {
		l := resolve(t)
		if err := os.WriteFile(socketRecord(l), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Dial(t.Context(), l); err == nil || errors.Is(err, ErrNoMaster) {
			t.Errorf("%.20q: %v", content, err)
		}
	}
}

func TestCheckPeerWantsASocketOfThisMachine(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("NOT TESTED: Windows does not tell who is at the other end")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := checkPeer(a); err == nil {
		t.Error("a pipe passed")
	}
}
