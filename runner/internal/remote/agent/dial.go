package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// connectTime is how long connecting may take, to the first byte of the
	// protocol.
	connectTime = 30 * time.Second
	// deadAfter is how long a master may not acknowledge anything until the
	// connection is given up.
	deadAfter = 30 * time.Second
)

// probe finds out what the master speaks, on a connection of its own and without
// saying who asks: with Perspective Broker the master is the first to say
// something, and it is no answer to a request of HTTP.
func (o *Options) probe(ctx context.Context) (Protocol, error) {
	conn, err := o.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // a closed one does not mind
	_, werr := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", o.Master.Addr)
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return "", fmt.Errorf("ask the master what it speaks: %w", cmp.Or(context.Cause(ctx), werr, err))
	}
	if first[0] == 'H' { // "HTTP/1.1 401 Unauthorized"
		return Msgpack, nil
	}
	return PB, nil
}

// dial connects to the master: TCP, through the proxy if there is one, TLS if it
// is wanted.
func (o *Options) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 2, Interval: deadAfter / 6, Count: 3},
		ControlContext:  userTimeout,
	}
	var conn net.Conn
	var err error
	if o.Proxy != "" {
		conn, err = dialProxy(ctx, &d, o.Proxy, o.Master.Addr)
	} else {
		conn, err = d.DialContext(ctx, "tcp", o.Master.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the master: %w", err)
	}
	if !o.Master.TLS {
		return conn, nil
	}
	conf := &tls.Config{}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	if conf.ServerName == "" {
		if conf.ServerName, _, err = net.SplitHostPort(o.Master.Addr); err != nil {
			conn.Close() // nothing was said
			return nil, err
		}
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close() // the handshake's error tells more
		return nil, fmt.Errorf("TLS with the master: %w", err)
	}
	return secure, nil
}
