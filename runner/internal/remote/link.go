package remote

import (
	"context"
	"sync"

	"bothy/runner/internal/remote/wire"
)

// link is a connection of one of the protocols, after the login. Its methods may
// be called from many goroutines, and their contexts bound the waiting only.
type link interface {
	protocol() protocol
	// info asks the worker about itself.
	info(ctx context.Context) (wire.Map, error)
	// settle is told when the worker has been accepted, before any command.
	settle(ctx context.Context) error
	// announce makes a builder, or another lane of one, known to the worker.
	announce(ctx context.Context, lane, dir string) error
	// start begins a command, whose events go to c; started gets the worker's
	// answer, which may come after them.
	start(ctx context.Context, c *command, args wire.Map) (started <-chan error)
	// interrupt asks the worker to end a command.
	interrupt(ctx context.Context, c *command, why string) error
	// forget says that nothing more of a command matters.
	forget(c *command)
	// print makes the worker log a line; that it answers shows that it lives.
	print(ctx context.Context, text string) error
	keepalive(ctx context.Context) error
	// shutdown asks the worker's process to end.
	shutdown(ctx context.Context) error
	// sign changes when something has come from the worker. A worker whose
	// messages are not read, because a log is slow, counts as alive.
	sign() (n uint64, unread bool)
	// close ends the connection; polite says goodbye where the protocol can. done
	// is closed once it has ended, and err says why.
	close(why error, polite bool)
	done() <-chan struct{}
	err() error
}

// item is one thing that a command reports.
type item struct {
	name  string // "stdout", "stderr", "header", "log", or a value's name such as "rc"
	log   string // for "log": its name
	text  []byte // for those four
	value any    // for the others
}

// ask is what a transfer asks of the master. It is never answered with an error:
// over Perspective Broker, buildbot-worker 3.7.0 cannot say then that the transfer
// has ended.
type ask struct {
	op    askOp
	data  []byte           // for askWrite
	n     int64            // for askRead: how many bytes at most
	reply func(result any) // what was read, else nil
}

// decline answers what is not wanted any more.
func (a *ask) decline() {
	if a.op == askRead {
		a.reply([]byte{})
		return
	}
	a.reply(nil)
}

type askOp int

const (
	askWrite askOp = iota // take data
	askRead               // give data; none is the end
	askEnd                // nothing more follows
)

// event is one message of the worker about a command.
type event struct {
	items []item
	ask   *ask
	ended bool   // the last event
	fault string // with ended: the command broke, and how
	size  int    // bytes it keeps in memory
}

// inbox holds the events of one command that were not dealt with, up to a limit.
type inbox struct {
	ready chan struct{} // has an element when there may be an event
	room  chan struct{} // has an element when there may be room

	mu     sync.Mutex
	events []event
	bytes  int
	closed bool
}

func newInbox() *inbox {
	return &inbox{ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds an event, waiting for room until done is closed. Nobody else may call
// it at the same time. What comes after close is dropped.
func (b *inbox) put(ev event, done <-chan struct{}) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			if ev.ask != nil {
				ev.ask.decline()
			}
			return
		}
		if b.bytes == 0 || b.bytes+ev.size <= outputBytes {
			b.events = append(b.events, ev)
			b.bytes += ev.size
			b.mu.Unlock()
			wake(b.ready)
			return
		}
		b.mu.Unlock()
		select {
		case <-b.room:
		case <-done:
			return
		}
	}
}

// take returns the next event, false if there is none now.
func (b *inbox) take() (event, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == 0 {
		return event{}, false
	}
	ev := b.events[0]
	b.events[0] = event{}
	if b.events = b.events[1:]; len(b.events) == 0 {
		b.events = nil
	} else {
		wake(b.ready)
	}
	return ev, true
}

// release gives the room of an event back that has been dealt with.
func (b *inbox) release(ev event) {
	b.mu.Lock()
	b.bytes -= ev.size
	b.mu.Unlock()
	wake(b.room)
}

// close drops what is there and what comes.
func (b *inbox) close() {
	b.mu.Lock()
	events := b.events
	b.events, b.closed = nil, true
	b.mu.Unlock()
	wake(b.room)
	for _, ev := range events {
		if ev.ask != nil {
			ev.ask.decline()
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
