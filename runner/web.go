package runner

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"sync"
	"time"

	"bothy/mail"
	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/control"
	"bothy/runner/internal/secret"
	"bothy/runner/internal/web"
)

// Identity is who makes a request to a [Runner.Handler], and what they may do:
// each role includes those before it. Without a role they may not even look.
type Identity struct {
	Name string      // as it is shown and kept with what they do
	Role config.Role // config.Viewer, Operator or Admin
}

// ErrNoCredentials is what [Options.Auth] returns, wrapped or not, for a request
// that does not say whose it is: the answer is 401. Any other error is a 403.
var ErrNoCredentials = api.ErrNoCredentials

// Handler returns the Runner's HTTP interface: the page at /, REST below
// /api/v2/, live events at /ws and /sse/, /metrics, /badges/, /cc.xml and
// /healthz. Everybody may look and nobody may act, unless [Options.Auth] says
// otherwise: the users and tokens of the configuration count for [Runner.Serve]
// only. It may be mounted below a prefix with http.StripPrefix.
func (r *Runner) Handler() http.Handler {
	if r.auth == nil {
		return r.interfaces(web.Access{
			Access: api.ReadOnly(), ReadOnly: "nobody can act here: the program that shows this page has not said who may",
		})
	}
	return r.interfaces(web.Access{Access: api.Access{Identify: func(req *http.Request) (api.Identity, error) {
		id, err := r.auth(req)
		if err != nil && !errors.Is(err, ErrNoCredentials) {
			r.log.Debug("request refused", "err", err)
			err = api.ErrForbidden // the words are not for who may not look
		}
		return api.Identity(id), err
	}}})
}

// interfaces are the page and what programs use, for those whom acc lets in.
func (r *Runner) interfaces(acc web.Access) http.Handler {
	mux, programs := http.NewServeMux(), r.api.Handler(acc.Access)
	for _, path := range []string{"/api/", "/ws", "/sse/", "/metrics", "/badges/", "/cc.xml", "/healthz"} {
		mux.Handle(path, programs)
	}
	mux.Handle("/", r.page.Handler(acc))
	return guarded(r.log, mux)
}

// Serve answers HTTP on ln as the [web] table of the configuration says: its
// users and tokens, its certificate; without users and tokens whoever reaches ln
// may do everything if it is a loopback address, and nobody anything elsewhere.
// It returns nil when the Runner has ended, and closes ln.
func (r *Runner) Serve(ln net.Listener) error {
	srv := &http.Server{
		Handler:           &webHandler{r: r, hosts: api.Hosts(ln.Addr(), r.engine.Config), loopback: isLoopback(ln.Addr())},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	if last := r.web.Load().certificate; last != nil {
		var mu sync.Mutex
		ln = tls.NewListener(ln, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				mu.Lock()
				defer mu.Unlock()
				if now := r.web.Load().certificate; now != nil { // to go without takes a restart
					last = now
				}
				return last, nil
			},
		})
	}
	served := make(chan struct{})
	defer close(served)
	go func() {
		select {
		case <-r.done:
			_ = srv.Close() // cuts what is left; Serve returns its own error
		case <-served:
		}
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the web: %w", err)
	}
	return nil
}

// webAccess is who may do what by a configuration, how the master proves who it
// is, and what else the page needs secrets for.
type webAccess struct {
	credentials *api.Credentials // nil: whoever reaches the master may do everything
	certificate *tls.Certificate
	relay       func(context.Context) (*mail.Relay, error)
}

// lets reports whether a request to [Runner.Serve] would be let in by a.
func (r *Runner) lets(a *webAccess, req *http.Request) bool {
	if a.credentials == nil {
		srv, ok := req.Context().Value(http.ServerContextKey).(*http.Server)
		if !ok {
			return false
		}
		w, ok := srv.Handler.(*webHandler)
		return ok && w.loopback
	}
	_, err := r.sessions.Access(a.credentials.Access(nil), a.credentials).Identify(req)
	return err == nil
}

// webAccess looks up what the [web] table names.
func (r *Runner) webAccess(ctx context.Context, c *config.Config, secrets *secret.Chain) (*webAccess, error) {
	a := &webAccess{relay: func(ctx context.Context) (*mail.Relay, error) { return secrets.Relay(ctx, c.Mail) }}
	if len(c.Web.Users)+len(c.Web.Tokens) > 0 {
		found, err := secrets.Passwords(ctx, &config.Config{Web: c.Web, Dir: c.Dir})
		if err != nil {
			return nil, err
		}
		var users []api.User
		for _, u := range c.Web.Users {
			users = append(users, api.User{Name: u.Name, Hash: found.Users[u.Name], Role: u.Role})
		}
		var tokens []api.Token
		for _, t := range c.Web.Tokens {
			tokens = append(tokens, api.Token{Name: t.Name, Secret: found.Tokens[t.Name], Role: t.Role})
		}
		a.credentials = api.NewCredentials(users, tokens, r.log)
	}
	if c.Web.TLSCert != "" {
		cert, err := c.Abs(c.Web.TLSCert)
		if err != nil {
			return nil, fmt.Errorf("web.tls_cert: %w", err)
		}
		key, err := c.Abs(c.Web.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("web.tls_key: %w", err)
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("web.tls_cert, web.tls_key: %w", err)
		}
		a.certificate = &pair
	}
	return a, nil
}

// needRestart names the settings in which a configuration differs from the one
// that the Runner was started with, and that count from the next start on.
func needRestart(old, new *config.Config) (keys []string) {
	for _, s := range []struct {
		key  string
		same bool
	}{
		{"web.listen", old.Web.Listen == new.Web.Listen},
		{"web.tls_cert", (old.Web.TLSCert == "") == (new.Web.TLSCert == "")},
		{"remote.listen", old.Remote.Listen == new.Remote.Listen},
		{"machine", reflect.DeepEqual(old.Machine, new.Machine)},
		{"store.keep_failed_workspaces", old.Store.KeepFailedWorkspaces == new.Store.KeepFailedWorkspaces},
	} {
		if !s.same {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// webHandler is the interface for those whom the present configuration lets in.
type webHandler struct {
	r        *Runner
	hosts    func(string) bool
	loopback bool

	mu   sync.Mutex
	made *webAccess
	h    http.Handler
}

func (w *webHandler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	w.handler().ServeHTTP(rw, req)
}

// nobody refuses everybody: a configuration without users and tokens is for a
// loopback address, and the one that is listened on is not.
func nobody(*http.Request) (api.Identity, error) {
	return api.Identity{}, fmt.Errorf("this master has no users and no tokens, and does not listen on a loopback address: %w", api.ErrForbidden)
}

func isLoopback(addr net.Addr) bool {
	ap, err := netip.ParseAddrPort(addr.String())
	return err != nil || ap.Addr().Unmap().IsLoopback() // no IP address: a Unix socket or a pipe
}

func (w *webHandler) handler() http.Handler {
	now := w.r.web.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.made != now {
		access := web.Access{Access: api.Access{Hosts: w.hosts, Identify: nobody}}
		switch {
		case now.credentials != nil:
			access = w.r.sessions.Access(now.credentials.Access(w.hosts), now.credentials)
		case w.loopback:
			access.Access = api.Open(w.hosts)
		}
		w.made, w.h = now, w.r.interfaces(access)
	}
	return w.h
}

// trusted is the interface on the control socket: only this user and root can
// connect, and they may do everything.
func (r *Runner) trusted() http.Handler {
	return guarded(r.log, r.api.Handler(api.Access{Identify: func(req *http.Request) (api.Identity, error) {
		name, err := url.QueryUnescape(req.Header.Get(control.UserHeader))
		return api.Identity{Name: name, Role: config.Admin}, err
	}}))
}

// newAPI makes the HTTP interfaces of an engine that was made.
func (r *Runner) newAPI() error {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	machine := func() api.Machine { return api.Machine(r.budget.Capacity()) }
	r.api, err = api.New(api.Options{
		Engine: r.engine, Store: r.store, Logs: r.logs, Artifacts: r.artifacts, Config: r.engine.Config, Machine: machine,
		Master: host + ":" + r.layout.Dir, Version: Version(), Logger: r.log,
	})
	if err != nil {
		return err
	}
	r.page = web.New(web.Options{
		Engine: r.engine, Store: r.store, Logs: r.logs, Artifacts: r.artifacts, Config: r.engine.Config, Machine: machine,
		Version: Version(), Logger: r.log, TestMail: r.testMail,
	})
	return nil
}

// testMail sends a test mail as the present configuration says, and returns what
// the relay said.
func (r *Runner) testMail(ctx context.Context, to string) (string, error) {
	c := r.engine.Config()
	relay, err := r.web.Load().relay(ctx)
	if err != nil {
		return "", err
	}
	return mail.SendTest(ctx, relay, c.Title, c.Mail.From, c.Mail.ReplyTo, to, nil)
}
