package remote

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

const (
	// defaultLease is that of a worker whose configuration was not completed.
	defaultLease = 2 * time.Minute
	// leaseGrace is how long a worker may take to end its processes when its lease
	// is over, and leaseMargin allows for clocks that do not run alike.
	leaseGrace  = 10 * time.Second
	leaseMargin = 5 * time.Second
	// maxUploads is what a worker may send beyond the window: a block of each of as
	// many uploads as it does at a time, or the largest frame.
	maxUploads = 20 << 20
)

// leasedLink is the [link] to another Bothy: its messages go over a session that
// outlives cut connections, until the lease is over.
type leasedLink struct {
	*msgpackLink
	stream *lasting.Stream
	token  bothy.Token
	place  string
	lease  time.Duration
	log    *slog.Logger
	over   func() // called when the session is

	mu      sync.Mutex
	kept    bool // it is the worker's connection: a cut does not end it
	hold    worker.Hold
	changed chan struct{}
	expiry  *time.Timer
	late    map[string]bool // commands whose late output was logged
}

// newLeasedLink begins a session. over is called when it is over.
func (l *Listener) newLeasedLink(h *bothy.Hello, lease time.Duration, log *slog.Logger, over func(k *leasedLink)) *leasedLink {
	k := &leasedLink{place: h.Place, lease: lease, log: log, changed: make(chan struct{}), late: map[string]bool{}}
	rand.Read(k.token[:]) // it does not fail: crypto/rand
	k.over = func() { over(k) }
	k.stream = lasting.New(lasting.Options{
		Deliver: k.deliver, Ended: k.end, Changed: k.look, Tools: l.tools, Zstd: h.Zstd, Dead: deadTime(lease),
		Backlog: lasting.DefaultWindow + maxUploads,
	})
	k.msgpackLink = &msgpackLink{
		head:    []byte{bothy.Frame},
		out:     func(frame []byte) error { return k.stream.Send(context.Background(), frame, false) },
		hangUp:  func(why error, polite bool) { k.stream.Close(why, true) },
		session: msgpack.NewSession(maxInFlight),
		ended:   make(chan struct{}), parted: make(chan struct{}), commands: map[string]*command{},
	}
	return k
}

// deadTime is how long the peer of a session may be silent.
func deadTime(lease time.Duration) time.Duration {
	return min(DeadAfter, max(lease/4, 500*time.Millisecond))
}

// is reports whether a token is the session's, in constant time.
func (k *leasedLink) is(t bothy.Token) bool {
	return subtle.ConstantTimeCompare(k.token[:], t[:]) == 1
}

// deliver deals with a message of the worker's.
func (k *leasedLink) deliver(msg []byte) {
	k.heard.Add(1)
	frame, out, err := bothy.ReadPayload(msg)
	switch {
	case err != nil:
	case out != nil:
		k.output(out, len(msg))
	default:
		err = k.receive(frame)
	}
	if err != nil {
		k.close(err, true)
	}
}

// output hands on what a command wrote.
func (k *leasedLink) output(o *bothy.Output, size int) {
	c := k.command(o.Command)
	if c == nil {
		k.refuse(o.Command)
		return
	}
	it := item{name: msgpack.Stdout, log: o.Log, text: o.Text}
	switch {
	case o.Log != "":
		it.name = msgpack.Log
	case o.Stream == 'e':
		it.name = msgpack.Stderr
	case o.Stream == 'h':
		it.name = msgpack.Header
	}
	k.put(c, event{items: []item{it}, size: size})
}

// maxLate is how many commands are remembered whose late output was logged.
const maxLate = 256

// refuse says once for each command that what it still writes is not taken: its
// attempt is over.
func (k *leasedLink) refuse(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.late[id] {
		return
	}
	if len(k.late) >= maxLate {
		clear(k.late)
	}
	k.late[id] = true
	k.log.Info("late output refused: its attempt is over", "command", id)
}

// settle makes the worker send what it has often.
func (k *leasedLink) settle(ctx context.Context) error {
	return k.tell(ctx, &msgpack.SetWorkerSettings{
		NewlineRE: noNewline, MaxLineLength: maxLine, BufferTimeout: flushInterval, BufferSize: 2 * flushSize,
	})
}

// Hold tells how the connection is; see [worker.Holder].
func (k *leasedLink) Hold() (worker.Hold, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hold, k.changed
}

// isCut reports whether the connection is cut now.
func (k *leasedLink) isCut() bool {
	_, _, cut := k.stream.Cut()
	return cut
}

// keep makes cuts be waited for, from now on.
func (k *leasedLink) keep() {
	k.mu.Lock()
	k.kept = true
	k.mu.Unlock()
	k.look()
}

var errLease = errors.New("the lease is over")

// look takes note of whether there is a connection.
func (k *leasedLink) look() {
	since, why, cut := k.stream.Cut()
	k.mu.Lock()
	defer k.mu.Unlock()
	over := k.err() != nil
	switch {
	case over || !cut:
		if k.hold.Set() {
			if !over {
				k.log.Info("worker is back", "away", time.Since(k.hold.Since).Round(time.Millisecond))
			}
			k.turn(worker.Hold{})
			k.expiry.Stop()
		}
	case !k.kept:
		// Whoever serves the connection ends the session.
	case !k.hold.Set():
		until := k.stream.Heard().Add(k.lease + leaseGrace + leaseMargin)
		k.log.Warn("worker is cut off: what it runs is held", "until", until.Round(time.Second), "err", why)
		k.turn(worker.Hold{Since: since, Until: until, Reason: shortReason(why)})
		k.expiry = time.AfterFunc(time.Until(until), func() {
			if hold, _ := k.Hold(); hold.Set() {
				k.close(fmt.Errorf("%w: not back within %v", errLease, k.lease), false)
			}
		})
	}
}

// turn changes the hold. The caller holds mu.
func (k *leasedLink) turn(h worker.Hold) {
	k.hold = h
	close(k.changed)
	k.changed = make(chan struct{})
}

// serve uses a connection until it ends.
func (k *leasedLink) serve(c lasting.Conn, has uint64) error {
	err := k.stream.Serve(c, has)
	k.mu.Lock()
	kept := k.kept
	k.mu.Unlock()
	if !kept {
		k.close(err, false)
	}
	k.look()
	return err
}

// end is the session's.
func (k *leasedLink) end(err error) {
	k.close(err, false)
	k.look()
	close(k.parted)
	k.over()
}
