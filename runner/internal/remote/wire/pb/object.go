package pb

import (
	"context"
	"fmt"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// Handler answers the peer's calls of one [Object].
type Handler interface {
	// Call answers one call. What it returns is sent as the answer, or as an
	// error: a [Failure] as it is, others as one of type [TypeError]. Calls of
	// one object come one at a time. ctx ends with the connection.
	//
	// The references among the arguments belong to the handler, which must
	// release them, unless it returns an error: then the broker does.
	Call(ctx context.Context, method string, args Args) (any, error)
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ctx context.Context, method string, args Args) (any, error)

// Call implements [Handler].
func (f HandlerFunc) Call(ctx context.Context, method string, args Args) (any, error) {
	return f(ctx, method, args)
}

// Object is something of ours that the peer can call once it got a reference to
// it, as a value in a call or answer. The same object may be sent many times, over
// any number of connections.
type Object struct {
	handler Handler
}

// NewObject returns an object that h answers for.
func NewObject(h Handler) *Object { return &Object{handler: h} }

// Args are the arguments of a call.
type Args struct {
	List  []any
	Named wire.Map
}

// Positional returns arguments without names.
func Positional(list ...any) Args { return Args{List: list} }

// Get returns the argument that is at position i or has a name, as Python finds
// it; nil and false if it was not given.
func (a Args) Get(i int, name string) (any, bool) {
	if i < len(a.List) {
		return a.List[i], true
	}
	return a.Named.Get(name)
}

// Text returns a text argument, which must have been given.
func (a Args) Text(i int, name string) (string, error) {
	v, ok := a.Get(i, name)
	if !ok {
		return "", fmt.Errorf("argument %q is missing", name)
	}
	s, err := wire.Text(v)
	if err != nil {
		return "", fmt.Errorf("argument %q: %w", name, err)
	}
	return s, nil
}

// export is an object that the peer has references to.
type export struct {
	object    *Object
	count     int       // of references that the peer has not given back
	queue     []inbound // calls that wait
	busy      bool      // a goroutine answers the calls
	forgotten bool      // calls are refused
}

// lend returns the reference that is sent for an object, counted. b.mu must be
// held.
func (b *Broker) lend(o *Object) (jelly.Ref, error) {
	id, ok := b.ids[o]
	if !ok {
		if len(b.exports) >= b.options.objects() {
			return jelly.Ref{}, ErrTooManyObjects
		}
		b.lastObject++
		id = b.lastObject
		b.ids[o], b.exports[id] = id, &export{object: o}
	}
	b.exports[id].count++
	return jelly.Ref{ID: id}, nil
}

// giveBack takes n references of the peer to an object of ours from the count.
// b.mu must be held.
func (b *Broker) giveBack(id int64, n int) {
	x := b.exports[id]
	if x == nil {
		return // forgotten, or never lent: nothing depends on it
	}
	if x.count -= n; x.count <= 0 {
		b.drop(id, x)
	}
}

func (b *Broker) drop(id int64, x *export) {
	delete(b.exports, id)
	delete(b.ids, x.object)
}

// Forget makes an object unknown to the peer, whatever references it holds: no
// call of it begins after Forget has returned. One that runs goes on.
func (b *Broker) Forget(o *Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, ok := b.ids[o]; ok {
		x := b.exports[id]
		x.forgotten = true
		b.drop(id, x)
	}
}

// Objects returns how many objects of ours the peer holds references to.
func (b *Broker) Objects() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.exports)
}
