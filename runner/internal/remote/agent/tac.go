package agent

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxTac is the largest buildbot.tac that is read.
const maxTac = 64 << 10

// Tac is what a buildbot.tac says of a worker.
type Tac struct {
	Name, Password     string
	Master             Master
	Protocol           Protocol
	BaseDir            string // absolute
	Proxy              string
	Keepalive          time.Duration
	Umask              int // -1: as it is
	DeleteLeftoverDirs bool
}

// ReadTac reads the buildbot.tac of that path, which must be absolute.
func ReadTac(path string) (Tac, error) {
	b, err := readLimited(path, maxTac)
	if err != nil {
		return Tac{}, err
	}
	t, err := parseTac(b, filepath.Dir(path))
	if err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// parseTac understands the assignments of literals that create-worker writes; it
// runs nothing. dir is the directory of the file.
func parseTac(b []byte, dir string) (t Tac, err error) {
	v, err := assignments(string(b))
	if err != nil {
		return t, err
	}
	// Before Buildbot 0.9 it was the slave's name.
	nameKey := "workername"
	if _, ok := v.variables[nameKey]; !ok {
		nameKey = "slavename"
	}
	port := v.int("port", 0)
	t = Tac{
		Name: v.text(nameKey), Password: v.text("passwd"),
		Keepalive: time.Duration(v.int("keepalive", int64(DefaultKeepalive/time.Second))) * time.Second,
		Umask:     int(v.int("umask", -1)), Proxy: v.text("proxy_connection_string"),
		DeleteLeftoverDirs: v.int("delete_leftover_dirs", 0) != 0,
		BaseDir:            v.text("basedir"),
	}
	t.Master.TLS = v.int("use_tls", 0) != 0
	t.Protocol = PB
	if p := v.text("protocol"); p != "" && v.err == nil {
		t.Protocol, v.err = ParseProtocol(p)
	}
	endpoint := v.text("connection_string")
	host := v.text("buildmaster_host")
	switch {
	case v.err != nil:
		return t, v.err
	case t.Name == "":
		return t, errors.New("no workername")
	case t.Keepalive < 0 || t.Keepalive > 365*24*time.Hour:
		return t, fmt.Errorf("keepalive = %v", t.Keepalive)
	case t.Umask > 0o777:
		return t, fmt.Errorf("umask = %#o", t.Umask)
	case endpoint != "":
		e, ok := parseEndpoint(endpoint)
		if !ok {
			return t, fmt.Errorf("connection_string: want tcp:host=…:port=… or tls:…")
		}
		t.Master.Addr, t.Master.TLS = e.addr, e.tls
	case host == "" || port < 1 || port > 65535:
		return t, errors.New("no buildmaster_host and port")
	default:
		t.Master.Addr = net.JoinHostPort(host, strconv.FormatInt(port, 10))
	}
	if t.BaseDir == "" || t.BaseDir == "." {
		t.BaseDir = dir
	}
	if !filepath.IsAbs(t.BaseDir) {
		t.BaseDir = filepath.Join(dir, t.BaseDir)
	}
	return t, nil
}

// endpoint is one of Twisted's client endpoints.
type endpoint struct {
	addr string
	tls  bool
}

// parseEndpoint reads "tcp:host=HOST:port=PORT", in which "\:" is a colon.
func parseEndpoint(s string) (e endpoint, ok bool) {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			part.WriteByte(s[i])
		case s[i] == ':':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	parts = append(parts, part.String())
	if len(parts) < 3 || parts[0] != "tcp" && parts[0] != "tls" {
		return e, false
	}
	e.tls = parts[0] == "tls"
	values := map[string]string{}
	for i, p := range parts[1:] {
		if name, value, ok := strings.Cut(p, "="); ok {
			values[name] = value
		} else if i < 2 {
			values[[]string{"host", "port"}[i]] = p
		}
	}
	if n, err := strconv.Atoi(values["port"]); err != nil || n < 1 || n > 65535 || values["host"] == "" {
		return e, false
	}
	e.addr = net.JoinHostPort(values["host"], values["port"])
	return e, true
}
