package msgpack

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestSessionPairs(t *testing.T) {
	s := NewSession(3)
	var pending []*Pending
	for want := range int64(3) {
		p, err := s.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Seq() != want {
			t.Errorf("number %d, want %d", p.Seq(), want)
		}
		pending = append(pending, p)
	}
	for _, seq := range []int64{1, 2, 0} { // responses may overtake
		if err := s.Deliver(seq, &Response{Result: seq}); err != nil {
			t.Fatal(err)
		}
	}
	for want, p := range pending {
		for range 2 { // may be asked again
			r, err := p.Wait(t.Context())
			if err != nil || r.Result != int64(want) {
				t.Errorf("response to %d is %v, %v", want, r, err)
			}
		}
	}
	if n := s.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestSessionUnknownSeq(t *testing.T) {
	s := NewSession(1)
	p, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		seq   int64
		known bool
	}{{1, false}, {-1, false}, {0, true}, {0, false}} {
		err := s.Deliver(c.seq, &Response{})
		var unknown *UnknownSeqError
		switch {
		case c.known && err != nil:
			t.Errorf("response to %d: %v", c.seq, err)
		case !c.known && (!errors.As(err, &unknown) || unknown.Seq != c.seq):
			t.Errorf("response to %d: %v, want that it is unknown", c.seq, err)
		}
	}
	if _, err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSessionBlocksAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSession(2)
		first, _ := s.Begin(t.Context())
		second, _ := s.Begin(t.Context())
		began := make(chan *Pending)
		begin := func() {
			p, err := s.Begin(t.Context())
			if err != nil {
				t.Error(err)
			}
			began <- p
		}
		go begin()
		synctest.Wait()
		select {
		case <-began:
			t.Fatal("a third request began")
		default:
		}
		if err := s.Deliver(first.Seq(), &Response{}); err != nil {
			t.Fatal(err)
		}
		if third := <-began; third.Seq() != 2 {
			t.Errorf("number %d, want 2", third.Seq())
		}

		go begin()
		synctest.Wait()
		second.Drop() // makes room too
		<-began

		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("bored")
		cancel(why)
		if _, err := s.Begin(ctx); !errors.Is(err, why) {
			t.Errorf("%v, want the reason the context ended", err)
		}
	})
}

func TestSessionWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSession(2)
		p, _ := s.Begin(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that it was cancelled", err)
		}
		// Its response will still come, and is no surprise then.
		if err := s.Deliver(p.Seq(), &Response{Result: "late"}); err != nil {
			t.Error(err)
		}
		if r, err := p.Wait(t.Context()); err != nil || r.Result != "late" {
			t.Errorf("%v, %v", r, err)
		}

		p, _ = s.Begin(t.Context())
		_, _ = s.Begin(t.Context())
		lost := errors.New("connection lost")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Wait(t.Context()); err != lost {
				t.Errorf("waiting ended with %v", err)
			}
		})
		wg.Go(func() {
			if _, err := s.Begin(t.Context()); err != lost {
				t.Errorf("beginning ended with %v", err)
			}
		})
		synctest.Wait()
		s.Close(lost)
		s.Close(nil) // only the first counts
		wg.Wait()
		if _, err := s.Begin(t.Context()); err != lost {
			t.Errorf("beginning after the end: %v", err)
		}
	})
}

func TestSessionCloseWithoutReason(t *testing.T) {
	s := NewSession(1)
	s.Close(nil)
	if _, err := s.Begin(t.Context()); err != ErrSessionClosed {
		t.Errorf("%v", err)
	}
}
