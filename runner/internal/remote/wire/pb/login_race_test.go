package pb

import (
	"context"
	"crypto/md5"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// challenged asks for a challenge and returns the right response to it.
func challenged(t *testing.T, client *Broker) (challenger *Ref, response []byte) {
	t.Helper()
	v, err := client.Root().Call(t.Context(), "login", Positional([]byte("worker")))
	if err != nil {
		t.Fatal(err)
	}
	challenge, challenger, err := readChallenge(v)
	if err != nil {
		t.Fatal(err)
	}
	return challenger, respond(challenge, md5.Sum([]byte("s3cret")))
}

// However many challenges of a connection are answered rightly, and at the same
// time, one attempt succeeds; and they are decided one after the other.
func TestConnectionLogsInOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, entered atomic.Int32
		client, server := pair(t, &Portal{Enter: func(_ context.Context, a *Attempt) (any, error) {
			if inside.Add(1) > 1 {
				t.Error("two attempts are decided at the same time")
			}
			defer inside.Add(-1)
			if !a.Password("s3cret") {
				return nil, Unauthorized()
			}
			entered.Add(1)
			for range 100 {
				runtime.Gosched() // the others come to the door
			}
			return NewObject(echo), nil
		}}, Options{}, Options{})
		type proof struct {
			challenger *Ref
			response   []byte
		}
		var proofs [MaxLogins]proof
		for i := range proofs {
			proofs[i].challenger, proofs[i].response = challenged(t, client)
		}
		var passed atomic.Int32
		var wg sync.WaitGroup
		for _, p := range proofs {
			for range 3 {
				wg.Go(func() {
					if v, err := p.challenger.Call(t.Context(), "respond", Positional(p.response, NewObject(echo))); err == nil {
						passed.Add(1)
						Release(v)
					}
				})
			}
		}
		wg.Wait()
		if passed.Load() != 1 || entered.Load() != 1 {
			t.Errorf("%d answers, %d attempts succeeded", passed.Load(), entered.Load())
		}
		for _, p := range proofs {
			p.challenger.Release()
		}
		synctest.Wait()
		// The mind of the one that succeeded is Enter's.
		if server.Refs() != 1 || server.Objects() != 0 || client.Refs() != 0 {
			t.Errorf("left: server %d objects %d references, client %d references", server.Objects(), server.Refs(), client.Refs())
		}
	})
}

// A connection gets some attempts, however they are made.
func TestAttemptsOfAConnection(t *testing.T) {
	for name, try := range map[string]func(client *Broker) error{
		"by name": func(client *Broker) error {
			_, err := client.Root().Call(t.Context(), "login", Positional("worker"))
			return err
		},
		"anonymously": func(client *Broker) error {
			_, err := LoginAnonymous(t.Context(), client, nil)
			return err
		},
		"wrongly": func(client *Broker) error {
			_, err := client.Root().Call(t.Context(), "login", Args{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked int
			client, _ := pair(t, &Portal{Enter: func(context.Context, *Attempt) (any, error) {
				asked++
				return nil, Unauthorized()
			}}, Options{}, Options{})
			for range 3 * MaxLogins {
				if err := try(client); err == nil && name != "by name" {
					t.Error("it has logged in")
				}
			}
			if asked > MaxLogins {
				t.Errorf("asked %d times", asked)
			}
			if _, err := client.Root().Call(t.Context(), "login", Positional("worker")); err == nil {
				t.Error("another challenge")
			}
		})
	}
}
