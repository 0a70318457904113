package pb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"bothy/runner/internal/remote/wire/pb/banana"
)

// Broker is one end of a connection. Its methods may be called from many
// goroutines.
type Broker struct {
	conn    io.ReadWriteCloser
	decoder *banana.Decoder // of the reading goroutine
	options Options
	limits  atomic.Pointer[banana.Limits]
	running sync.WaitGroup // the reading goroutine, the writing one, handlers

	// ended is what handlers get; it ends with the connection.
	ended context.Context
	end   context.CancelCauseFunc

	mu      sync.Mutex
	changed sync.Cond // told when err, inFlight, backlog or writing changed
	err     error     // why the connection ended

	// Objects of ours.
	root       *export
	exports    map[int64]*export
	ids        map[*Object]int64 // those in exports
	lastObject int64

	// What we asked of the peer.
	pending     map[int64]*Pending
	lastRequest int64
	inFlight    int // bytes of calls that are pending, or not sent and need no answer
	refs        int // references to its objects that we have to release

	// What the peer asked of us.
	backlog int // bytes

	// What is to be sent.
	out     []byte
	spare   []byte // the last buffer sent, to be used again
	writing bool   // a goroutine is at it
	// How many bytes of out leave inFlight and backlog once they are sent.
	outCalls, outAnswers int
}

var (
	// ErrClosed says that we closed the connection.
	ErrClosed = errors.New("connection closed")
	// ErrLost says that the connection ended without our doing.
	ErrLost = errors.New("connection lost")
	// ErrProtocol says that the peer did not keep to the protocol, and that the
	// connection was closed for it.
	ErrProtocol = errors.New("the peer does not speak Perspective Broker")
)

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, args...))
}

func newBroker(ctx context.Context, conn io.ReadWriteCloser, root Handler, o Options) *Broker {
	b := &Broker{
		conn:    conn,
		decoder: banana.NewDecoder(conn),
		options: o,
		exports: make(map[int64]*export),
		ids:     make(map[*Object]int64),
		pending: make(map[int64]*Pending),
	}
	b.limits.Store(&o.Limits)
	b.changed.L = &b.mu
	b.ended, b.end = context.WithCancelCause(context.WithoutCancel(ctx))
	if root != nil {
		b.root = &export{object: NewObject(root)}
	}
	return b
}

// SetLimits changes the limits of a message, from the next one on: a server's once
// it knows its peer.
func (b *Broker) SetLimits(l banana.Limits) { b.limits.Store(&l) }

// SetBacklog changes [Options.Backlog]: a server's once it knows its peer.
func (b *Broker) SetBacklog(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.options.Backlog = n
	b.changed.Broadcast()
}

// Close ends the connection at once: what was not sent is not sent, calls end with
// [ErrClosed]. It does not wait for handlers; [Broker.Wait] does. Closing what
// has ended does nothing.
func (b *Broker) Close() { b.fail(ErrClosed) }

// fail ends the connection for a reason. Only the first counts.
func (b *Broker) fail(why error) {
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return
	}
	b.err = why
	for id, p := range b.pending {
		delete(b.pending, id)
		p.finish(nil, why)
	}
	b.out, b.spare = nil, nil
	b.changed.Broadcast()
	b.mu.Unlock()
	b.end(why)
	b.conn.Close() // only to end it: b.err tells why it was closed
}

// Done is closed when the connection has ended, for whatever reason; Err then
// says which.
func (b *Broker) Done() <-chan struct{} { return b.ended.Done() }

// Err returns why the connection ended: an error that wraps [ErrClosed], [ErrLost]
// or [ErrProtocol]. It returns nil as long as it has not.
func (b *Broker) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Wait returns when the connection has ended and no handler runs any more, with
// [Broker.Err].
func (b *Broker) Wait() error {
	b.running.Wait()
	return b.Err()
}

// await waits until a condition holds that b.mu guards, which must be held. It
// fails when the connection or ctx has ended.
func (b *Broker) await(ctx context.Context, holds func() bool) error {
	if b.err != nil {
		return b.err
	}
	if holds() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	for ctx.Err() == nil {
		b.changed.Wait()
		if b.err != nil {
			return b.err
		}
		if holds() {
			return nil
		}
	}
	return context.Cause(ctx)
}
