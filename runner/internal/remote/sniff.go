package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// protocol is how a worker speaks to the master.
type protocol string

const (
	protocolMsgpack protocol = "msgpack"
	protocolPB      protocol = "pb"
)

// errFirstBytes says that a peer speaks something else.
var errFirstBytes = errors.New("neither a worker's HTTP request nor silence")

// upgrade begins the first line of a MessagePack worker's request.
const upgrade = "GET "

// sniff tells the protocols apart by what the peer says first. What it reads is
// read again from the connection it returns. The caller sets a deadline for
// peers that go on slowly.
func sniff(conn net.Conn, deadline time.Time) (net.Conn, protocol, error) {
	first := make([]byte, 0, len(upgrade))
	until := time.Now().Add(SniffWait)
	for len(first) < len(upgrade) {
		if err := conn.SetReadDeadline(until); err != nil {
			return nil, "", err
		}
		n, err := conn.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if upgrade[:len(first)] != string(first) {
			return nil, "", fmt.Errorf("%w: %q", errFirstBytes, first)
		}
		switch {
		case len(first) == 0 && errors.Is(err, os.ErrDeadlineExceeded):
			return conn, protocolPB, conn.SetReadDeadline(deadline)
		case err != nil:
			return nil, "", err
		}
		until = deadline
	}
	return &prefixed{Conn: conn, first: first}, protocolMsgpack, conn.SetReadDeadline(deadline)
}

// prefixed is a connection of which something has been read.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		if p.first = p.first[n:]; len(p.first) == 0 {
			p.first = nil
		}
		return n, nil
	}
	return p.Conn.Read(b)
}

// secure does the server's part of a TLS handshake.
func secure(conn net.Conn, conf *tls.Config, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	t := tls.Server(conn, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("tls handshake: %w", err)
	}
	return t, nil
}
