package spawn

import (
	"os"

	"golang.org/x/sys/unix"
)

const inPipe = unix.TIOCINQ // bytes that can be read

func pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	return p[0], p[1], nil
}

// growPipe may be refused: the user's pipes are limited together.
func growPipe(f *os.File, size int) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) })
	}
}

// plainTTY keeps the terminal from turning \n into \r\n, and from echoing the
// command's input into its output.
func plainTTY(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return os.NewSyscallError("TCGETS", err)
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO
	return os.NewSyscallError("TCSETS", unix.IoctlSetTermios(fd, unix.TCSETS, t))
}
