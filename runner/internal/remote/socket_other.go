//go:build !linux

package remote

import (
	"net"
	"time"
)

// setUserTimeout does nothing: keepalive finds dead peers that are sent nothing,
// and write deadlines the others.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
