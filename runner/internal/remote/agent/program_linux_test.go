package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bothy/runner/internal/testrig"
)

// program builds the program.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bothy")
	build := exec.Command("go", "build", "-o", path, "bothy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// running is the program as a worker.
type runningProgram struct {
	*exec.Cmd
	t     *testing.T
	ended chan struct{}
	log   strings.Builder // once ended
}

func startProgram(t *testing.T, path, dir string, args ...string) *runningProgram {
	t.Helper()
	p := &runningProgram{Cmd: exec.Command(path, append([]string{"worker"}, args...)...), t: t, ended: make(chan struct{})}
	p.Dir, p.Stderr = dir, &p.log
	p.Env = append(os.Environ(), mark(dir))
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait() // ProcessState tells
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		<-p.ended
	})
	return p
}

func (p *runningProgram) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exits waits for the end, with a code.
func (p *runningProgram) exits(code int) {
	p.t.Helper()
	testrig.Until(p.t, "the program has not ended", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	if got := p.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d:\n%s", got, code, &p.log)
	}
}

// The program takes the place of a buildbot-worker that was set up by its own
// create-worker, over both protocols, and obeys signals.
func realProgram(t *testing.T, m *buildbot, o Options, suffix, path string) {
	if _, err := exec.LookPath("buildbot-worker"); err != nil {
		testrig.Missing(t, "Buildbot's worker: apt-get install --no-install-recommends buildbot-worker")
	}
	dir := filepath.Join(t.TempDir(), "w")
	protocol := map[Protocol]string{PB: "pb", Msgpack: "msgpack_experimental_v7"}[o.Protocol]
	create := exec.Command("buildbot-worker", "create-worker", "-q", "--umask=0o22", "--protocol="+protocol, dir, m.addr(o.Protocol), o.Name, password)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	p := startProgram(t, path, dir, "--tac", ".")
	m.connected(o.Name, true)
	want(t, m.run("ok"+suffix), bbSuccess)
	if admin, _ := m.worker(o.Name).Info["admin"].(string); !strings.Contains(admin, "@") {
		t.Errorf("admin: %q", admin)
	}
	if _, err := os.Stat(filepath.Join(dir, "ok"+suffix, "build")); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGHUP)
	p.exits(0)
	m.connected(o.Name, false)

	p = startProgram(t, path, dir, "--tac", dir)
	m.connected(o.Name, true)
	request := m.force("stop" + suffix)
	m.began(request, dir, "stop"+suffix)
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	p.exits(0)
	testrig.NothingLeft(t, mark(dir), "two signals", testrig.Patience)
	m.forget(request)

	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("guess\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = startProgram(t, path, t.TempDir(), "--master", m.addr(o.Protocol), "--protocol", string(o.Protocol), "--name", o.Name, "--password-file", wrong, "--once")
	p.exits(3)
	if !strings.Contains(p.log.String(), "unknown name or wrong password") {
		t.Errorf("it says %q", &p.log)
	}
	startProgram(t, path, dir, "--tac", dir)
	m.connected(o.Name, true)
	p = startProgram(t, path, dir, "--tac", dir)
	p.exits(3)
	if !strings.Contains(p.log.String(), "is held by process") {
		t.Errorf("a second worker in one directory: %q", &p.log)
	}
}

func TestProgramUsage(t *testing.T) {
	t.Parallel()
	path := program(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "a worker needs --master"},
		{[]string{"--master", "h"}, "a worker needs --name"},
		{[]string{"--master", "h", "--name", "n"}, "a worker needs --password-file"},
		{[]string{"--master", "h", "--name", "n", "--password-file", "none"}, "no such file"},
		{[]string{"--master", "h", "--name", "n", "--protocol", "x"}, "unknown protocol"},
		{[]string{"--tac", "none"}, "no such file"},
		{[]string{"extra"}, "unexpected argument"},
	} {
		p := startProgram(t, path, t.TempDir(), c.args...)
		p.exits(2)
		if !strings.Contains(p.log.String(), c.want) {
			t.Errorf("%q: %q, want %q", c.args, &p.log, c.want)
		}
	}
}
