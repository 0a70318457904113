package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
)

// session is the commands of one connection.
type session struct {
	a      *Agent
	places *places
	kinds  map[string]kind
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	end    context.CancelCauseFunc

	mu       sync.Mutex
	settings settings
	running  map[*command]struct{}
	idle     time.Time // since when none runs
	changed  chan struct{}
	ended    bool
}

// newSession begins a session; the caller must close it.
func (a *Agent) newSession(ctx context.Context, s settings) (*session, error) {
	p, err := a.machine.attach(ctx)
	if err != nil {
		return nil, err
	}
	ss := &session{
		a: a, places: p, kinds: kinds(), log: a.o.Logger, settings: s,
		running: map[*command]struct{}{}, idle: time.Now(), changed: make(chan struct{}, 1),
	}
	ss.ctx, ss.end = context.WithCancelCause(context.WithoutCancel(ctx))
	return ss, nil
}

// set changes how output is gathered, for the commands that follow.
func (s *session) set(o settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = o
}

// start starts a command. An error refuses it, and the master is told by the
// caller.
func (s *session) start(id, name string, a wire.Map, to master) (*command, error) {
	k, ok := s.kinds[name]
	if !ok {
		return nil, fmt.Errorf("unrecognized WorkerCommand '%s'", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, context.Cause(s.ctx)
	}
	c := &command{
		id: id, name: name, args: args(a), session: s, to: to,
		log: s.log.With("command", name, "id", id), began: time.Now(), over: make(chan struct{}),
	}
	if err := c.args.need(k.class, k.needs...); err != nil {
		return nil, err
	}
	c.link, c.hush = context.WithCancel(s.ctx)
	c.out = newOutput(s.settings, func(items []msgpack.Item) error {
		if err := c.link.Err(); err != nil {
			return context.Cause(c.link)
		}
		return to.update(c.link, items)
	})
	c.ctx, c.cancel = context.WithCancelCause(c.link)
	do, err := k.prepare(c)
	if err != nil {
		c.cancel(err)
		c.hush()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.running[c] = struct{}{}
	c.log.Debug("command")
	go func() {
		c.run(do)
		c.cancel(nil)
		c.hush()
		s.mu.Lock()
		delete(s.running, c)
		s.idle = time.Now()
		s.mu.Unlock()
		s.tell()
	}()
	return c, nil
}

// tell wakes who waits for the session to be idle.
func (s *session) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// interrupt ends the command of that id; it is nothing if there is none.
func (s *session) interrupt(id, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.running {
		if c.id == id {
			c.log.Info("asked to interrupt a command", "why", why)
			c.cancel(errInterrupted)
		}
	}
}

// busy returns how many commands run, and since when none does.
func (s *session) busy() (n int, idle time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.running), s.idle
}

// close ends all commands, with what they left running, and returns when nothing
// is left.
func (s *session) close(why error) {
	s.mu.Lock()
	s.ended = true
	running := make([]*command, 0, len(s.running))
	for c := range s.running {
		running = append(running, c)
	}
	s.mu.Unlock()
	s.end(why)
	s.places.kill()
	for _, c := range running {
		<-c.over
	}
	s.places.end()
}
