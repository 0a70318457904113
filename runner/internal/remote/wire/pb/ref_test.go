package pb

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

func TestReferencesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(keeper, 2)
		client, server := pair(t, got, Options{}, Options{})
		o := NewObject(echo)
		for range 2 { // twice each
			if _, err := client.Root().Call(t.Context(), "x", Positional(o, wire.Map{{Key: "again", Value: []any{o}}})); err != nil {
				t.Fatal(err)
			}
		}
		if client.Objects() != 1 || server.Refs() != 4 {
			t.Fatalf("%d objects, %d references", client.Objects(), server.Refs())
		}
		one, two := <-got, <-got
		kept := one.List[0].(*Ref)
		one.List[0] = nil
		Release(one.List)
		Release(one.List) // releasing again does nothing
		Release(two.List)
		synctest.Wait()
		if client.Objects() != 1 || server.Refs() != 1 {
			t.Errorf("%d objects, %d references with one kept", client.Objects(), server.Refs())
		}
		if v, err := kept.Call(t.Context(), "x", Positional(1)); v != int64(1) || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		kept.Release()
		synctest.Wait()
		if client.Objects() != 0 || server.Refs() != 0 {
			t.Errorf("%d objects, %d references left", client.Objects(), server.Refs())
		}
		if _, err := kept.Call(t.Context(), "x", Args{}); !errors.Is(err, ErrReleased) {
			t.Errorf("a call by a released reference: %v", err)
		}
		if _, err := server.Root().Call(t.Context(), "x", Positional(kept)); !errors.Is(err, ErrReleased) {
			t.Errorf("a released reference sent: %v", err)
		}
	})
}

// An object that comes back is the one that was sent.
func TestObjectComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mirror := HandlerFunc(func(ctx context.Context, _ string, args Args) (any, error) {
			r := args.List[0].(*Ref)
			v, err := r.Call(ctx, "look", Positional(r))
			r.Release()
			return v, err
		})
		client, _ := pair(t, mirror, Options{}, Options{})
		var o *Object
		o = NewObject(HandlerFunc(func(_ context.Context, _ string, args Args) (any, error) {
			return args.List[0] == o, nil
		}))
		if v, err := client.Root().Call(t.Context(), "x", Positional(o)); v != true || err != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// References that nobody gets to see are given back.
func TestUnwantedReferences(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, client, server *Broker, slow *gate){
		"the handler fails": func(t *testing.T, client, _ *Broker, _ *gate) {
			_, _ = client.Root().Call(t.Context(), "fail", Positional(NewObject(echo)))
		},
		"the answer is abandoned": func(t *testing.T, client, _ *Broker, slow *gate) {
			ctx, cancel := context.WithCancel(t.Context())
			p, err := client.Root().Start(ctx, "slow", Args{})
			if err != nil {
				t.Fatal(err)
			}
			<-slow.entered
			cancel()
			if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			p.Abandon()
			slow.open <- struct{}{}
		},
		"the answer is abandoned too late": func(t *testing.T, client, _ *Broker, slow *gate) {
			p, err := client.Root().Start(t.Context(), "slow", Args{})
			if err != nil {
				t.Fatal(err)
			}
			slow.open <- struct{}{}
			synctest.Wait()
			p.Abandon()
		},
		"the caller gives up": func(t *testing.T, client, _ *Broker, slow *gate) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-slow.entered
				cancel()
			}()
			if _, err := client.Root().Call(ctx, "slow", Args{}); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			slow.open <- struct{}{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := newGate()
				root := HandlerFunc(func(ctx context.Context, method string, args Args) (any, error) {
					if method == "fail" {
						return nil, errors.New("no")
					}
					if _, err := slow.Call(ctx, method, args); err != nil {
						return nil, err
					}
					return []any{NewObject(echo)}, nil
				})
				client, server := pair(t, root, Options{}, Options{})
				use(t, client, server, slow)
				synctest.Wait()
				if client.Objects()+client.Refs()+server.Objects()+server.Refs() != 0 {
					t.Errorf("left: client %d objects %d references, server %d and %d",
						client.Objects(), client.Refs(), server.Objects(), server.Refs())
				}
			})
		})
	}
}

func TestForgottenObjectsAreNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(keeper, 1)
		client, server := pair(t, got, Options{}, Options{})
		g := newGate()
		o := NewObject(g)
		if _, err := client.Root().Call(t.Context(), "x", Positional(o)); err != nil {
			t.Fatal(err)
		}
		r := (<-got).List[0].(*Ref)
		running, err := r.Start(t.Context(), "running", Args{})
		if err != nil {
			t.Fatal(err)
		}
		waiting, err := r.Start(t.Context(), "waiting", Args{})
		if err != nil {
			t.Fatal(err)
		}
		<-g.entered
		synctest.Wait()
		client.Forget(o)
		client.Forget(o) // does nothing
		g.open <- struct{}{}
		if v, err := running.Wait(t.Context()); v != "running" || err != nil {
			t.Errorf("the call that ran: %v, %v", v, err)
		}
		var failure *Failure
		if _, err := waiting.Wait(t.Context()); !errors.As(err, &failure) || failure.Value != "Invalid Object ID" {
			t.Errorf("the call that waited: %v", err)
		}
		if _, err := r.Call(t.Context(), "later", Args{}); !errors.As(err, &failure) {
			t.Errorf("a later call: %v", err)
		}
		r.Release() // of what is forgotten: nothing happens
		// Sent again it is a new object.
		if _, err := client.Root().Call(t.Context(), "x", Positional(o)); err != nil {
			t.Fatal(err)
		}
		again := (<-got).List[0].(*Ref)
		go func() { g.open <- struct{}{} }()
		if v, err := again.Call(t.Context(), "again", Args{}); v != "again" || err != nil {
			t.Errorf("%v, %v", v, err)
		}
		again.Release()
		synctest.Wait()
		if client.Objects() != 0 || server.Refs() != 0 {
			t.Errorf("%d objects, %d references left", client.Objects(), server.Refs())
		}
	})
}

func TestTooManyObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(keeper, 10)
		client, _ := pair(t, got, Options{Objects: 2}, Options{})
		a, b, c := NewObject(echo), NewObject(echo), NewObject(echo)
		if _, err := client.Root().Call(t.Context(), "x", Positional(a, b, a)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Root().Call(t.Context(), "x", Positional(a, c)); !errors.Is(err, ErrTooManyObjects) {
			t.Errorf("%v", err)
		}
		Release((<-got).List)
		synctest.Wait()
		if n := client.Objects(); n != 0 {
			t.Errorf("%d objects left", n)
		}
		if _, err := client.Root().Call(t.Context(), "x", Positional(c)); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestTooManyReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(keeper, 10)
		client, server := pair(t, got, Options{}, Options{Refs: 2})
		if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(echo), NewObject(echo))); err != nil {
			t.Fatal(err)
		}
		var failure *Failure
		if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(echo), "x")); !errors.As(err, &failure) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if client.Objects() != 2 || server.Refs() != 2 {
			t.Errorf("%d objects, %d references; what was refused was not given back", client.Objects(), server.Refs())
		}
		Release((<-got).List)
		if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(echo))); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestReferencesToNothing(t *testing.T) {
	for _, bad := range []any{
		[]any{"local", 7},   // which we never lent
		[]any{"remote", 0},  // which Twisted never sends
		[]any{"remote", -1}, // and neither this
	} {
		_, p := withPeer(t, echo, Options{})
		p.ask(1, "x", []any{"remote", 1}, bad)
		p.want([]any{"decref", int64(1)})
		for { // then the decrefs of what was refused, and the error
			m := p.read().([]any)
			if m[0] == "error" {
				break
			}
			if m[0] != "decref" {
				t.Fatalf("%q", m)
			}
		}
	}
}

func TestReferenceOfAnotherConnection(t *testing.T) {
	got := make(keeper, 1)
	client, _ := pair(t, got, Options{}, Options{})
	if _, err := client.Root().Call(t.Context(), "x", Positional(NewObject(echo))); err != nil {
		t.Fatal(err)
	}
	other, _ := pair(t, echo, Options{}, Options{})
	if _, err := other.Root().Call(t.Context(), "x", (<-got)); !errors.Is(err, jelly.ErrValue) {
		t.Errorf("%v", err)
	}
}

// Whatever both sides send, keep and release: in the end nothing is left.
func TestReferencesBalance(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			held := [2]chan *Ref{make(chan *Ref, 1000), make(chan *Ref, 1000)} // by client, by server
			hold := func(side int) Handler {
				return HandlerFunc(func(_ context.Context, method string, args Args) (any, error) {
					if method == "refuse" {
						return nil, errors.New("no")
					}
					for _, v := range args.List {
						if ref, ok := v.(*Ref); ok {
							held[side] <- ref
						}
					}
					return args.List, nil // what is theirs goes home, what is ours is lent again
				})
			}
			client, server := pair(t, hold(1), Options{}, Options{})
			sides := [2]*Broker{client, server}
			objects := [2][]*Object{}
			for side := range objects {
				for range 3 {
					objects[side] = append(objects[side], NewObject(hold(side)))
				}
			}
			for range rapid.IntRange(1, 20).Draw(r, "steps") {
				side := rapid.IntRange(0, 1).Draw(r, "side")
				to := sides[side].Root()
				if side == 1 { // a client has no root
					if len(held[1]) == 0 {
						continue
					}
					to = <-held[1]
				}
				args := Args{}
				for range rapid.IntRange(0, 3).Draw(r, "objects") {
					args.List = append(args.List, objects[side][rapid.IntRange(0, 2).Draw(r, "object")])
				}
				v, err := to.Call(t.Context(), rapid.SampledFrom([]string{"keep", "refuse"}).Draw(r, "method"), args)
				if err == nil {
					Release(v)
				}
				to.Release()
				if len(held[side]) > 0 && rapid.Bool().Draw(r, "release") {
					(<-held[side]).Release()
				}
			}
			for _, refs := range held {
				close(refs)
				for ref := range refs {
					ref.Release()
				}
			}
			synctest.Wait()
			for i, b := range sides {
				if b.Objects()+b.Refs() != 0 || b.Err() != nil {
					r.Fatalf("side %d: %d objects, %d references, %v", i, b.Objects(), b.Refs(), b.Err())
				}
			}
		})
	})
}
