package config

import (
	"encoding/hex"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// top is where a table of the file stands.
func top(key string) *pathTo { return (*pathTo)(nil).key(key) }

func (k *checker) settings() {
	c := k.c
	if !isOneLine(c.Title) {
		k.errorf(top("title"), "must be one line")
	}
	k.httpURL(top("url"), c.URL)
	if strings.Contains(c.BaseDir, "\x00") {
		k.errorf(top("basedir"), "contains a NUL character")
	}
	k.web(top("web"), &c.Web)
	k.remote(top("remote"), &c.Remote)
	k.machine(top("machine"), &c.Machine)
	k.store(top("store"), &c.Store)
	k.mail(top("mail"), &c.Mail)
}

func (k *checker) web(at *pathTo, w *Web) {
	if k.address(at.key("listen"), w.Listen) && len(w.Users)+len(w.Tokens) == 0 && !isLoopback(w.Listen) {
		k.errorf(at.key("listen"), "%s can be reached from other machines, so there must be users or tokens", w.Listen)
	}
	k.tls(at, w.TLSCert, w.TLSKey)
	users := unique{}
	for i, u := range w.Users {
		at := at.key("users").index(i).named(u.Name)
		k.accountName(at.key("name"), u.Name)
		users.add(k, at.key("name"), "user", u.Name)
		if !strings.HasPrefix(u.PasswordHash, "$argon2id$") && !strings.HasPrefix(u.PasswordHash, "$2") {
			k.errorf(at.key("password_hash"), `want a hash as printed by "bothy hash-password"`)
		}
		oneOf(k, at.key("role"), u.Role, Viewer, Operator, Admin)
	}
	tokens := unique{}
	for i, t := range w.Tokens {
		at := at.key("tokens").index(i).named(t.Name)
		k.accountName(at.key("name"), t.Name)
		tokens.add(k, at.key("name"), "token", t.Name)
		switch {
		case t.Secret.IsZero():
			k.missing(at.key("secret"), "the token's secret")
		case !isSHA256(t.Secret.Text):
			k.secret(at.key("secret"), t.Secret)
		}
		oneOf(k, at.key("role"), t.Role, Viewer, Operator, Admin)
	}
}

func (k *checker) accountName(at *pathTo, name string) {
	switch {
	case name == "":
		k.missing(at, "the name")
	case !isOneLine(name) || strings.Contains(name, ":"): // HTTP Basic ends the name at a colon
		k.errorf(at, "%q: no control characters and no colon are allowed", name)
	}
}

func (k *checker) remote(at *pathTo, r *Remote) {
	k.address(at.key("listen"), r.Listen)
	k.tls(at, r.TLSCert, r.TLSKey)
	if r.ClientCA != "" && r.TLSCert == "" {
		k.errorf(at.key("client_ca"), "needs tls_cert and tls_key")
	}
}

func (k *checker) tls(at *pathTo, cert, key string) {
	switch {
	case cert != "" && key == "":
		k.errorf(at.key("tls_cert"), "needs tls_key")
	case key != "" && cert == "":
		k.errorf(at.key("tls_key"), "needs tls_cert")
	}
}

func (k *checker) machine(at *pathTo, m *Machine) {
	atLeast(k, at.key("cpus"), m.CPUs, 0)
	atLeast(k, at.key("memory"), m.Memory, 0)
	atLeast(k, at.key("reserve_memory"), m.ReserveMemory, Off)
	atLeast(k, at.key("memory_per_build"), m.MemoryPerBuild, 1)
	for i, name := range m.PassEnv {
		at := at.key("pass_env").index(i)
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			k.errorf(at, "%q is not a name of an environment variable", name)
		case strings.HasPrefix(name, "BOTHY_"):
			k.errorf(at, "%s is Bothy's own and never reaches a step", name)
		}
	}
}

func (k *checker) store(at *pathTo, s *Store) {
	atLeast(k, at.key("keep_builds"), s.KeepBuilds, Off)
	atLeast(k, at.key("keep_logs"), s.KeepLogs, Off)
	atLeast(k, at.key("keep_failed_workspaces"), s.KeepFailedWorkspaces, Off)
	atLeast(k, at.key("disk_cap"), s.DiskCap, Off)
}

func (k *checker) mail(at *pathTo, m *Mail) {
	k.mailAddress(at.key("from"), m.From)
	k.address(at.key("relay"), m.Relay)
	oneOf(k, at.key("tls"), m.TLS, TLSAuto, TLSStartTLS, TLSImplicit, TLSNone)
	if m.ReplyTo != "" {
		k.mailAddress(at.key("reply_to"), m.ReplyTo)
	}
	k.secret(at.key("password"), m.Password)
	switch {
	case m.Username != "" && m.Password.IsZero():
		k.errorf(at.key("username"), "needs password")
	case m.Username == "" && !m.Password.IsZero():
		k.errorf(at.key("password"), "needs username")
	}
}

// address checks HOST:PORT.
func (k *checker) address(at *pathTo, s string) bool {
	host, port, err := net.SplitHostPort(s)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || strings.ContainsAny(host, " /\x00") {
		k.errorf(at, "%q is not HOST:PORT", s)
		return false
	}
	return true
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (k *checker) mailAddress(at *pathTo, s string) {
	if _, err := mail.ParseAddress(s); err != nil || !isOneLine(s) {
		k.errorf(at, "%q is not a mail address", s)
	}
}

func (k *checker) httpURL(at *pathTo, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		k.errorf(at, "%q is not an http or https URL", s)
	}
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}
