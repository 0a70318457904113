package engine

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"bothy/runner/internal/store"
)

// EventKind names what happened.
type EventKind string

// The kinds of event.
const (
	RequestNew       EventKind = "request-new"
	RequestClaimed   EventKind = "request-claimed" // its build starts
	RequestUnclaimed EventKind = "request-retry"   // pending again
	RequestChanged   EventKind = "request-changed" // its priority
	RequestDone      EventKind = "request-done"
	BuildNew         EventKind = "build-new"
	BuildDone        EventKind = "build-done"
	StepNew          EventKind = "step-new"
	StepUpdate       EventKind = "step-update" // its text has changed
	StepDone         EventKind = "step-done"
	LogNew           EventKind = "log-new"
	LogAppend        EventKind = "log-append" // Log.Lines of it can be read; not on disk yet
	LogDone          EventKind = "log-done"
	WorkerChanged    EventKind = "worker-changed"    // What says how: a [worker.EffectKind]
	SchedulerChanged EventKind = "scheduler-changed" // What is "on" or "off"
	MailChanged      EventKind = "mail-changed"      // one was queued, tried, sent or given up
	Reloaded         EventKind = "reloaded"          // the configuration; Text says what changed
	Degraded         EventKind = "degraded"          // Text says why nothing can be recorded
	Lagged           EventKind = "lagged"            // Count events were not delivered
)

// RequestRetry is another name for RequestUnclaimed.
const RequestRetry = RequestUnclaimed

// Event tells what happened, after it is on disk. Rows are whole, as they are
// after the event. Fields that make no sense for the kind are zero.
type Event struct {
	Kind      EventKind
	Time      time.Time
	Request   store.Request
	Build     store.Build
	Step      store.Step // of a log: its step, as far as it is known
	Log       store.Log
	Scheduler *store.Scheduler // this and the next two must not be written to
	Mail      *store.Mail
	Worker    *WorkerView
	What      string        // how a worker or a scheduler has changed
	Steps     int           // of a new build: how many are planned
	Expected  time.Duration // of a new build or step, from history; 0: unknown
	Text      string
	Count     int
}

// publish sends ev to all subscribers once this turn's batch is on disk.
func (l *loop) publish(ev Event) {
	if len(l.subscribers) > 0 { // else nothing of a large ev is kept
		l.deliver(ev)
	}
}

func (l *loop) deliver(ev Event) {
	ev.Time = time.Now()
	subs := make([]*Subscription, 0, len(l.subscribers))
	for s := range l.subscribers {
		if s.wants(ev) {
			subs = append(subs, s)
		}
	}
	if len(subs) == 0 {
		return
	}
	l.effect(func() {
		for _, s := range subs {
			s.send(ev)
		}
	})
}

// subscriptionLimit is how many events a subscriber may lag behind.
const subscriptionLimit = 4096

// Subscription is one listener's queue of events. A slow listener loses events
// and is told how many; it never blocks the loop.
type Subscription struct {
	session string      // only this session's; "": all
	kinds   []EventKind // only these; nil: all

	mu     sync.Mutex
	queue  []Event
	missed int
	wake   chan struct{}
	closed bool
}

func (s *Subscription) wants(ev Event) bool {
	return (s.session == "" || s.session == ev.Request.Session) && (s.kinds == nil || slices.Contains(s.kinds, ev.Kind))
}

func (s *Subscription) send(ev Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case len(s.queue) >= subscriptionLimit && s.session == "":
		s.missed++
	default:
		if s.missed > 0 {
			s.queue = append(s.queue, Event{Kind: Lagged, Time: ev.Time, Count: s.missed})
			s.missed = 0
		}
		s.queue = append(s.queue, ev)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Subscription) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what has come; more is false when nothing will follow.
func (s *Subscription) take() (evs []Event, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	evs, s.queue = s.queue, nil
	if s.missed > 0 {
		evs = append(evs, Event{Kind: Lagged, Time: time.Now(), Count: s.missed})
		s.missed = 0
	}
	return evs, !s.closed
}

// Subscribe returns the events from now on, only those of a session unless it
// is "", and only those of the given kinds unless there are none; [Lagged] is
// always told. The subscription holds from the moment Subscribe returns. It and
// the sequence end when ctx does, or the engine.
func (e *Engine) Subscribe(ctx context.Context, session string, kinds ...EventKind) (iter.Seq[Event], error) {
	s := &Subscription{session: session, kinds: kinds, wake: make(chan struct{}, 1)}
	// No need to wait: whatever the caller asks for later comes after it.
	if !e.post(func(l *loop) { l.subscribers[s] = struct{}{}; l.countLogListeners() }) {
		return nil, ErrStopped
	}
	drop := func() { e.post(func(l *loop) { delete(l.subscribers, s); l.countLogListeners() }) }
	unused := context.AfterFunc(ctx, drop)
	return func(yield func(Event) bool) {
		defer drop()
		defer unused()
		for {
			evs, more := s.take()
			for _, ev := range evs {
				if !yield(ev) {
					return
				}
			}
			if !more {
				return
			}
			select {
			case <-s.wake:
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// Settle returns when all that has happened so far is on disk and was told.
// A subscriber that reads the store after it misses nothing: what the store does
// not say yet comes as an event.
func (e *Engine) Settle(ctx context.Context) error {
	return e.record(ctx, func(*loop) error { return nil })
}
