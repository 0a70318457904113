package spawn

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const inPipe = 0x4004667f // FIONREAD of <sys/filio.h>: bytes that can be read

func pipe() (r, w int, err error) {
	var p [2]int
	syscall.ForkLock.RLock() // no fork between the pipe and its close-on-exec flags
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return -1, -1, os.NewSyscallError("pipe", err)
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	return p[0], p[1], nil
}

func growPipe(*os.File, int) {} // pipes grow by themselves

// plainTTY keeps the terminal from turning \n into \r\n, and from echoing the
// command's input into its output.
func plainTTY(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TIOCGETA)
	if err != nil {
		return os.NewSyscallError("TIOCGETA", err)
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO
	return os.NewSyscallError("TIOCSETA", unix.IoctlSetTermios(fd, unix.TIOCSETA, t))
}
