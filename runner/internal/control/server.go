package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxRequest bounds what a terminal may send: an environment may be large.
const maxRequest = 16 << 20

// Master is what the control interface drives.
type Master interface {
	// RunSession runs builds and reports through send until they have ended. An
	// error that wraps ErrGone has the terminal ask the next master.
	RunSession(ctx context.Context, req RunRequest, send func(Update) error) error
	CancelSession(ctx context.Context, session string, c Cancel) error
	// Accept refuses a request that this master cannot serve, for instance
	// because its configuration is another.
	Accept(req RunRequest) error
	Submit(ctx context.Context, req SubmitRequest) (Submitted, error)
	Status(ctx context.Context) (Status, error)
	// Drain begins to end the master once what runs has finished.
	Drain()
}

// Server serves the control interface.
type Server struct {
	http   *http.Server
	master Master
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	busy   sync.WaitGroup // requests of this package; not added to once closed
}

// UserHeader says who asks, percent-encoded. The server takes their word for it:
// only who may do everything can connect.
const UserHeader = "Bothy-User"

// NewServer returns a server for m; rest, if not nil, answers what is not of this
// package. Call Serve for each listener.
func NewServer(m Master, rest http.Handler, log *slog.Logger) *Server {
	s := &Server{master: m, log: log}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]http.HandlerFunc{
		"POST /run":              s.run,
		"POST /submit":           s.submit,
		"GET /status":            s.status,
		"POST /drain":            func(http.ResponseWriter, *http.Request) { m.Drain() },
		"POST /cancel/{session}": s.cancel,
	} {
		mux.HandleFunc(pattern, s.whileOpen(serve))
	}
	if rest != nil {
		mux.Handle("/", rest)
	}
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), // panics: nobody but our own programs connects,
	}
	return s
}

// Serve answers on ln until Close, and closes it. It returns nil after Close, at
// once when that was before.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control socket: %w", err)
	}
	return nil
}

// Close cuts all connections and waits for the requests of this package that are
// being answered; what rest answers is not waited for.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.http.Close()
	s.busy.Wait()
	return err
}

// whileOpen has Close wait for a request, or refuses it after Close: its
// connection may have been accepted just before.
func (s *Server) whileOpen(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			http.Error(w, ErrGone.Error(), http.StatusServiceUnavailable)
			return
		}
		s.busy.Add(1)
		s.mu.Unlock()
		defer s.busy.Done()
		serve(w, req)
	}
}

func (s *Server) run(w http.ResponseWriter, req *http.Request) {
	var r RunRequest
	if err := decode(w, req, &r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.master.Accept(r); {
	case errors.Is(err, ErrBusy):
		http.Error(w, err.Error(), http.StatusLocked)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	started := false
	err := s.master.RunSession(req.Context(), r, func(u Update) error {
		started = true
		if err := enc.Encode(u); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil && !started {
		code := http.StatusConflict
		var refused *RefusedError
		switch {
		case errors.Is(err, ErrGone):
			code = http.StatusServiceUnavailable
		case errors.As(err, &refused) && refused.Unable:
			code = http.StatusInsufficientStorage
		}
		http.Error(w, err.Error(), code)
		return
	}
	if err != nil {
		s.log.Debug("session ended", "session", r.Session, "err", err)
	}
}

func (s *Server) cancel(w http.ResponseWriter, req *http.Request) {
	var c Cancel
	if err := decode(w, req, &c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.master.CancelSession(req.Context(), req.PathValue("session"), c); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func (s *Server) submit(w http.ResponseWriter, req *http.Request) {
	var r SubmitRequest
	if err := decode(w, req, &r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := s.master.Submit(req.Context(), r)
	s.answer(w, out, err)
}

func (s *Server) status(w http.ResponseWriter, req *http.Request) {
	out, err := s.master.Status(req.Context())
	s.answer(w, out, err)
}

func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answer not delivered", "err", err)
	}
}

func decode(w http.ResponseWriter, req *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode the request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("decode the request: something follows it")
	}
	return nil
}
