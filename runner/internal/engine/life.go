package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// killWait is how long a killed worker has to end before it is cut off: its
// connection is closed, and builds that do not report are recorded without it.
// behaviour.md: local within 1 s; a remote one is dropped after 1 s.
const killWait = 900 * time.Millisecond

// step gives an event to the worker's state machine and carries out what
// follows. What the master must remember is in the same commit as what caused
// it. It returns why an action was refused, "" if it was not.
func (l *loop) step(w *workerState, ev worker.Event) (refused string) {
	now := time.Now()
	was := w.state
	next, effects := worker.Step(was, ev, now)
	w.state = next
	if next.Facts != was.Facts {
		l.putWorker(w)
	}
	if was.Blocked(now) != next.Blocked(now) || ev.Kind == worker.EventConfigured {
		l.setWorker(w)
	}
	if at := next.Wake(); at != was.Wake() || ev.Kind == worker.EventConfigured {
		l.wakeWorker(w, at)
	}
	l.touch(w)
	for _, eff := range effects {
		switch eff.Kind {
		case worker.EffectRefused:
			return eff.Reason
		case worker.EffectAttach:
			l.attach(w)
		case worker.EffectShutdown:
			l.shutdownWorker(w)
		case worker.EffectKill:
			l.killWorker(w)
		default:
			l.workerChanged(w, eff.Kind, ev, was)
		}
	}
	return ""
}

// wakeWorker sets the timer for the state's next timer event.
func (l *loop) wakeWorker(w *workerState, at time.Time) {
	l.cancelTimer(w.wake)
	w.wake = nil
	if at.IsZero() || w.leaving() {
		return
	}
	w.wake = l.in(time.Until(at), func(l *loop) {
		w.wake = nil
		l.step(w, worker.Event{Kind: worker.EventTimer})
		if at := w.state.Wake(); w.wake == nil && !at.IsZero() {
			l.wakeWorker(w, at) // the clock was set back
		}
	})
}

// workerChanged tells of a change: in the journal, to subscribers, by mail.
func (l *loop) workerChanged(w *workerState, what worker.EffectKind, ev worker.Event, was worker.State) {
	who, reason := ev.By, ev.Reason
	quiet := false // nothing for the journal
	switch what {
	case worker.Connected, worker.Disconnected:
		quiet = w.local() // it happens with every start
	case worker.QuarantineBegan:
		reason = fmt.Sprintf("for %s: %s", worker.Countdown(w.state.Quarantine.Until.Sub(w.state.Quarantine.Since)), w.state.Quarantine.Reason)
		l.log.Warn("worker is quarantined", "worker", w.name, "until", w.state.Quarantine.Until, "reason", w.state.Quarantine.Reason)
	case worker.WentMissing:
		l.log.Warn("worker is missing", "worker", w.name, "since", w.state.Loss.Since)
		l.reportMissing(w)
	case worker.CameBack:
		l.reportReturn(w, was.Loss)
	case worker.Ending, worker.EndedOnPurpose:
		who, reason = w.state.End.By, w.state.End.Reason
	}
	if !quiet {
		l.journal(entry{kind: aboutWorker, name: w.name, ref: w.row.ID, what: string(what), who: who, reason: reason, build: ev.Build})
	}
	if len(l.subscribers) > 0 {
		l.publish(Event{Kind: WorkerChanged, What: string(what), Worker: w.show(), Text: reason})
	}
}

// shutdownWorker ends an idle worker: a remote one is asked to end, and its
// connection then ends by itself; a local one is its connection.
func (l *loop) shutdownWorker(w *workerState) {
	conn, ok := w.conn.(worker.Shutdowner)
	if !ok {
		l.closeConn(w, w.conn)
		return
	}
	e, name := l.e, w.name
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		if err := conn.Shutdown(e.life); err != nil {
			e.log.Warn("worker was not told to end", "worker", name, "err", err)
		}
	}()
}

// killWorker ends a worker and all that runs on it. Its builds are RETRY and do
// not count against their requests: a person wanted it.
func (l *loop) killWorker(w *workerState) {
	conn := w.conn
	text := "worker " + w.name + " was killed" + by(w.state.End)
	builds := slices.Clone(w.builds)
	for _, b := range builds {
		b.stop(stopCause{result: build.Retry, text: text, planned: true, now: true})
	}
	l.in(killWait, func(l *loop) {
		for _, b := range builds {
			l.abandonBuild(b, text)
		}
	})
	asked, ok := conn.(worker.Shutdowner)
	if !ok {
		l.closeConn(w, conn)
		return
	}
	e := l.e
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		ctx, cancel := context.WithTimeout(e.life, killWait)
		defer cancel()
		if err := asked.Shutdown(ctx); err != nil {
			e.log.Warn("worker was not told to end", "worker", w.name, "err", err)
		}
		select {
		case <-conn.Done():
		case <-ctx.Done():
		}
		if err := conn.Close(); err != nil {
			e.log.Warn("worker not closed", "worker", w.name, "err", err)
		}
	}()
}

// by says who wanted something and why: " by ana: disk swap".
func by(m worker.Mark) string {
	s := ""
	if m.By != "" {
		s = " by " + m.By
	}
	if m.Reason != "" {
		s += ": " + m.Reason
	}
	return s
}

// abandonBuild records the end of a build that does not report. Nothing it still
// does counts; its slot is free when its goroutine comes back.
func (l *loop) abandonBuild(b *running, text string) {
	if b.fenced {
		return
	}
	if b.step.Number > 0 && b.step.Result == build.None {
		s := b.step
		s.Result, s.Completed, s.Text = build.Retry, endOf(s.Started), text
		l.stepEnded(b, s)
	}
	row := b.row
	row.Result, row.Text = build.Retry, "retry: "+text
	l.buildSettled(b, buildDone{row: row, planned: true})
}
