package agent

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout makes the kernel give up a connection whose peer does not
// acknowledge what was sent.
func userTimeout(_ context.Context, _, _ string, raw syscall.RawConn) error {
	var fault error
	err := raw.Control(func(fd uintptr) {
		fault = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
	return errors.Join(err, fault)
}
