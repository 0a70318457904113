package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// Options are what a page shows and steers. All but Artifacts must be given.
type Options struct {
	Engine *engine.Engine
	Store  *store.Store
	Logs   *logs.Store
	// Artifacts has files of builds; nil: none are kept.
	Artifacts *artifacts.Store
	Config    func() *config.Config // the one in force
	Machine   func() api.Machine
	// TestMail sends a test mail, and returns what the relay said.
	TestMail func(ctx context.Context, to string) (said string, err error)
	Version  string
	Logger   *slog.Logger
}

// Web is the page of a master. [Web.Handler] serves it.
type Web struct {
	Options
	log       *slog.Logger
	began     time.Time
	look      func() *look // made when the first page is asked for: a terminal's master shows none
	pages     []page
	live      live
	listeners listeners
	notes     notes
	zipped    sync.Pool // of *gzip.Writer
	viewer    logViewer
}

// Access says who may do what on the page, and how people prove who they are.
type Access struct {
	api.Access
	// Login checks a name and a password, and returns the session that the
	// browser is to show from then on. Nil: there is nothing to log in with.
	Login func(r *http.Request, name, password string) (session string, err error)
	// Logout ends the session of a request.
	Logout func(r *http.Request)
	// ReadOnly says why nobody may act, "" if somebody may.
	ReadOnly string
}

// New makes the page of a master. [Web.Close] ends it.
func New(o Options) *Web {
	s := &Web{Options: o, log: o.Logger, began: time.Now()}
	s.live.start = s.follow
	s.pages = pages(s)
	s.look = sync.OnceValue(newLook)
	return s
}

// Close ends all streams.
func (s *Web) Close() {
	s.live.close()
	s.viewer.close()
}

// policy is the Content-Security-Policy of everything that is served.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Handler returns the page for those whom acc lets in. What lies below /static/
// is for everybody.
func (s *Web) Handler(acc Access) http.Handler {
	in := http.NewServeMux()
	for i := range s.pages {
		p := &s.pages[i]
		in.HandleFunc("GET "+p.path, func(w http.ResponseWriter, r *http.Request) { s.get(w, r, p, &acc) })
		in.HandleFunc("POST "+p.path, func(w http.ResponseWriter, r *http.Request) { s.post(w, r, p, &acc) })
	}
	in.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) { s.serveLive(w, r, &acc) })
	in.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c := s.call(w, r, &acc, nil)
		if path := r.URL.EscapedPath(); len(path) > 1 && path[len(path)-1] == '/' {
			c.redirect(c.up() + path[1:len(path)-1])
			return
		}
		c.fail(notFound("there is no page at this address"))
	})
	out := http.NewServeMux()
	out.HandleFunc("GET /static/{file}", s.serveStatic)
	out.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) { s.getLogin(w, r, &acc) })
	out.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) { s.postLogin(w, r, &acc) })
	out.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { s.postLogout(w, r, &acc) })
	out.Handle("/", s.guard(&acc, in))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		out.ServeHTTP(w, r)
	})
}

// guard lets a request through to next if its host, its origin and its sender
// are in order; whoever could log in is asked to.
func (s *Web) guard(acc *Access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := acc.Check(r, s.Config())
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(withIdentity(r.Context(), id)))
		case errors.Is(err, api.ErrNoCredentials) && acc.Login != nil && r.Header.Get("Authorization") == "" && !wantsPart(r):
			c := s.call(w, r, acc, nil)
			c.redirect(c.up() + "login" + query("next", c.here()))
		default:
			if errors.Is(err, api.ErrNoCredentials) && acc.Challenge != "" && acc.Login == nil {
				w.Header().Set("WWW-Authenticate", acc.Challenge)
			}
			s.call(w, r, acc, nil).fail(err)
		}
	})
}
