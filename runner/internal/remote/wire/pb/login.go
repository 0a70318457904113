package pb

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"bothy/runner/internal/remote/wire"
)

// The methods of a login.
const (
	methodLogin     = "login"
	methodAnonymous = "loginAnonymous"
	methodRespond   = "respond"
)

// Login logs in to a server with a name and a password. The server may call mind,
// and Buildbot's does so before the login has succeeded; it may be nil. What it returns is the server's
// object for this client, which must be released.
func Login(ctx context.Context, b *Broker, user, password string, mind *Object) (*Ref, error) {
	v, err := b.Root().Call(ctx, methodLogin, Positional([]byte(user)))
	if err != nil {
		return nil, fmt.Errorf("log in as %q: %w", user, err)
	}
	challenge, challenger, err := readChallenge(v)
	if err != nil {
		Release(v)
		return nil, fmt.Errorf("log in as %q: %w", user, err)
	}
	defer challenger.Release()
	v, err = challenger.Call(ctx, methodRespond, Positional(respond(challenge, md5.Sum([]byte(password))), orNone(mind)))
	if err != nil {
		return nil, fmt.Errorf("log in as %q: %w", user, err)
	}
	return avatar(v)
}

// LoginAnonymous logs in to a server without a name.
func LoginAnonymous(ctx context.Context, b *Broker, mind *Object) (*Ref, error) {
	v, err := b.Root().Call(ctx, methodAnonymous, Positional(orNone(mind)))
	if err != nil {
		return nil, fmt.Errorf("log in anonymously: %w", err)
	}
	return avatar(v)
}

// orNone is what is sent for an object that need not be there.
func orNone(o *Object) any {
	if o == nil {
		return nil
	}
	return o
}

func avatar(v any) (*Ref, error) {
	r, ok := v.(*Ref)
	if !ok {
		Release(v)
		return nil, fmt.Errorf("log in: the answer is a %T, want a reference", v)
	}
	return r, nil
}

func readChallenge(v any) (challenge []byte, challenger *Ref, err error) {
	pair, err := wire.List(v)
	if err != nil || len(pair) != 2 {
		return nil, nil, errors.New("the answer is no challenge")
	}
	if challenge, err = wire.Bytes(pair[0]); err != nil {
		return nil, nil, fmt.Errorf("the challenge: %w", err)
	}
	challenger, ok := pair[1].(*Ref)
	if !ok {
		return nil, nil, errors.New("the challenger is no reference")
	}
	return challenge, challenger, nil
}

// respond is the response to a challenge. twisted.spread.pb.respond.
func respond(challenge []byte, digest [md5.Size]byte) []byte {
	sum := md5.Sum(append(digest[:], challenge...))
	return sum[:]
}

// MaxLogins is how many attempts to log in a connection gets.
const MaxLogins = 3

// Portal is a server's root: it lets clients log in. Every connection must have its
// own. A challenge can be answered once, there are at most [MaxLogins] attempts, and
// after one that succeeded all others fail.
type Portal struct {
	// Enter decides about a login and returns the client's object: an [Object],
	// or a reference the broker knows. The client, which waits for the answer,
	// can already be called. Its calls come one at a time.
	//
	// [Unauthorized] is the error that makes buildbot-worker try again later;
	// after any other it exits. The attempt's Mind belongs to Enter, unless it
	// returns an error.
	Enter func(ctx context.Context, a *Attempt) (avatar any, err error)

	tries atomic.Int32 // attempts that were begun

	mu   sync.Mutex // held while Enter runs; guards done
	done bool       // somebody has logged in
}

// Attempt is a login that waits for a decision.
type Attempt struct {
	// User is the name the client gave; empty if Anonymous. It is what the client
	// says until the password was checked.
	User      string
	Anonymous bool
	// Mind is the client's object; nil if it has none.
	Mind *Ref

	challenge, response []byte
}

// Password says whether the client knows the password. An anonymous one knows
// none.
func (a *Attempt) Password(password string) bool {
	return a.Digest(md5.Sum([]byte(password)))
}

// Digest is [Attempt.Password] for who knows only the password's MD5.
func (a *Attempt) Digest(digest [md5.Size]byte) bool {
	return !a.Anonymous && subtle.ConstantTimeCompare(a.response, respond(a.challenge, digest)) == 1
}

// Call implements [Handler].
func (p *Portal) Call(ctx context.Context, method string, args Args) (any, error) {
	switch method {
	case methodLogin:
		if p.tries.Add(1) > MaxLogins {
			return nil, Unauthorized()
		}
		user, err := args.Text(0, "username")
		if err != nil {
			return nil, err
		}
		challenge := make([]byte, md5.Size)
		rand.Read(challenge) // never fails
		return wire.Tuple{challenge, NewObject(&challenger{portal: p, user: user, challenge: challenge})}, nil
	case methodAnonymous:
		if p.tries.Add(1) > MaxLogins {
			return nil, Unauthorized()
		}
		mind, err := readMind(args.Get(0, "mind"))
		if err != nil {
			return nil, err
		}
		return p.enter(ctx, &Attempt{Anonymous: true, Mind: mind})
	}
	return nil, NoSuchMethod(method)
}

func (p *Portal) enter(ctx context.Context, a *Attempt) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done || ctx.Err() != nil {
		return nil, Unauthorized()
	}
	avatar, err := p.Enter(ctx, a)
	p.done = err == nil
	return avatar, err
}

// challenger is the object to which a client sends its response.
type challenger struct {
	portal    *Portal
	user      string
	challenge []byte
	answered  bool
}

// Call implements [Handler].
func (c *challenger) Call(ctx context.Context, method string, args Args) (any, error) {
	if method != methodRespond {
		return nil, NoSuchMethod(method)
	}
	v, _ := args.Get(0, "response")
	response, err := wire.Bytes(v)
	if err != nil {
		return nil, fmt.Errorf("the response: %w", err)
	}
	mind, err := readMind(args.Get(1, "mind"))
	if err != nil {
		return nil, err
	}
	if c.answered {
		return nil, Unauthorized()
	}
	c.answered = true
	return c.portal.enter(ctx, &Attempt{User: c.user, Mind: mind, challenge: c.challenge, response: response})
}

func readMind(v any, given bool) (*Ref, error) {
	if v == nil {
		return nil, nil
	}
	mind, ok := v.(*Ref)
	if !ok {
		return nil, fmt.Errorf("the mind is a %T, want a reference", v)
	}
	return mind, nil
}
