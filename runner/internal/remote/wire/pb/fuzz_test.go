package pb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"bothy/runner/internal/remote/wire/pb/banana"
)

// script is a connection whose peer says something and then hangs up.
type script struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

func (s *script) Write(p []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, io.ErrClosedPipe
	default:
		return len(p), nil
	}
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// FuzzBroker serves a peer that says anything after the handshake.
func FuzzBroker(f *testing.F) {
	_, worker := recorded(f)
	for _, e := range expressions(f, worker) {
		f.Add(appendExpr(nil, e))
	}
	f.Add(worker[len(banana.AppendPlain(nil, dialect)):])
	for _, e := range [][]any{
		{"message", 1, "root", "login", 1, []any{"tuple", "x"}, []any{"dictionary"}},
		{"message", 1, "root", "loginAnonymous", 1, []any{"tuple", []any{"remote", 1}}, []any{"dictionary"}},
		{"message", 2, 1, "respond", 1, []any{"tuple", "x", []any{"remote", 1}}, []any{"dictionary"}},
		{"message", 1, "root", "x", 0, []any{"tuple", []any{"local", 1}}, []any{"dictionary"}},
		{"decref", 1}, {"answer", 1, 1}, {"error", 1, 1}, {"cachemessage"}, {"version", 6},
	} {
		f.Add(appendExpr(nil, e))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn := &script{Reader: io.MultiReader(bytes.NewReader(banana.AppendPlain(nil, dialect)), bytes.NewReader(said)), closed: make(chan struct{})}
		p := &Portal{Enter: func(_ context.Context, a *Attempt) (any, error) {
			if a.Mind != nil {
				defer a.Mind.Release()
			}
			return NewObject(echo), nil
		}}
		b, err := Server(ctx, conn, p, Options{Limits: StrangerLimits, Objects: 20, Refs: 20, Backlog: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Wait(); !errors.Is(err, ErrLost) && !errors.Is(err, ErrProtocol) {
			t.Fatalf("ended with %v", err)
		}
		if n := b.Objects(); n > 20 {
			t.Fatalf("%d objects", n)
		}
		if n := b.Refs(); n > 20 {
			t.Fatalf("%d references", n)
		}
	})
}
