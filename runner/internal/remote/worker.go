package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/worker"
)

// Worker is a worker of the configuration that dials in.
type Worker struct {
	l    *Listener
	name string
	area area

	// deciding has room for one: who decides whether a newcomer gets the name.
	deciding chan struct{}
	claims   atomic.Int32  // who waits for that, and who decides
	arrived  chan struct{} // has an element when a connection waits in ready

	mu       sync.Mutex
	interval time.Duration // between keepalives; 0: none
	lease    time.Duration // of sessions that begin
	live     *Conn         // the last connection that got the name
	ready    *Conn         // live, if Attach has not returned it
	released chan struct{}
	gone     bool // released is closed
}

var _ worker.Kind = (*Worker)(nil)

func newWorker(l *Listener, conf config.Worker) *Worker {
	w := &Worker{
		l: l, name: conf.Name,
		deciding: make(chan struct{}, 1), arrived: make(chan struct{}, 1), released: make(chan struct{}),
	}
	w.update(conf)
	return w
}

// update takes over what a configuration says.
func (w *Worker) update(conf config.Worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interval = max(0, conf.Remote.KeepaliveInterval)
	w.lease = cmp.Or(max(0, conf.Remote.Lease), defaultLease)
	if w.live != nil {
		w.live.setKeepalive(w.interval)
	}
}

// Attach returns the worker's next connection, waiting until the worker dials in.
func (w *Worker) Attach(ctx context.Context) (worker.Conn, error) {
	for {
		if c := w.takeReady(); c != nil {
			return c, nil
		}
		select {
		case <-w.arrived:
		case <-w.released:
			return nil, fmt.Errorf("attach worker %s: %w", w.name, errReleased)
		case <-w.l.ctx.Done():
			return nil, fmt.Errorf("attach worker %s: %w", w.name, ErrListenerClosed)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// takeReady returns the connection that waits for Attach, nil if there is none.
func (w *Worker) takeReady() *Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.ready
	w.ready = nil
	if c != nil && c.link.err() != nil {
		return nil
	}
	return c
}

// current returns the live connection, nil if there is none.
func (w *Worker) current() *Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.live != nil && w.live.link.err() != nil {
		return nil
	}
	return w.live
}

// Release ends the worker's connection, and nobody can connect under its name any
// more. It does not wait for builds, whether or not it is forced.
func (w *Worker) Release(context.Context, bool) error {
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		return nil
	}
	w.gone = true
	close(w.released)
	w.mu.Unlock()
	w.l.remove(w)
	if c := w.current(); c != nil {
		return c.Close()
	}
	return nil
}

// errDuplicate says that a worker of the name is connected already, and lives.
var errDuplicate = errors.New("a worker of this name is connected and answers")

// maxClaims is how many newcomers of one name wait at the same time: whoever knows
// the password may still be a script that goes wrong.
const maxClaims = 8

var errCrowd = errors.New("too many workers of this name connect at the same time")

// claim decides whether a newcomer gets the name. The connection that has it is
// asked for a sign of life; the newcomer waits meanwhile, as long as ctx lasts.
// With a nil error, the caller has the name until it calls [Worker.admit] or
// [Worker.reject].
func (w *Worker) claim(ctx context.Context, k link) error {
	defer w.claims.Add(-1)
	if w.claims.Add(1) > maxClaims {
		return errCrowd
	}
	select {
	case w.deciding <- struct{}{}:
	case <-w.released:
		return errReleased
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	old := w.current()
	if old == nil {
		return nil
	}
	if decided, err := w.yield(old, k); decided || err != nil {
		if err != nil {
			<-w.deciding
		}
		return err
	}
	if old.alive(PingTimeout) {
		<-w.deciding
		return fmt.Errorf("%w, at %v", errDuplicate, old.facts.info["address"])
	}
	if decided, err := w.yield(old, k); decided || err != nil { // it is cut by now
		if err != nil {
			<-w.deciding
		}
		return err
	}
	old.link.close(fmt.Errorf("replaced: it did not answer for %v when another came", PingTimeout), false)
	return nil
}

// reject gives a claim up.
func (w *Worker) reject() { <-w.deciding }

// admit makes the newcomer the worker's connection.
func (w *Worker) admit(c *Conn) error {
	defer func() { <-w.deciding }()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.gone:
		return errReleased
	case w.l.ctx.Err() != nil: // Close may have looked already
		return ErrListenerClosed
	}
	w.live, w.ready = c, c
	if k, ok := c.link.(*leasedLink); ok {
		k.keep()
	}
	c.setKeepalive(w.interval)
	wake(w.arrived)
	return nil
}

// part is the end of a connection that was the worker's.
func (w *Worker) part(k link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.live != nil && w.live.link == k {
		w.live.setKeepalive(0)
		w.live, w.ready = nil, nil
	}
}

// parted is the end of a link.
func (p *peer) parted(w *Worker, k link) {
	w.part(k)
	if p.admitted.Load() {
		p.l.log.Info("worker disconnected", "worker", w.name, "address", p.addr, "err", k.err())
	}
}

// welcome makes a connection of a link whose peer has proved its name: it settles
// who has the name, asks the worker about itself, and hands it to Attach.
func (p *peer) welcome(w *Worker, k link) error {
	ctx, cancel := context.WithCancelCause(p.l.ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-k.done():
			cancel(k.err())
		case <-ctx.Done():
		}
	}()
	if err := w.claim(ctx, k); err != nil {
		return err
	}
	limited, end := context.WithTimeoutCause(ctx, AttachTime, errors.New("it did not tell about itself in time"))
	defer end()
	c, err := p.introduce(limited, w, k)
	if err != nil {
		w.reject()
		return err
	}
	if err := w.admit(c); err != nil {
		return err
	}
	p.admitted.Store(true)
	c.log.Info("worker connected", "protocol", k.protocol(), "version", c.facts.info["version"])
	return nil
}

// introduce asks the worker about itself.
func (p *peer) introduce(ctx context.Context, w *Worker, k link) (*Conn, error) {
	// "buildbot-worker start" waits for this text.
	if err := k.print(ctx, "attached"); err != nil {
		return nil, err
	}
	said, err := k.info(ctx)
	if err != nil {
		return nil, fmt.Errorf("what it says about itself: %w", err)
	}
	f, err := readFacts(said)
	if err != nil {
		return nil, fmt.Errorf("what it says about itself: %w", err)
	}
	f.info["address"], f.info["protocol"] = p.addr, string(k.protocol())
	if err := k.settle(ctx); err != nil {
		return nil, err
	}
	return &Conn{
		w: w, link: k, facts: f, log: p.l.log.With("worker", w.name, "address", p.addr),
		lanes: map[string]worker.Token{}, swept: map[string]bool{},
	}, nil
}
