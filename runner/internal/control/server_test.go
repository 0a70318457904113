package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a master whose sessions last until the terminal has gone.
type fake struct {
	running chan struct{} // gets one when a session has begun
	release chan struct{} // closed: sessions may end
}

func (f *fake) RunSession(ctx context.Context, _ RunRequest, send func(Update) error) error {
	f.running <- struct{}{}
	<-ctx.Done()
	<-f.release
	return ctx.Err()
}
func (*fake) CancelSession(context.Context, string, Cancel) error { return nil }
func (*fake) Accept(RunRequest) error                             { return nil }
func (*fake) Submit(context.Context, SubmitRequest) (Submitted, error) {
	return Submitted{}, nil
}
func (*fake) Status(context.Context) (Status, error) { return Status{}, nil }
func (*fake) Drain()                                 {}

// listener tells when it was closed.
type listener struct {
	net.Listener
	closed chan struct{}
}

func (l *listener) Close() error {
	defer close(l.closed)
	return l.Listener.Close()
}

func listen(t *testing.T) *listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &listener{ln, make(chan struct{})}
}

func newServer(m Master) *Server { return NewServer(m, nil, slog.New(slog.DiscardHandler)) }

// within fails the test if nothing comes in a time that is long for anything here.
func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: not in 30 s", what)
	}
	return v
}

// TestServeAfterClose: a master may be closed before its control socket is open.
func TestServeAfterClose(t *testing.T) {
	s := newServer(&fake{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	if err := within(t, "Serve after Close", served); err != nil {
		t.Errorf("Serve after Close: %v, want nil", err)
	}
	within(t, "the listener is closed", ln.closed)
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

func TestCloseWhileServing(t *testing.T) {
	s := newServer(&fake{})
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	client := NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	})
	if _, err := client.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "Serve when it is closed", served); err != nil {
		t.Errorf("Serve: %v, want nil", err)
	}
	within(t, "the listener is closed", ln.closed)
}

// TestCloseWaits: a session ends before Close returns, and none begins later.
func TestCloseWaits(t *testing.T) {
	f := &fake{running: make(chan struct{}, 1), release: make(chan struct{})}
	s := newServer(f)
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	client := NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
	})
	ran := make(chan error, 1)
	go func() { ran <- client.Run(t.Context(), RunRequest{Session: "1"}, func(Update) error { return nil }) }()
	within(t, "the session begins", f.running)

	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := within(t, "the terminal hears of it", ran); err == nil {
		t.Error("the session ended without an error")
	}
	select {
	case <-closed:
		t.Fatal("Close returned while a session runs")
	default:
	}
	close(f.release)
	if err := within(t, "Close", closed); err != nil {
		t.Fatal(err)
	}
	within(t, "Serve when it is closed", served)

	// A request whose connection was accepted before.
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/run", strings.NewReader(`{"session":"2"}`)))
	if w.Code != http.StatusServiceUnavailable {
		body, _ := io.ReadAll(w.Body)
		t.Errorf("a session after Close: %d %s, want 503", w.Code, body)
	}
	if err := client.Run(t.Context(), RunRequest{}, nil); !errors.Is(err, ErrGone) {
		t.Logf("a call after Close: %v", err)
	}
}
