package pb

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"bothy/runner/internal/remote/wire/pb/banana"
)

// More than the window is not sent before there are answers.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		client, _ := pair(t, g, Options{Window: 10_000}, Options{})
		text := strings.Repeat("x", 3000)
		started := make(chan *Pending, 100)
		go func() {
			for range 10 {
				p, err := client.Root().Start(t.Context(), "x", Positional(text))
				if err != nil {
					t.Error(err)
				}
				started <- p
			}
		}()
		synctest.Wait()
		if n := len(started); n != 4 { // the fourth began with room left
			t.Fatalf("%d calls under way", n)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("bored")
		gone := make(chan error)
		go func() {
			_, err := client.Root().Start(ctx, "y", Args{})
			gone <- err
		}()
		go func() { gone <- client.Root().Notify(ctx, "z", Args{}) }()
		synctest.Wait()
		cancel(why)
		for range 2 {
			if err := <-gone; !errors.Is(err, why) {
				t.Errorf("%v", err)
			}
		}
		for range 10 {
			g.open <- struct{}{}
		}
		for range 10 {
			if _, err := (<-started).Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if len(g.entered) != 10 {
			t.Errorf("%d calls arrived", len(g.entered))
		}
		client.mu.Lock()
		defer client.mu.Unlock()
		if client.inFlight != 0 {
			t.Errorf("%d bytes still count", client.inFlight)
		}
	})
}

// Calls without answer count until they are sent.
func TestWindowOfNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := withPeer(t, nil, Options{Window: 100})
		sent := make(chan struct{}, 100)
		go func() {
			for range 20 {
				if err := b.Root().Notify(t.Context(), "x", Positional(strings.Repeat("x", 60))); err != nil {
					t.Error(err)
				}
				sent <- struct{}{}
			}
		}()
		synctest.Wait()
		if n := len(sent); n > 6 { // what is being sent, and a window more
			t.Errorf("%d sent to a peer that does not read", n)
		}
		for range 20 {
			p.read()
		}
		synctest.Wait()
		if n := len(sent); n != 20 {
			t.Errorf("%d sent", n)
		}
	})
}

// flood sends calls until told to stop and returns how many were taken.
func flood(p *peer, n int, argument string) int {
	for i := range n {
		call := appendExpr(nil, []any{"message", i, "root", "x", 1, []any{"tuple", argument}, []any{"dictionary"}})
		if _, err := p.Write(call); err != nil {
			return i
		}
	}
	return n
}

// A peer that asks faster than it is answered is not read any more.
func TestBacklog(t *testing.T) {
	const cost = 1000 + 40*11 // of one call, about
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b, p := withPeer(t, g, Options{Backlog: 20 * cost})
		done := make(chan int, 1)
		go func() { done <- flood(p, 100, strings.Repeat("x", 1000)) }()
		synctest.Wait()
		b.mu.Lock()
		backlog := b.backlog
		b.mu.Unlock()
		if backlog > 20*cost || backlog < 15*cost {
			t.Errorf("a backlog of %d bytes", backlog)
		}
		select {
		case <-done:
			t.Fatal("all calls were taken")
		default:
		}
		go func() {
			for range 100 {
				g.open <- struct{}{}
			}
		}()
		for i := range 100 {
			p.want([]any{"answer", int64(i), []any{"unicode", "x"}})
		}
		if n := <-done; n != 100 {
			t.Errorf("%d calls sent", n)
		}
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.backlog != 0 {
			t.Errorf("%d bytes still count", b.backlog)
		}
	})
}

// Neither is one that does not read its answers.
func TestBacklogOfAnswers(t *testing.T) {
	for name, ask := range map[string]func(p *peer){
		"calls":              func(p *peer) { flood(p, 1000, strings.Repeat("x", 1000)) },
		"what is no command": func(p *peer) { floodWith(p, []any{strings.Repeat("x", 1000)}) },
		"references to refuse": func(p *peer) {
			floodWith(p, []any{"message", 1, "root", "x", 1, []any{"tuple", []any{"remote", 1}}, []any{"strange"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, p := withPeer(t, echo, Options{Backlog: 10_000})
				done := make(chan struct{})
				go func() {
					defer close(done)
					ask(p)
				}()
				synctest.Wait()
				select {
				case <-done:
					t.Error("all was taken")
				default:
				}
				b.mu.Lock()
				if b.backlog > 12_000 || len(b.out) > 12_000 {
					t.Errorf("a backlog of %d bytes, %d to send", b.backlog, len(b.out))
				}
				b.mu.Unlock()
				b.Close()
				<-done
			})
		})
	}
}

func floodWith(p *peer, expr []any) {
	message := appendExpr(nil, expr)
	for range 1000 {
		if _, err := p.Write(message); err != nil {
			return
		}
	}
}

// A call that is larger than the backlog may ever be gets in alone.
func TestCallLargerThanTheBacklog(t *testing.T) {
	client, _ := pair(t, echo, Options{}, Options{Backlog: 100})
	text := strings.Repeat("x", 10_000)
	for range 3 {
		if v, err := client.Root().Call(t.Context(), "x", Positional(text)); v != text || err != nil {
			t.Fatal(err)
		}
	}
}

// A stranger's limits end when it is known, though we wait for its next message
// already.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, echo, Options{}, Options{Limits: StrangerLimits})
		text := strings.Repeat("x", banana.MaxString)
		synctest.Wait()
		server.SetLimits(banana.Limits{})
		if v, err := client.Root().Call(t.Context(), "x", Positional(text)); v != text || err != nil {
			t.Fatal(err)
		}
		server.SetLimits(StrangerLimits)
		if _, err := client.Root().Call(t.Context(), "x", Positional(text)); !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		if err := server.Wait(); !errors.Is(err, ErrProtocol) || !errors.Is(err, banana.ErrEncoding) {
			t.Errorf("%v", err)
		}
	})
}
