package agent

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Master is where a master listens.
type Master struct {
	Addr string // host:port
	TLS  bool
	// Path is that of the WebSocket's URL; "" is "/".
	Path string
	// Protocol is what the address implies; "" if nothing.
	Protocol Protocol
}

// DefaultPort is Buildbot's.
const DefaultPort = "9989"

// ParseMaster reads an address: HOST, HOST:PORT, or with one of the schemes tcp,
// tls, ws, wss, http and https, of which the last four mean MessagePack and may
// have a path. The port is [DefaultPort] unless the scheme has one.
func ParseMaster(s string) (Master, error) {
	var m Master
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "tcp", s
	}
	port := DefaultPort
	switch scheme {
	case "tcp":
	case "tls":
		m.TLS = true
	case "ws", "http":
		m.Protocol, port = Msgpack, "80"
	case "wss", "https":
		m.Protocol, m.TLS, port = Msgpack, true, "443"
	default:
		return m, fmt.Errorf("master %q: unknown scheme %q: want tcp, tls, ws or wss", s, scheme)
	}
	if strings.Contains(rest, ":") && net.ParseIP(rest) != nil {
		rest = "[" + rest + "]" // an IPv6 address alone
	}
	u, err := url.Parse("x://" + rest)
	switch {
	case err != nil:
		return m, fmt.Errorf("master %q: want HOST:PORT", s)
	case u.Hostname() == "":
		return m, fmt.Errorf("master %q: no host", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return m, fmt.Errorf("master %q: want HOST:PORT and nothing more", s)
	case u.Path != "" && u.Path != "/" && m.Protocol != Msgpack:
		return m, fmt.Errorf("master %q: only ws and wss have a path", s)
	}
	if p := u.Port(); p != "" {
		port = p
	}
	m.Addr, m.Path = net.JoinHostPort(u.Hostname(), port), u.Path
	return m, nil
}
