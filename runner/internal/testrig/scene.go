//go:build linux

package testrig

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/basedir"
)

// Scene is a directory with a configuration, and the environment in which the
// program is run there. What of it still runs after the test is a failure.
type Scene struct {
	T       testing.TB
	Dir     string
	Program string   // the program under test
	Env     []string // of the program
	Wrap    []string // a command to run the program with
	mark    string
	running sync.Map // *Process
}

// NewScene writes bothy.toml, with a web server on a port of its own, unless
// conf is empty.
func NewScene(t testing.TB, dir, conf string) *Scene {
	t.Helper()
	home := t.TempDir()
	s := &Scene{T: t, Dir: dir, Program: program, mark: newMark()}
	s.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_STATE_HOME=" + home, s.mark}
	if conf != "" {
		s.Configure("", conf)
	}
	t.Cleanup(func() {
		s.running.Range(func(key, _ any) bool {
			p := key.(*Process)
			syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
			<-p.Ended
			return true
		})
		s.NothingLeft("the test", 20*time.Second)
	})
	return s
}

// Mark is the variable in the environment of all the scene's processes.
func (s *Scene) Mark() string { return s.mark }

// Configure writes bothy.toml; head is what stands before its first table.
func (s *Scene) Configure(head, conf string) {
	s.T.Helper()
	s.Write("bothy.toml", head+"\n[web]\nlisten = \"127.0.0.1:0\"\n"+conf)
}

// Path is the path of a file in the scene's directory.
func (s *Scene) Path(name string) string { return filepath.Join(s.Dir, name) }

// Write writes a file.
func (s *Scene) Write(name, text string) {
	s.T.Helper()
	if err := os.WriteFile(s.Path(name), []byte(text), 0o644); err != nil {
		s.T.Fatal(err)
	}
}

// Read returns a file.
func (s *Scene) Read(name string) string {
	s.T.Helper()
	b, err := os.ReadFile(s.Path(name))
	if err != nil {
		s.T.Error(err)
	}
	return string(b)
}

// Exists reports whether there is a file.
func (s *Scene) Exists(name string) bool {
	_, err := os.Stat(s.Path(name))
	return err == nil
}

// Prepare makes a process that Launch starts.
func (s *Scene) Prepare(args ...string) *Process {
	argv := slices.Concat(s.Wrap, []string{s.Program}, args)
	p := &Process{T: s.T, Ended: make(chan struct{}), scene: s}
	p.Cmd = exec.Command(argv[0], argv[1:]...)
	p.Cmd.Dir, p.Cmd.Env = s.Dir, s.Env
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Out, &p.Err
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

// Start runs the program with args.
func (s *Scene) Start(args ...string) *Process {
	s.T.Helper()
	p := s.Prepare(args...)
	p.Launch()
	return p
}

// Run runs the program to its end and checks its exit code.
func (s *Scene) Run(code int, args ...string) *Process {
	s.T.Helper()
	p := s.Start(args...)
	p.Exits(code)
	return p
}

// Layout is where things are in a base directory.
func (s *Scene) Layout(base string) basedir.Layout {
	s.T.Helper()
	l, err := basedir.Resolve(base)
	if err != nil {
		s.T.Fatal(err)
	}
	return l
}
