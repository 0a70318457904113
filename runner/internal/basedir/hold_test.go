package basedir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func resolve(t *testing.T) Layout {
	t.Helper()
	l, err := Resolve(filepath.Join(t.TempDir(), ".bothy"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func hold(t *testing.T, l Layout) *Holder {
	t.Helper()
	h, err := Hold(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestOneHolder(t *testing.T) {
	l := resolve(t)
	h := hold(t, l)
	_, err := Hold(l)
	if e, ok := errors.AsType[*HeldError](err); !ok || e.PID != os.Getpid() || e.Dir != l.Dir {
		t.Fatalf("second holder: %v", err)
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("held by process %d", os.Getpid())) {
		t.Errorf("error %q does not name the process", err)
	}
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	next := hold(t, l)
	if next.ID() != h.ID() {
		t.Errorf("id %s became %s", h.ID(), next.ID())
	}
	for _, d := range []string{l.LogDir, l.WorkDir, l.RunDir} {
		if info, err := os.Stat(d); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func TestIDs(t *testing.T) {
	a, b := hold(t, resolve(t)), hold(t, resolve(t))
	if !validID(a.ID()) || a.ID() == b.ID() {
		t.Errorf("ids %q and %q", a.ID(), b.ID())
	}
}

func TestIDThatIsNotWholeIsMadeAnew(t *testing.T) {
	for _, content := range []string{"", "ABC\n", strings.Repeat("a", 26), strings.Repeat("A", 100_000)} {
		l := resolve(t)
		if err := os.WriteFile(filepath.Join(l.Dir, "id"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h := hold(t, l); !validID(h.ID()) {
			t.Errorf("from %.30q: id %q", content, h.ID())
		}
	}
}

// The lock and the socket of a process that was killed are no obstacle.
func TestKilledHolder(t *testing.T) {
	l := resolve(t)
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), holdHelper+"="+l.Dir)
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || line != "held\n" {
			t.Fatalf("helper said %q, %v", line, err)
		}
		_, err = Hold(l)
		if e, ok := errors.AsType[*HeldError](err); !ok || e.PID != cmd.Process.Pid {
			t.Errorf("while it runs: %v", err)
		}
		c, err := Dial(t.Context(), l)
		if err != nil {
			t.Fatalf("while it runs: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait() // it was killed
		_ = stdin.Close()

		if _, err := Dial(t.Context(), l); !errors.Is(err, ErrNoMaster) {
			t.Errorf("after kill -9: %v", err)
		}
		h := hold(t, l)
		talk(t, h)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
