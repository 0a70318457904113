package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// More kinds of questions than statements are kept, from many sides.
func TestPoolForgetsStatements(t *testing.T) {
	t.Parallel()
	s := selectable(t)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range maxPrepared / 4 {
				got, err := read(s, func(q querier) (int64, error) {
					return single(t.Context(), q, clause{fmt.Sprintf("SELECT ? + %d", g*maxPrepared+i), []any{int64(1)}})
				}, "read")
				if err != nil || got != int64(g*maxPrepared+i+1) {
					t.Errorf("got %d, %v", got, err)
					return
				}
			}
		})
	}
	group.Wait()
	p, err := s.reader()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.stmts); n == 0 || n > maxPrepared {
		t.Errorf("%d statements are kept", n)
	}
}

func TestSelectEndsWithItsContext(t *testing.T) {
	s := selectable(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.SelectBuilds(ctx, Select{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("builds: %v", err)
	}
	if _, err := s.SelectWorkers(ctx, Select{}); !errors.Is(err, context.Canceled) {
		t.Errorf("total of workers: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SelectBuilds(t.Context(), Select{Limit: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
