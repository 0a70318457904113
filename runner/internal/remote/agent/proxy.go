package agent

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// maxProxyAnswer bounds what a proxy may say before the tunnel is there.
const maxProxyAnswer = 16 << 10

// ParseProxy reads the URL of a proxy: http://HOST:PORT, with or without the
// scheme, or Buildbot's "tcp:host=HOST:port=PORT".
func ParseProxy(s string) (*url.URL, error) {
	if e, ok := parseEndpoint(s); ok {
		if e.tls {
			return nil, errors.New("proxy: TLS to the proxy is not supported")
		}
		return &url.URL{Scheme: "http", Host: e.addr}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		u, err = url.Parse("http://" + s)
	}
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, errors.New("proxy: want http://HOST:PORT") // without what was given: there may be a password in it
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "3128")
	}
	return u, nil
}

// dialProxy connects to addr through a proxy.
func dialProxy(ctx context.Context, d *net.Dialer, proxy, addr string) (net.Conn, error) {
	u, err := ParseProxy(proxy)
	if err != nil {
		return nil, err
	}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // ends reading and writing
	tunnel, err := connect(conn, u, addr)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close() // err tells why
		return nil, fmt.Errorf("proxy %s: %w", u.Host, err)
	}
	return tunnel, nil
}

// connect asks the proxy for a tunnel.
func connect(conn net.Conn, u *url.URL, addr string) (net.Conn, error) {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u.User != nil {
		password, _ := u.User.Password()
		userinfo := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+userinfo)
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: maxProxyAnswer}
	r := bufio.NewReader(limit)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %q", resp.Status)
	}
	limit.N = 1 << 62
	return &tunnel{conn, r}, nil
}

// tunnel is a connection of which something may have been read already.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.r.Read(p) }
