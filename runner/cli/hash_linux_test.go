package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"bothy/runner/internal/auth"
)

// typist sits at a terminal.
type typist struct {
	t        *testing.T
	keyboard *os.File
	terminal *os.File

	mu    sync.Mutex
	shown bytes.Buffer // on the terminal
}

func newTypist(t *testing.T) *typist {
	t.Helper()
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	ty := &typist{t: t, keyboard: keyboard, terminal: terminal}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		b := make([]byte, 1024)
		for {
			n, err := keyboard.Read(b)
			ty.mu.Lock()
			ty.shown.Write(b[:n])
			ty.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		terminal.Close()
		keyboard.Close()
		<-watched
	})
	return ty
}

func (ty *typist) screen() string {
	ty.mu.Lock()
	defer ty.mu.Unlock()
	return ty.shown.String()
}

func (ty *typist) echoes() bool {
	state, err := unix.IoctlGetTermios(int(ty.terminal.Fd()), unix.TCGETS)
	if err != nil {
		ty.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// until waits for a condition.
func (ty *typist) until(what string, ok func() bool) {
	ty.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			ty.t.Fatalf("%s: not within a minute; the screen shows %q", what, ty.screen())
		}
	}
}

// answer types a line when the prompt is there and the terminal hides it.
func (ty *typist) answer(prompt, line string) {
	ty.t.Helper()
	ty.until(prompt, func() bool { return strings.HasSuffix(ty.screen(), prompt) && !ty.echoes() })
	if _, err := ty.keyboard.WriteString(line + "\n"); err != nil {
		ty.t.Fatal(err)
	}
}

// run runs a command line at the terminal, with stdout elsewhere.
func (ty *typist) run(ctx context.Context, args ...string) (code <-chan int, stdout *bytes.Buffer) {
	stdout = &bytes.Buffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, args, Env{Stdin: ty.terminal, Stdout: stdout, Stderr: ty.terminal, Dir: ty.t.TempDir()})
	}()
	return ended, stdout
}

func TestHashPasswordAtATerminal(t *testing.T) {
	ty := newTypist(t)
	code, stdout := ty.run(t.Context(), "hash-password")
	ty.answer("password: ", "correct horse")
	ty.answer("again: ", "correct horse")
	if c := <-code; c != 0 {
		t.Fatalf("exit code %d, screen %q", c, ty.screen())
	}
	hash := strings.TrimSuffix(strings.TrimPrefix(stdout.String(), `password_hash = "`), "\"\n")
	if !auth.NewVerifier().VerifyPassword(t.Context(), hash, "correct horse") {
		t.Errorf("printed %q", stdout)
	}
	if !ty.echoes() {
		t.Error("the terminal still hides what is typed")
	}
	if screen := ty.screen(); strings.Contains(screen, "horse") {
		t.Errorf("the screen shows %q", screen)
	}
}

func TestHashPasswordTwoDifferentOnes(t *testing.T) {
	ty := newTypist(t)
	code, stdout := ty.run(t.Context(), "hash-password")
	ty.answer("password: ", "correct horse")
	ty.answer("again: ", "correct house")
	if c := <-code; c != exitUsage || stdout.Len() > 0 {
		t.Errorf("exit code %d, printed %q", c, stdout)
	}
	ty.until("the reason", func() bool { return strings.Contains(ty.screen(), "bothy: the two are not the same") })
}

func TestHashPasswordInterrupted(t *testing.T) {
	ty := newTypist(t)
	ctx, cancel := context.WithCancel(t.Context())
	code, stdout := ty.run(ctx, "hash-password")
	ty.until("the prompt", func() bool { return strings.HasSuffix(ty.screen(), "password: ") && !ty.echoes() })
	cancel()
	if c := <-code; c != exitInterrupted || stdout.Len() > 0 {
		t.Errorf("exit code %d, printed %q", c, stdout)
	}
	if !ty.echoes() {
		t.Error("the terminal still hides what is typed")
	}
	ty.keyboard.WriteString("\n") // lets the reader that was left behind go
}
