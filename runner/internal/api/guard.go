package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bothy/runner/config"
)

// guard lets a request through to next if its host, its origin and its sender
// are in order.
func (a *API) guard(acc Access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		change := a.changes.Load()
		id, err := acc.Check(r, a.config())
		if err != nil {
			a.refuse(w, r, a.loginError(h, acc, err))
			return
		}
		next.ServeHTTP(w, r.WithContext(withIdentity(r.Context(), admitted{id, acc.Revocable, change})))
	})
}

// Check returns whose request it is, if its host, its origin and its sender are
// in order. [StatusOf] says how an error is answered.
func (acc Access) Check(r *http.Request, conf *config.Config) (Identity, error) {
	if acc.Hosts != nil && !acc.Hosts(hostname(r.Host)) {
		return Identity{}, forbidden("this master is not called %q: set url in its configuration to where people reach it", shown(hostname(r.Host)))
	}
	if !sameOrigin(r, conf.URL) {
		return Identity{}, badRequest("invalid origin") // Buildbot's words
	}
	id, err := acc.Identify(r)
	if err == nil && !id.May(config.Viewer) {
		err = ErrForbidden
	}
	return id, err
}

// loginError says how a request without a valid identity is answered.
func (a *API) loginError(h http.Header, acc Access, err error) error {
	if e, ok := errors.AsType[slowDown](err); ok {
		h.Set("Retry-After", strconv.Itoa(int((e.wait+time.Second-1)/time.Second)))
		return fail(http.StatusTooManyRequests, codeInvalidRequest, "%s", e.Error())
	}
	switch {
	case errors.Is(err, ErrNoCredentials):
		if acc.Challenge != "" {
			h.Set("WWW-Authenticate", acc.Challenge)
		}
		return fail(http.StatusUnauthorized, codeInvalidRequest, "%s", err.Error())
	case errors.Is(err, ErrForbidden):
		return forbidden("%s", err.Error())
	}
	return err
}

func forbidden(format string, args ...any) *apiError {
	return fail(http.StatusForbidden, codeInvalidRequest, format, args...)
}

// refuse answers in the form that the kind of request asks for.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Method == http.MethodPost {
		a.writeRPCError(w, r, nil, err)
		return
	}
	a.writeError(w, r, err)
}

// sameOrigin reports whether a request may act: browsers send an Origin with
// everything that is not a plain GET or HEAD, upgrades to WebSocket included,
// and a page elsewhere cannot forge it. Programs send none.
func sameOrigin(r *http.Request, configured string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "same-origin", "none":
			return true
		}
		return isSafe(r)
	}
	u, err := url.Parse(origin)
	if err == nil && u.Host != "" && (strings.EqualFold(u.Host, r.Host) || sameHost(u, configured)) {
		return true
	}
	return isSafe(r)
}

// isSafe reports whether a request only reads. What it is answered, a browser
// does not show to a page of another origin; a WebSocket it would.
func isSafe(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Upgrade") == ""
}

func sameHost(u *url.URL, configured string) bool {
	c, err := url.Parse(configured)
	return err == nil && c.Host != "" && strings.EqualFold(u.Host, c.Host) && strings.EqualFold(u.Scheme, c.Scheme)
}

// hostname is a Host header without its port, in lower case.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Hosts returns the rule for the host names by which a master may be called
// that listens on addr: a name that any other site owns may point here too, and
// its pages would then read this one (DNS rebinding). Allowed are loopback names
// and addresses, the address that is listened on, and the host of the
// configured url.
func Hosts(addr net.Addr, conf func() *config.Config) func(host string) bool {
	listen, _ := netip.ParseAddrPort(addr.String()) // zero for what is no IP address
	return func(host string) bool {
		if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, 6.3
			return true
		}
		if u, err := url.Parse(conf().URL); err == nil && host != "" && hostname(u.Host) == host {
			return true
		}
		if h := hostname(conf().Web.Listen); h != "" && h == host {
			return true
		}
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return false
		}
		at := listen.Addr()
		return ip.Unmap().IsLoopback() || at.IsValid() && (at.IsUnspecified() || at.Unmap() == ip.Unmap())
	}
}
