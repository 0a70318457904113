package pb

import (
	"context"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// The commands of the protocol, the first elements of its messages.
const (
	cmdVersion          = "version"
	cmdMessage          = "message"
	cmdAnswer           = "answer"
	cmdError            = "error"
	cmdDecref           = "decref"
	cmdDidNotUnderstand = "didNotUnderstand"
)

// Pending is a call that was not answered yet.
type Pending struct {
	b    *Broker
	size int // bytes that it holds in flight
	done chan struct{}

	// Guarded by b.mu; value and err do not change once done is closed.
	value     any
	err       error
	abandoned bool
}

// finish sets the outcome. b.mu must be held.
func (p *Pending) finish(v any, err error) {
	p.value, p.err = v, err
	close(p.done)
}

// Wait returns the answer once it is there, like [Ref.Call]. When it returns
// because ctx ended, it may be called again.
func (p *Pending) Wait(ctx context.Context) (any, error) {
	select {
	case <-p.done:
		return p.value, p.err
	default:
	}
	select {
	case <-p.done:
		return p.value, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Abandon says that nobody will wait for the answer any more; references in it are
// released.
func (p *Pending) Abandon() {
	p.b.mu.Lock()
	p.abandoned = true
	p.b.mu.Unlock()
	select {
	case <-p.done:
		Release(p.value)
	default: // it will be released when it comes
	}
}

// call sends a call. The order of calls is that in which this is called.
func (b *Broker) call(ctx context.Context, r *Ref, method string, args Args, answer bool) (*Pending, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.await(ctx, func() bool { return b.inFlight < b.options.window() && len(b.out) < maxUnsent })
	if err != nil {
		return nil, err
	}
	if r.released {
		return nil, ErrReleased
	}
	id := b.lastRequest + 1
	size, err := b.append(func(out []byte, lend func(any) (jelly.Ref, bool, error)) ([]byte, error) {
		out = banana.AppendString(banana.AppendList(out, 7), cmdMessage)
		out = banana.AppendInt(out, id)
		if r.id == 0 {
			out = banana.AppendString(out, rootName)
		} else {
			out = banana.AppendInt(out, r.id)
		}
		out = banana.AppendString(out, method)
		if answer {
			out = banana.AppendInt(out, 1)
		} else {
			out = banana.AppendInt(out, 0)
		}
		out, err := jelly.Append(out, wire.Tuple(args.List), lend)
		if err != nil {
			return nil, err
		}
		return jelly.Append(out, args.Named, lend)
	})
	if err != nil {
		return nil, err
	}
	b.lastRequest = id
	b.inFlight += size
	if !answer {
		b.outCalls += size
		return nil, nil
	}
	p := &Pending{b: b, size: size, done: make(chan struct{})}
	b.pending[id] = p
	return p, nil
}

// answered takes the answer to a call of ours.
func (b *Broker) answered(id int64, v any, failure error, rc *receipt) error {
	b.mu.Lock()
	p := b.pending[id]
	if p == nil {
		ended := b.err != nil
		b.mu.Unlock()
		if ended {
			return nil
		}
		return protocolError("an answer to request %d, which was not asked", id)
	}
	delete(b.pending, id)
	b.inFlight -= p.size
	b.changed.Broadcast()
	p.finish(v, failure)
	unwanted := p.abandoned
	b.mu.Unlock()
	if unwanted || failure != nil {
		rc.release()
	}
	return nil
}
