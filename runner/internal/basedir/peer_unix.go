//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer refuses the other end of a connection unless it is this user or root.
func checkPeer(c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("not a Unix socket: %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("who is at the other end: %w", err)
	}
	var uid int
	var serr error
	err = raw.Control(func(fd uintptr) { uid, serr = peerUID(int(fd)) })
	if err = errors.Join(err, serr); err != nil {
		return fmt.Errorf("who is at the other end: %w", err)
	}
	return allowed(uid, os.Getuid())
}

func allowed(peer, own int) error {
	if peer == own || peer == 0 {
		return nil
	}
	return fmt.Errorf("the other end is user %d, this is user %d", peer, own)
}

// noListener tells a master that has gone from other errors.
func noListener(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT)
}
