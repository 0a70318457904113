package pb

import (
	"context"
	"crypto/md5"
	"errors"
	"testing"
	"testing/synctest"

	"bothy/runner/internal/remote/wire"
)

// portal lets "worker" in who knows "s3cret", and asks its mind first.
func portal(t testing.TB) *Portal {
	return &Portal{Enter: func(ctx context.Context, a *Attempt) (any, error) {
		if a.User != "worker" || !a.Password("s3cret") || a.Anonymous {
			return nil, Unauthorized()
		}
		if a.Mind == nil {
			return NewObject(echo), nil
		}
		defer a.Mind.Release()
		if v, err := a.Mind.Call(ctx, "print", Args{Named: wire.Map{{Key: "message", Value: "attached"}}}); v != nil || err != nil {
			t.Errorf("the mind says %v, %v", v, err)
		}
		return NewObject(echo), nil
	}}
}

func TestLogin(t *testing.T) {
	for name, mind := range map[string]*Object{"with mind": NewObject(make(keeper, 1)), "without": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := pair(t, portal(t), Options{}, Options{Limits: StrangerLimits})
				avatar, err := Login(t.Context(), client, "worker", "s3cret", mind)
				if err != nil {
					t.Fatal(err)
				}
				if v, err := avatar.Call(t.Context(), "x", Positional("hello")); v != "hello" || err != nil {
					t.Errorf("%v, %v", v, err)
				}
				avatar.Release()
				synctest.Wait()
				if client.Objects()+client.Refs()+server.Objects()+server.Refs() != 0 {
					t.Errorf("left: client %d objects %d references, server %d and %d",
						client.Objects(), client.Refs(), server.Objects(), server.Refs())
				}
			})
		})
	}
}

func TestLoginRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, portal(t), Options{}, Options{})
		for name, try := range map[string]func() (*Ref, error){
			"wrong password": func() (*Ref, error) {
				return Login(t.Context(), client, "worker", "secret", NewObject(echo))
			},
			"wrong name": func() (*Ref, error) {
				return Login(t.Context(), client, "wörker", "s3cret", NewObject(echo))
			},
			"no name": func() (*Ref, error) { return LoginAnonymous(t.Context(), client, NewObject(echo)) },
		} {
			avatar, err := try()
			var f *Failure
			if avatar != nil || !errors.As(err, &f) || f.Type != TypeUnauthorized {
				t.Errorf("%s: %v, %v", name, avatar, err)
			}
		}
		synctest.Wait()
		if client.Objects()+client.Refs()+server.Objects()+server.Refs() != 0 {
			t.Errorf("left: client %d objects %d references, server %d and %d",
				client.Objects(), client.Refs(), server.Objects(), server.Refs())
		}
	})
}

func TestLoginAnonymous(t *testing.T) {
	client, _ := pair(t, &Portal{Enter: func(_ context.Context, a *Attempt) (any, error) {
		if !a.Anonymous || a.User != "" || a.Mind != nil || a.Password("") || a.Digest(md5.Sum(nil)) {
			t.Errorf("%+v", a)
		}
		return NewObject(echo), nil
	}}, Options{}, Options{})
	avatar, err := LoginAnonymous(t.Context(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	avatar.Release()
}

// A challenge is good for one answer, so that a response that was overheard or
// guessed at is worth nothing.
func TestChallengeIsUsedOnce(t *testing.T) {
	client, _ := pair(t, portal(t), Options{}, Options{})
	v, err := client.Root().Call(t.Context(), "login", Positional("worker")) // as text, which is fine too
	if err != nil {
		t.Fatal(err)
	}
	challenge, challenger, err := readChallenge(v)
	if err != nil {
		t.Fatal(err)
	}
	right := respond(challenge, md5.Sum([]byte("s3cret")))
	for i, c := range []struct {
		response []byte
		ok       bool
	}{{right, true}, {right, false}} {
		v, err := challenger.Call(t.Context(), "respond", Positional(c.response, nil))
		if (err == nil) != c.ok {
			t.Errorf("response %d: %v, %v", i, v, err)
		}
	}
	again, err := client.Root().Call(t.Context(), "login", Positional("worker"))
	if err != nil {
		t.Fatal(err)
	}
	if other, _, _ := readChallenge(again); string(other) == string(challenge) || len(other) != 16 {
		t.Errorf("challenges %x and %x", challenge, other)
	}
}

// Strangers may send anything.
func TestLoginArguments(t *testing.T) {
	client, _ := pair(t, portal(t), Options{}, Options{})
	v, err := client.Root().Call(t.Context(), "login", Positional([]byte("worker")))
	if err != nil {
		t.Fatal(err)
	}
	_, challenger, err := readChallenge(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		object *Ref
		method string
		args   Args
	}{
		{client.Root(), "logout", Args{}},
		{client.Root(), "login", Args{}},
		{client.Root(), "login", Positional(7)},
		{client.Root(), "login", Positional([]byte{0xff})},
		{client.Root(), "loginAnonymous", Positional("mind")},
		{challenger, "answer", Args{}},
		{challenger, "respond", Args{}},
		{challenger, "respond", Positional(7)},
		{challenger, "respond", Positional([]byte("x"), "mind")},
	} {
		v, err := c.object.Call(t.Context(), c.method, c.args)
		if f := (*Failure)(nil); !errors.As(err, &f) {
			t.Errorf("%s %v: %v, %v", c.method, c.args, v, err)
		}
	}
}

// Neither need servers be what they should.
func TestLoginAtStrangeServers(t *testing.T) {
	object := NewObject(HandlerFunc(func(context.Context, string, Args) (any, error) { return "no reference", nil }))
	for name, answer := range map[string]any{
		"no pair":       "challenge",
		"a triple":      wire.Tuple{[]byte("x"), object, object},
		"no challenge":  wire.Tuple{7, object},
		"no challenger": wire.Tuple{[]byte("x"), "object"},
		"no avatar":     wire.Tuple{[]byte("x"), object},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := pair(t, HandlerFunc(func(context.Context, string, Args) (any, error) { return answer, nil }), Options{}, Options{})
			if avatar, err := Login(t.Context(), client, "worker", "x", nil); err == nil {
				t.Errorf("%s: logged in: %v", name, avatar)
			}
			synctest.Wait()
			if client.Refs() != 0 || server.Objects() != 0 {
				t.Errorf("%s: %d references left", name, client.Refs())
			}
		})
	}
}
