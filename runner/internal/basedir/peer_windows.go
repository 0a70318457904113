package basedir

import (
	"errors"
	"net"

	"golang.org/x/sys/windows"
)

// checkPeer cannot tell who is at the other end: AF_UNIX on Windows has no
// credentials. The directory of the socket is the user's own.
func checkPeer(net.Conn) error { return nil }

// noListener tells a master that has gone from other errors.
func noListener(err error) bool {
	return errors.Is(err, windows.WSAECONNREFUSED) || errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND)
}
