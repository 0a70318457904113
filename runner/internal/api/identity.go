package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"bothy/runner/config"
)

// Identity is who makes a request and what they may do.
type Identity struct {
	Name string      // "": nobody in particular
	Role config.Role // "": nothing
}

// rank orders roles: each includes those below it.
func rank(r config.Role) int {
	switch r {
	case config.Viewer:
		return 1
	case config.Operator:
		return 2
	case config.Admin:
		return 3
	}
	return 0
}

// May reports whether the identity has a role or one that includes it.
func (i Identity) May(r config.Role) bool { return rank(i.Role) >= rank(r) }

// Owner is what builds that the identity asks for are said to belong to.
// Buildbot: "anonymous".
func (i Identity) Owner() string {
	if i.Name == "" {
		return "anonymous"
	}
	return i.Name
}

// ErrNoCredentials is what an Identify function returns for a request that does
// not say whose it is, or says it wrongly: the answer is 401.
var ErrNoCredentials = errors.New("log in first")

// ErrForbidden is what an Identify function returns for somebody who may not
// even look: the answer is 403.
var ErrForbidden = errors.New("not allowed")

// slowDown refuses an attempt to log in after too many wrong ones.
type slowDown struct{ wait time.Duration }

func (e slowDown) Error() string {
	return fmt.Sprintf("too many wrong passwords from this address: wait %d s", int((e.wait+time.Second-1)/time.Second))
}

// Access says who may do what through a handler.
type Access struct {
	// Identify finds out who makes a request. Errors wrap [ErrNoCredentials] or
	// [ErrForbidden].
	Identify func(r *http.Request) (Identity, error)
	// Challenge is the WWW-Authenticate header of an answer 401; "": none.
	Challenge string
	// Hosts reports whether the master may be called by the host name of a
	// request, without its port. Nil: by any.
	Hosts func(host string) bool
	// Revocable: a change of the configuration may take back what Identify said,
	// see [API.DropListeners].
	Revocable bool
}

// ReadOnly lets everybody look and nobody act. It is for handlers inside a
// program that has not said who may do what.
func ReadOnly() Access {
	return Access{Identify: func(*http.Request) (Identity, error) { return Identity{Role: config.Viewer}, nil }}
}

// Trusted is for connections whose other end is known: the Unix socket of the
// base directory, whose users are checked by the kernel.
func Trusted(name string) Access {
	return Access{Identify: func(*http.Request) (Identity, error) { return Identity{Name: name, Role: config.Admin}, nil }}
}

type identityKey struct{}

// admitted is what a request's context says of its sender.
type admitted struct {
	Identity
	revocable bool
	change    uint64 // the last one of who may listen, before the sender was looked at
}

func withIdentity(ctx context.Context, who admitted) context.Context {
	return context.WithValue(ctx, identityKey{}, who)
}

func isRevocable(ctx context.Context) bool {
	a, _ := ctx.Value(identityKey{}).(admitted)
	return a.revocable
}

// IdentityOf returns who makes a request that has passed a handler of this
// package.
func IdentityOf(ctx context.Context) Identity {
	a, _ := ctx.Value(identityKey{}).(admitted)
	return a.Identity
}
