package spawn

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// helper is a spawner's process with our ends of its sockets.
type helper struct {
	control  *net.UnixConn // stops to the spawner, events back
	commands *net.UnixConn
	proc     *child
	unused   sync.Once
}

// launch starts a spawner's process; nil: this program cannot be re-executed.
func launch(base string, epoch int64) (*helper, error) {
	if !mainCalled.Load() {
		return nil, nil
	}
	control, theirControl, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirControl.Close()
	commands, theirCommands, err := socketPair()
	if err != nil {
		control.Close()
		return nil, err
	}
	defer theirCommands.Close()
	proc, err := startSpawner(cookie{base: base, epoch: epoch}, theirControl, theirCommands)
	if err != nil {
		control.Close()
		commands.Close()
		return nil, err
	}
	return &helper{control: control, commands: commands, proc: proc}, nil
}

// close ends a process that has started nothing, and waits for that. Further
// calls do nothing.
func (p *helper) close() (err error) {
	p.unused.Do(func() {
		p.commands.Close()
		p.control.Close()
		late := time.AfterFunc(closePatience, p.proc.kill)
		defer late.Stop()
		_, err = p.proc.wait()
	})
	return err
}

// socketPair returns our end and the one for the spawner.
func socketPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "spawner"), os.NewFile(uintptr(pair[1]), "master")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("socket to spawner: %w", err)
	}
	return c.(*net.UnixConn), theirs, nil
}

func startSpawner(c cookie, sockets ...*os.File) (*child, error) {
	null, err := nullFile()
	if err != nil {
		return nil, err
	}
	defer unix.Close(null)
	files := []uintptr{uintptr(null), uintptr(null), 2} // what it says of a panic of its own is seen
	for _, f := range sockets {
		files = append(files, f.Fd())
	}
	// Package os would first start a process to see whether the kernel has pidfds.
	p := &child{pidfd: -1}
	p.pid, err = syscall.ForkExec("/proc/self/exe", []string{"bothy-spawner", c.base}, &syscall.ProcAttr{
		Dir: "/",
		// Its two threads sit in system calls nearly always. With one processor
		// they would wait for each other, more would only cost memory.
		Env:   append(raceEnv(), marker+"=1", CookieName+"="+c.String(), "GOMAXPROCS=2"),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &p.pidfd},
	})
	if err != nil {
		return nil, fmt.Errorf("execute this program again: %w", err)
	}
	return p, nil
}

// child is a spawner as a process.
type child struct {
	pid   int
	pidfd int // -1 where the kernel has none (Linux before 5.2)

	mu   sync.Mutex
	gone bool // the number may be another's
}

func (p *child) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
	case p.pidfd >= 0:
		unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	default:
		unix.Kill(p.pid, unix.SIGKILL)
	}
}

// wait waits for its end, once, and tells whether that was an orderly one. An
// error means that somebody else waited for it.
func (p *child) wait() (orderly bool, err error) {
	var ws unix.WaitStatus
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Wait4(p.pid, &ws, 0, nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
	}
	return err == nil && ws.Exited() && ws.ExitStatus() == 0, os.NewSyscallError("wait4", err)
}
