package remote

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStrangersAreDropped(t *testing.T) {
	for _, c := range []struct {
		name  string
		send  string
		every time.Duration // a byte each; 0: all at once
		soon  bool          // it is dropped at once
	}{
		{name: "silent"},
		{name: "a part of a request", send: "GE"},
		{name: "a request that does not end", send: "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100), every: time.Second},
		{name: "garbage", send: "\x16\x03\x01\x02\x00", soon: true},
		{name: "another method", send: "POST / HTTP/1.1\r\n\r\n", soon: true},
		{name: "a request that is too long", send: "GET /" + strings.Repeat("x", 2*maxRequest) + " HTTP/1.1\r\n\r\n", soon: true},
		{name: "no request", send: "GET what\r\n\r\n", soon: true},
		{name: "no password", send: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", soon: true},
		{name: "another authorization", send: "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n", soon: true},
		{name: "no WebSocket", send: "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Ym90OnMzY3JldA==\r\n\r\n", soon: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *master, p *pipes) {
				m.kind("bot")
				conn := p.dial()
				defer conn.Close()
				began := time.Now()
				read := make(chan struct{})
				go func() {
					defer close(read)
					buf := make([]byte, 4096)
					for {
						if _, err := conn.Read(buf); err != nil {
							return
						}
					}
				}()
				written := make(chan struct{})
				go func() {
					defer close(written)
					for i := range c.send {
						if c.every > 0 {
							time.Sleep(c.every)
							if _, err := conn.Write([]byte{c.send[i]}); err != nil {
								return
							}
						}
					}
					if c.every == 0 {
						conn.Write([]byte(c.send))
					}
				}()
				<-read
				defer func() { <-written }()
				took := time.Since(began)
				if c.soon && took > time.Second || took > LoginTime {
					t.Errorf("dropped after %v", took)
				}
				synctest.Wait()
				if n := len(m.guard.addresses); n != 0 || m.guard.strangers != 0 {
					t.Errorf("%d addresses and %d strangers are remembered", n, m.guard.strangers)
				}
			})
		})
	}
}

func TestFailuresAreSlowedDown(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		var last time.Duration
		for i := range 12 {
			began := time.Now()
			if _, status := dialFake(t, p, "bot", "wrong", nil); status != http.StatusUnauthorized {
				t.Fatalf("wrong password: %d", status)
			}
			took := time.Since(began)
			if took < last || i > 0 && last < maxDelay && took == last || took > maxDelay {
				t.Errorf("failure %d was answered after %v, the one before after %v", i, took, last)
			}
			last = took
		}
		if last != maxDelay {
			t.Errorf("the last was answered after %v", last)
		}
		// Many at the same time are not all answered, and who knows the password is let in.
		left := make(chan error, 40)
		for range cap(left) {
			go func() {
				conn := p.dial()
				defer conn.Close()
				conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Ym90Ong=\r\n\r\n"))
				_, err := conn.Read(make([]byte, 1))
				left <- err
			}()
		}
		began := time.Now()
		fake(t, p)
		attach(t, k)
		if took := time.Since(began); took > time.Second {
			t.Errorf("who knows the password waited %v", took)
		}
		answered := 0
		for range cap(left) {
			if <-left == nil {
				answered++
			}
		}
		if answered != maxSlowed {
			t.Errorf("%d failures at the same time were answered", answered)
		}
		time.Sleep(forgiven + time.Second)
		began = time.Now()
		dialFake(t, p, "bot", "wrong", nil)
		if took := time.Since(began); took != firstDelay {
			t.Errorf("a failure after a long time was answered after %v", took)
		}
	})
}

func TestSniffIsNotFooledByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		defer ours.Close()
		go func() {
			for _, part := range []string{"G", "E", "T", " / HTTP"} {
				time.Sleep(SniffWait - time.Millisecond)
				theirs.Write([]byte(part))
			}
		}()
		conn, speaks, err := sniff(ours, time.Now().Add(LoginTime))
		if err != nil || speaks != protocolMsgpack {
			t.Fatalf("%q, %v", speaks, err)
		}
		buf := make([]byte, 64)
		var got string
		for len(got) < 10 {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += string(buf[:n])
		}
		if got != "GET / HTTP" {
			t.Errorf("read again: %q", got)
		}
		if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the deadline: %v", err)
		}
	})
}
