package remote

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that is gone is noticed within DeadAfter: by probes when nothing is sent,
// by the missing acknowledgement when something is.
func TestConnectionsAreWatched(t *testing.T) {
	m := newMaster(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	(&peer{l: m.Listener, conn: near}).watch(near.(*net.TCPConn))
	raw, err := near.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		if err := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	on := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	idle, every, probes := option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
	if within := time.Duration(idle+every*probes) * time.Second; on != 1 || within > DeadAfter || every < 1 {
		t.Errorf("keepalive %d: after %d s, %d probes every %d s", on, idle, probes, every)
	}
	if ms := option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); time.Duration(ms)*time.Millisecond != DeadAfter {
		t.Errorf("TCP_USER_TIMEOUT is %d ms", ms)
	}
}
