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
	proc     *os.Process
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
		late := time.AfterFunc(closePatience, func() { p.proc.Kill() })
		defer late.Stop()
		_, err = p.proc.Wait()
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

func startSpawner(c cookie, sockets ...*os.File) (*os.Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess("/proc/self/exe", []string{"bothy-spawner", c.base}, &os.ProcAttr{
		Dir: "/",
		// Its two threads sit in system calls nearly always. With one processor
		// they would wait for each other, more would only cost memory.
		Env:   []string{marker + "=1", CookieName + "=" + c.String(), "GOMAXPROCS=2"},
		Files: append([]*os.File{null, null, os.Stderr}, sockets...),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}
