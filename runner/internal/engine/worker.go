package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// attachRetry is how long a worker that could not attach is left alone.
const attachRetry = 10 * time.Second

// workerState is what the loop knows of a worker. Idle local ones are many:
// what is here must stay small, and they have no goroutine.
type workerState struct {
	name    string
	row     *store.Worker  // also the registry's
	conf    *config.Worker // its entry, or its group's; never written to
	kind    worker.Kind
	conn    worker.Conn // nil: not connected
	coming  worker.Conn // attached, not ready until what it said about itself is on disk
	info    worker.Info
	state   worker.State
	builds  []*running         // not ended, oldest first
	asked   bool               // its kind was asked for a connection and has not answered
	giveUp  context.CancelFunc // of that question; nil: none was asked
	removed bool               // from the configuration; it is released when it is idle
	next    *replacement       // what it becomes when it is idle; nil: it stays
	closing bool               // its connection is being closed
	wake    *deadline          // for the state's next timer event
	onEnd   []onEnd            // who waits for the end of a connection

	view  atomic.Pointer[WorkerView]
	stale bool // view is older than the rest

	before time.Time // LastSeen before the present connection
}

// onEnd is somebody who waits until a connection has ended and the builds that
// ran then. The worker may be back before that.
type onEnd struct {
	conn   worker.Conn
	builds []*running
	call   func()
}

func (w *workerState) local() bool { return w.conf.Kind == config.WorkerLocal }

// newWorker makes the state of a configured worker from what is stored of it.
func (l *loop) newWorker(name string, conf *config.Worker, kind worker.Kind, now time.Time) *workerState {
	w := &workerState{name: name, conf: conf, kind: kind, row: l.registry.workers[name]}
	w.info = w.row.Info
	var facts worker.Facts
	if !l.opt.Foreground { // a quarantine must not block a person at a terminal
		var err error
		if facts, err = worker.DecodeFacts(w.row.State, now); err != nil {
			l.log.Error("what was stored of a worker is ignored", "worker", w.name, "err", err)
		}
	}
	if w.row.Configured.Equal(now) {
		facts.Loss = worker.Loss{} // of a time when it was configured before
	}
	w.state = worker.NewState(facts)
	return w
}

// rules are what the configuration says of the worker's life.
func (l *loop) rules(conf *config.Worker) worker.Rules {
	return worker.Rules{
		Local: conf.Kind == config.WorkerLocal, Latent: conf.Kind.IsLatent(),
		MissingTimeout: max(0, conf.Remote.MissingTimeout), NoCanary: conf.NoCanary, NoQuarantine: l.opt.Foreground,
	}
}

// configured tells the worker's state machine what the configuration says.
func (l *loop) configured(w *workerState) {
	since := w.row.Configured
	if !w.row.LastSeen.IsZero() {
		if !w.local() && !w.conf.Kind.IsLatent() && w.state.Loss.Phase == worker.LossNone && l.lastAlive.After(w.row.LastSeen) {
			w.row.LastSeen = l.lastAlive // no loss was noted: it was there as long as the last master
		}
		since = w.row.LastSeen
	}
	l.step(w, worker.Event{Kind: worker.EventConfigured, Rules: l.rules(w.conf), Since: since})
}

// attachWorkers begins to attach every worker.
func (l *loop) attachWorkers() {
	for _, name := range slices.Sorted(maps.Keys(l.workers)) {
		l.attach(l.workers[name])
	}
	l.enrol()
}

// attach asks the worker's kind for a connection. A local worker attaches
// without waiting, and a thousand of them need no thousand goroutines.
func (l *loop) attach(w *workerState) {
	if l.stopping || w.leaving() || w.asked || w.conn != nil || w.coming != nil || w.state.Link == worker.LinkStopped {
		return
	}
	w.asked = true
	e := l.e
	if w.local() {
		conn, err := w.kind.Attach(context.Background())
		l.attached(w, conn, err)
		return
	}
	kind := w.kind
	ctx, giveUp := context.WithCancel(e.life)
	w.giveUp = giveUp
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		conn, err := kind.Attach(ctx)
		if !e.post(func(l *loop) { l.attached(w, conn, err) }) && err == nil {
			conn.Close() // too late to be of use to anybody
		}
	}()
}

// attached takes a new connection, or the reason why there is none.
func (l *loop) attached(w *workerState, conn worker.Conn, err error) {
	w.asked = false
	if w.giveUp != nil {
		w.giveUp()
		w.giveUp = nil
	}
	switch {
	case err != nil && (w.leaving() || l.stopping):
		l.workerIdle(w)
	case err != nil:
		l.log.Warn("worker cannot attach", "worker", w.name, "err", err)
		l.step(w, worker.Event{Kind: worker.EventAttachFailed, Reason: fmt.Sprintf("cannot attach: %v", err)})
		l.in(attachRetry, func(l *loop) { l.attach(w) })
	case w.leaving() || l.stopping:
		w.coming = conn
		l.workerIdle(w)
	case w.local():
		l.ready(w, conn)
	default:
		// Buildbot #4678: a worker counts as ready when what it said is stored.
		w.coming, w.before = conn, w.row.LastSeen
		l.e.watch(w, conn)
		w.row.Info, w.row.LastSeen = conn.Info(), time.Now()
		l.putWorker(w)
		l.effect(func() { l.e.post(func(l *loop) { l.ready(w, conn) }) })
	}
}

// ready lets builds go to the worker.
func (l *loop) ready(w *workerState, conn worker.Conn) {
	if !w.local() && w.coming != conn {
		return // lost again
	}
	w.coming, w.conn, w.info = nil, conn, conn.Info()
	l.step(w, worker.Event{Kind: worker.EventAttached})
	if c, ok := conn.(worker.Holder); ok {
		if h, _ := c.Hold(); h.Set() {
			l.cut(w, conn, h)
		}
	}
}

// watch waits for a connection's end, and for its cuts.
func (e *Engine) watch(w *workerState, conn worker.Conn) {
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		holder, _ := conn.(worker.Holder)
		var last worker.Hold
		for {
			var changed <-chan struct{}
			if holder != nil {
				var h worker.Hold
				if h, changed = holder.Hold(); h != last {
					last = h
					e.post(func(l *loop) { l.cut(w, conn, h) })
				}
			}
			select {
			case <-changed:
			case <-conn.Done():
				e.post(func(l *loop) { l.lost(w, conn) })
				return
			case <-e.life.Done():
				return
			}
		}
	}()
}

// cut takes note that a connection is cut, or stands again. Its builds go on.
func (l *loop) cut(w *workerState, conn worker.Conn, h worker.Hold) {
	switch {
	case conn != w.conn:
	case h.Set():
		w.row.LastSeen = h.Since
		l.step(w, worker.Event{Kind: worker.EventCut, Reason: h.Reason, Since: h.Since, Until: h.Until})
	default:
		l.step(w, worker.Event{Kind: worker.EventResumed})
	}
}

// lost takes note that a connection has ended. Its builds end by themselves
// with worker.ErrLost.
func (l *loop) lost(w *workerState, conn worker.Conn) {
	switch {
	case w == nil || conn == nil:
		return
	case conn == w.coming:
		w.coming = nil
	case conn != w.conn:
		return
	default:
		w.conn = nil
		reason := ""
		if err := conn.Err(); err != nil {
			reason = strings.TrimPrefix(err.Error(), worker.ErrLost.Error()+": ") // that it is lost is said beside it
		}
		if w.state.Link == worker.LinkEnding {
			reason = w.state.Blocked(time.Now()) // who told it to end
		}
		if w.state.Link != worker.LinkHeld {
			w.row.LastSeen = time.Now()
		}
		l.step(w, worker.Event{Kind: worker.EventLost, Reason: reason})
	}
	w.closing = false
	l.workerIdle(w)
	l.attach(w)
}

// leaving reports whether the worker is to go, or to be replaced.
func (w *workerState) leaving() bool { return w.removed || w.next != nil }

// workerIdle carries out what waited for the end of the worker's builds, or for
// its own.
func (l *loop) workerIdle(w *workerState) {
	w.tellEnded()
	if len(w.builds) > 0 {
		return
	}
	if w.leaving() && !w.closing {
		for _, conn := range []worker.Conn{w.conn, w.coming} {
			if conn != nil {
				w.closing = true
				l.closeConn(w, conn)
			}
		}
	}
	if w.leaving() && w.conn == nil && w.coming == nil && !w.asked && l.workers[w.name] == w {
		l.parted(w)
	}
}

// tellEnded calls those who waited for what has ended.
func (w *workerState) tellEnded() {
	w.onEnd = slices.DeleteFunc(w.onEnd, func(o onEnd) bool {
		if o.conn == w.conn || slices.ContainsFunc(o.builds, func(b *running) bool { return !b.fenced }) {
			return false
		}
		o.call()
		return true
	})
}

// closeConn closes a connection in the background; the loop hears of it.
func (l *loop) closeConn(w *workerState, conn worker.Conn) {
	e := l.e
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		if err := conn.Close(); err != nil {
			e.log.Warn("worker not closed", "worker", w.name, "err", err)
		}
		e.post(func(l *loop) { l.lost(w, conn) })
	}()
}

// setWorker tells the queue what the worker can take.
func (l *loop) setWorker(w *workerState) {
	q := queue.Worker{Name: w.name, MaxBuilds: w.conf.MaxBuilds, Blocked: w.blocked(time.Now())}
	if w.local() {
		q.Host = localHost
	}
	l.queue.SetWorker(q)
}

// blocked says why the worker takes no builds, "" if it does.
func (w *workerState) blocked(now time.Time) string {
	switch {
	case w.removed:
		return removedText
	case w.next != nil:
		return "its configuration has changed: it is made anew when its builds have ended"
	}
	return w.state.Blocked(now)
}

// putWorker remembers the worker's row. A terminal's master writes none but
// those that are new.
func (l *loop) putWorker(w *workerState) {
	if l.opt.Foreground {
		return
	}
	w.row.State = w.state.Encode()
	l.batch.PutWorker(w.row)
	l.touch(w)
}

// releaseWorkers closes all connections, at the end of the loop.
func (l *loop) releaseWorkers() {
	for _, w := range l.workers {
		var err error
		for _, c := range []worker.Conn{w.conn, w.coming} {
			if c != nil {
				err = errors.Join(err, c.Close())
			}
		}
		w.conn, w.coming = nil, nil
		if w.next != nil {
			err = errors.Join(err, w.next.kind.Release(context.Background(), true))
		}
		if err = errors.Join(err, w.kind.Release(context.Background(), true)); err != nil {
			l.log.Warn("worker not released", "worker", w.name, "err", err)
		}
	}
}

// localHost is the queue's name for this machine.
const localHost = "local"
