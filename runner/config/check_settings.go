package config

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// top is where a table of the file stands.
func top(key string) *pathTo { return (*pathTo)(nil).key(key) }

func (k *checker) settings() {
	c := k.c
	if !isOneLine(c.Title) {
		k.errorf(top("title"), "must be one line")
	}
	if c.URL != "" { // "": web.listen is at fault, and told of
		k.httpURL(top("url"), c.URL)
	}
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
	if k.address(at.key("listen"), w.Listen) && !isLoopback(w.Listen) {
		if len(w.Users)+len(w.Tokens) == 0 {
			k.errorf(at.key("listen"), `%s can be reached from other machines, so there must be users or tokens: `+
				`add one with "bothy hash-password NAME >>%s" (a person) or "bothy token NAME >>%[2]s" (a program)`, w.Listen, k.fileName())
		} else if w.TLSCert == "" && !strings.HasPrefix(k.c.URL, "https:") {
			k.warnf(at.key("listen"), "passwords cross the network in clear: set tls_cert and tls_key, or say https in url if a proxy speaks it")
		}
	}
	k.tls(at, w.TLSCert, w.TLSKey)
	users := unique{}
	for i, u := range w.Users {
		at := at.key("users").index(i).named(u.Name)
		k.accountName(at.key("name"), u.Name)
		users.add(k, at.key("name"), "user", u.Name)
		k.passwordHash(at.key("password_hash"), u.PasswordHash)
		oneOf(k, at.key("role"), u.Role, Viewer, Operator, Admin)
	}
	tokens := unique{}
	for i, t := range w.Tokens {
		at := at.key("tokens").index(i).named(t.Name)
		k.accountName(at.key("name"), t.Name)
		tokens.add(k, at.key("name"), "token", t.Name)
		k.tokenSecret(at.key("secret"), t.Secret)
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

// fileName is what a person may call the configuration file in a command.
func (k *checker) fileName() string {
	if k.origin != nil && !strings.ContainsFunc(k.origin.file, unicode.IsSpace) {
		return k.origin.file
	}
	return FileName
}

func (k *checker) remote(at *pathTo, r *Remote) {
	dialsIn := func(w Worker) bool { return w.Kind == WorkerRemote || w.Kind.IsLatent() }
	if k.address(at.key("listen"), r.Listen) && !isLoopback(r.Listen) && r.TLSCert == "" && slices.ContainsFunc(k.c.Workers, dialsIn) {
		k.warnf(at.key("listen"), "passwords and builds cross the network in clear: set tls_cert and tls_key")
	}
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
	case m.Username != "" && m.TLS == TLSNone && !isLoopback(m.Relay):
		k.warnf(at.key("tls"), "the password crosses the network in clear: use starttls or implicit")
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

func (k *checker) mailAddress(at *pathTo, s string) bool {
	_, err := mail.ParseAddress(s)
	if err != nil || !isOneLine(s) {
		k.errorf(at, "%q is not a mail address", s)
		return false
	}
	return true
}

func (k *checker) httpURL(at *pathTo, s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		k.errorf(at, "%q is not an http or https URL", s)
		return false
	}
	return true
}

// isCleartext reports whether what is sent to an http or https URL can be read
// on the way.
func isCleartext(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "80"))
}
