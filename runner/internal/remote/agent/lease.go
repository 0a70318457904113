package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
)

const (
	// DefaultSpool is that of [Options].
	DefaultSpool = 256 << 20
	// resumeTime is how long an attempt to come back may take: what is sent to
	// nobody is sent again by TCP after ever longer pauses, a new attempt at once.
	resumeTime = 5 * time.Second
	// pingIdle and pingBusy are the times between two pings without and with
	// commands that run. behaviour.md: 15 s, 10 s.
	pingIdle = 15 * time.Second
	pingBusy = 10 * time.Second
)

// errLease ends what runs when the master was not heard of for too long.
var errLease = errors.New("the master was not heard of for as long as the lease is")

// leased is a session with another Bothy. It outlives its connections.
type leased struct {
	*msgpackSession
	token   bothy.Token
	lease   time.Duration
	clock   *clock
	drained chan struct{} // closed when the master's last message was dealt with
	ended   chan struct{} // closed when nothing of the session runs any more
	tries   int           // to come back, since it was cut
}

// newLeased begins a session.
func (a *Agent) newLeased(ctx context.Context, w *bothy.Welcome) (*leased, error) {
	commands, err := a.newSession(ctx, settings{size: defaultSize, timeout: defaultTimeout, raw: true})
	if err != nil {
		return nil, err
	}
	h := &leased{
		token: w.Token, lease: w.Lease, clock: &a.clock, drained: make(chan struct{}), ended: make(chan struct{}),
		msgpackSession: &msgpackSession{
			a: a, head: []byte{bothy.Frame}, requests: msgpack.NewSession(maxInFlight), commands: commands, log: a.o.Logger,
			shutdown: make(chan struct{}, 1),
		},
	}
	spool, err := lasting.NewSpool(filepath.Join(a.o.BaseDir, stateDir), a.o.Spool, a.o.Logger)
	if err != nil {
		commands.close(err)
		return nil, err
	}
	h.stream = lasting.New(lasting.Options{
		Deliver: h.deliver, Ended: func(error) { close(h.drained) },
		Window: w.Window, Spool: spool, Tools: a.tools, Zstd: w.Zstd, Dead: min(deadAfter, max(w.Lease/4, 500*time.Millisecond)),
		PingEvery: h.pingEvery, Valid: h.valid, Clock: h.clock.now,
	})
	h.out = func(frame []byte) error { return h.stream.Send(commands.ctx, frame, false) }
	go h.guard()
	return h, nil
}

// pingEvery is the time between two pings: several within what the master, and the
// lease, allow.
func (h *leased) pingEvery() time.Duration {
	every := pingIdle
	if n, _ := h.commands.busy(); n > 0 {
		every = pingBusy
	}
	return min(every, max(h.lease/8, 100*time.Millisecond))
}

// valid is an error when the lease is over.
func (h *leased) valid() error {
	if h.clock.now()-h.stream.Confirmed() >= h.lease {
		return errLease
	}
	return nil
}

// guard ends the session with its lease, and what runs with the session.
func (h *leased) guard() {
	defer close(h.ended)
	// The timers of a process do not count while the machine is suspended; so
	// there are many.
	tick := time.NewTicker(min(time.Second, max(h.lease/20, 10*time.Millisecond)))
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-tick.C:
			if err := h.valid(); err != nil {
				h.stream.Close(err, false)
			}
		case <-h.stream.Done():
			over = true
		}
	}
	err := h.stream.Err()
	if n, _ := h.commands.busy(); n > 0 {
		h.log.Warn("the session with the master is over: what runs is ended", "commands", n, "because", err)
	}
	h.requests.Close(err)
	h.commands.close(err)
}

// end ends the session, and returns when nothing of it is left. With bye the master
// is told when what ran has ended.
func (h *leased) end(why error, bye bool) {
	if bye {
		h.commands.close(why)
	}
	h.stream.Close(why, bye)
	<-h.ended
	<-h.drained
}

// live reports whether the session goes on.
func (h *leased) live() bool { return h != nil && h.stream.Err() == nil }

// deliver deals with a message of the master's.
func (h *leased) deliver(msg []byte) {
	frame, out, err := bothy.ReadPayload(msg)
	switch {
	case err != nil:
	case out != nil:
		err = errors.New("output from a master")
	default:
		err = h.receive(frame)
	}
	if err != nil && h.stream.Err() == nil {
		h.stream.Close(err, true)
	}
}

// greet asks the master for the session that is held, or for a new one. asked is
// when, by the lease's clock.
func (a *Agent) greet(c lasting.Conn) (w *bothy.Welcome, asked time.Duration, err error) {
	for {
		hello := &bothy.Hello{Place: a.machine.holder.ID(), Zstd: true}
		held := a.held.live() && a.held.valid() == nil
		switch {
		case held:
			hello.Token, hello.Received = a.held.token, a.held.stream.Received()
		case a.held != nil:
			a.drop(errLease)
		}
		asked = a.clock.now()
		if err := c.Write([][]byte{bothy.Append(nil, hello)}); err != nil {
			return nil, 0, err
		}
		b, err := c.Read()
		if err != nil {
			return nil, 0, err
		}
		answer, err := bothy.Read(b)
		if err != nil {
			return nil, 0, err
		}
		switch m := answer.(type) {
		case *bothy.Welcome:
			if m.Resumed != held || m.Lease <= 0 || m.Window <= 0 {
				return nil, 0, errors.New("the master's welcome makes no sense")
			}
			return m, asked, nil
		case *bothy.Refusal:
			if !held {
				return nil, 0, fmt.Errorf("%w: %s", ErrRefused, m.Reason)
			}
			a.o.Logger.Warn("the master does not go on with the session", "because", m.Reason)
			a.drop(fmt.Errorf("the master does not go on with it: %s", m.Reason))
		default:
			return nil, 0, fmt.Errorf("the master's answer is a %T", answer)
		}
	}
}

// drop ends the session that is held, if there is one.
func (a *Agent) drop(why error) {
	if a.held != nil {
		a.held.end(why, false)
		a.held = nil
	}
}

// serveLeased serves a connection to another Bothy. When it is cut, the session is
// held.
func (a *Agent) serveLeased(ctx, dialing context.Context, ws *websocket.Conn, corked *lasting.Corked) (attached bool, err error) {
	sock := lasting.NewSocket(ws, corked, a.tools, deadAfter)
	defer sock.Close()
	late := context.AfterFunc(dialing, func() { sock.Close() })
	w, asked, err := a.greet(sock)
	if !late() && err == nil {
		err = context.Cause(dialing)
	}
	if err != nil {
		return false, err
	}
	if !w.Resumed {
		if a.held, err = a.newLeased(ctx, w); err != nil {
			return false, err
		}
	}
	h := a.held
	h.tries = 0
	h.stream.Confirm(asked)
	if w.Resumed {
		a.o.Logger.Info("the connection stands again: what runs goes on")
	}
	served := make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		served <- h.stream.Serve(sock, w.Received)
	}()
	err = h.wait(ctx, served)
	if err == nil || h.live() && !errors.Is(err, errShutdown) && !errors.Is(err, errLeft) && ctx.Err() == nil {
		<-over
		if h.attached.Load() {
			return true, fmt.Errorf("connection cut: %w", err)
		}
	}
	h.end(err, true)
	<-over
	a.held = nil
	if errors.Is(err, lasting.ErrBye) && !h.attached.Load() {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return h.attached.Load(), err
}

// retry is how long to wait before the next attempt to come back.
func (h *leased) retry() time.Duration {
	d := min(5*time.Second, 100*time.Millisecond<<min(h.tries, 10))
	h.tries++
	return d/2 + rand.N(d/2)
}
