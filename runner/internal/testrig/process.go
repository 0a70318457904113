//go:build linux

package testrig

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a run of the program, leader of a process group of its own.
type Process struct {
	T        testing.TB
	Cmd      *exec.Cmd // may be changed before Launch
	Out, Err Output
	Ended    chan struct{} // closed at the end; then Cmd.ProcessState is valid
	scene    *Scene
}

// Output is what a process prints. It may be read meanwhile.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Launch starts what Prepare made. It does not outlive the test.
func (p *Process) Launch() {
	p.T.Helper()
	if err := p.Cmd.Start(); err != nil {
		p.T.Fatal(err)
	}
	p.scene.running.Store(p, true)
	go func() {
		p.Cmd.Wait() // the exit code says it
		p.scene.running.Delete(p)
		close(p.Ended)
	}()
}

// Signal sends to the process alone.
func (p *Process) Signal(sig syscall.Signal) {
	p.T.Helper()
	if err := syscall.Kill(p.Cmd.Process.Pid, sig); err != nil {
		p.T.Error(err)
	}
}

// SignalGroup sends to the process group, as a terminal does.
func (p *Process) SignalGroup(sig syscall.Signal) {
	p.T.Helper()
	if err := syscall.Kill(-p.Cmd.Process.Pid, sig); err != nil {
		p.T.Error(err)
	}
}

// Ends waits for the end and returns how long it waited.
func (p *Process) Ends() time.Duration {
	p.T.Helper()
	began := time.Now()
	select {
	case <-p.Ended:
	case <-time.After(Patience):
		p.T.Fatalf("%q still runs after %v\n%s", p.Cmd.Args, Patience, p.All())
	}
	return time.Since(began)
}

// Exits is Ends, and checks the exit code (-1: killed).
func (p *Process) Exits(code int) time.Duration {
	p.T.Helper()
	took := p.Ends()
	if got := p.Cmd.ProcessState.ExitCode(); got != code {
		p.T.Errorf("%q: %v, want exit code %d\n%s", p.Cmd.Args, p.Cmd.ProcessState, code, p.All())
	}
	return took
}

// Awaits waits for text on stdout.
func (p *Process) Awaits(text string) {
	p.T.Helper()
	over := false
	if !poll(Patience, func() bool {
		select {
		case <-p.Ended: // before looking for the last time
			over = true
		default:
		}
		return strings.Contains(p.Out.String(), text) || over
	}) {
		p.T.Fatalf("%q has not printed %q within %v\n%s", p.Cmd.Args, text, Patience, p.All())
	}
	if over && !strings.Contains(p.Out.String(), text) {
		p.T.Fatalf("%q ended (%v) without printing %q\n%s", p.Cmd.Args, p.Cmd.ProcessState, text, p.All())
	}
}

// Prints checks that stdout contains each text.
func (p *Process) Prints(texts ...string) {
	p.T.Helper()
	contains(p.T, "stdout", p.Out.String(), texts)
}

// Says checks that stderr contains each text.
func (p *Process) Says(texts ...string) {
	p.T.Helper()
	contains(p.T, "stderr", p.Err.String(), texts)
}

func contains(t testing.TB, what, got string, texts []string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s has no %q:\n%s", what, text, Shorten(got))
		}
	}
}

// All is both of the process's streams, for a message.
func (p *Process) All() string {
	return "stdout: " + Shorten(p.Out.String()) + "\nstderr: " + Shorten(p.Err.String())
}

// Shorten leaves out the middle of a long text.
func Shorten(s string) string {
	if len(s) > 4000 {
		return s[:2000] + "\n[…]\n" + s[len(s)-2000:]
	}
	return s
}
