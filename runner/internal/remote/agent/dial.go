package agent

import (
	"context"
	"crypto/tls"
	"fmt"
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
