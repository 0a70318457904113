package pb

import (
	"context"
	"errors"
	"fmt"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// Ref is a reference to an object of the peer. Who got it must call
// [Ref.Release] once.
type Ref struct {
	b        *Broker
	id       int64 // 0: the peer's root
	released bool  // guarded by b.mu
}

// rootName is what a server's root is called on the wire; other objects have
// numbers.
const rootName = "root"

var (
	// ErrTooManyObjects says that the peer holds references to as many objects
	// of ours as it may.
	ErrTooManyObjects = errors.New("the peer holds too many references")
	// ErrReleased says that a reference was released, and cannot be used.
	ErrReleased = errors.New("the reference was released")
)

// Root returns the reference to a server's root. It need not be released.
func (b *Broker) Root() *Ref { return &Ref{b: b} }

// Release gives the reference back: the peer may forget the object. Doing so again
// does nothing.
func (r *Ref) Release() {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(r)
}

// release is Release with b.mu held.
func (b *Broker) release(r *Ref) {
	if r.released || r.id == 0 || b.err != nil {
		return
	}
	r.released = true
	b.refs--
	b.answer(func(out []byte) []byte {
		return banana.AppendInt(banana.AppendString(banana.AppendList(out, 2), cmdDecref), r.id)
	})
}

// Release releases all references in a value, for who has no use for them.
func Release(v any) {
	switch v := v.(type) {
	case *Ref:
		v.Release()
	case []any:
		for _, e := range v {
			Release(e)
		}
	case wire.Tuple:
		Release([]any(v))
	case wire.Map:
		for _, f := range v {
			Release(f.Value)
		}
	case *jelly.Copy:
		Release(v.State)
	}
}

// Refs returns how many references to objects of the peer were not released.
func (b *Broker) Refs() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refs
}

// Call calls a method and waits for the answer. The references in it belong to the
// caller. An exception of the peer is a [Failure]. When ctx ends first, the call
// goes on without anyone waiting.
func (r *Ref) Call(ctx context.Context, method string, args Args) (any, error) {
	p, err := r.Start(ctx, method, args)
	if err != nil {
		return nil, err
	}
	v, err := p.Wait(ctx)
	if err != nil {
		p.Abandon()
	}
	return v, err
}

// Start calls a method and returns without waiting for the answer. It waits, until
// ctx ends, while too much of what we asked is unanswered.
func (r *Ref) Start(ctx context.Context, method string, args Args) (*Pending, error) {
	return r.call(ctx, method, args, true)
}

// Notify calls a method and tells the peer not to answer. It waits, until ctx
// ends, while too much of what we asked is unanswered.
func (r *Ref) Notify(ctx context.Context, method string, args Args) error {
	_, err := r.call(ctx, method, args, false)
	return err
}

func (r *Ref) call(ctx context.Context, method string, args Args, answer bool) (*Pending, error) {
	p, err := r.b.call(ctx, r, method, args, answer)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	return p, nil
}

// receipt collects the references of one message, in case nobody wants them.
type receipt struct {
	b    *Broker
	refs []*Ref
}

// Remote implements [jelly.References].
func (rc *receipt) Remote(id int64) (any, error) {
	if id <= 0 { // Twisted counts from 1
		return nil, fmt.Errorf("%w: reference to object %d", jelly.ErrValue, id)
	}
	b := rc.b
	r := &Ref{b: b, id: id}
	rc.refs = append(rc.refs, r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refs++
	if b.refs > b.options.refs() {
		return nil, fmt.Errorf("%w: more than %d references", jelly.ErrValue, b.options.refs())
	}
	return r, nil
}

// Local implements [jelly.References].
func (rc *receipt) Local(id int64) (any, error) {
	rc.b.mu.Lock()
	defer rc.b.mu.Unlock()
	if x := rc.b.exports[id]; x != nil {
		return x.object, nil
	}
	return nil, fmt.Errorf("%w: no object %d here", jelly.ErrValue, id)
}

// release gives all of them back.
func (rc *receipt) release() {
	for _, r := range rc.refs {
		r.Release()
	}
}
