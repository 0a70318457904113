package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// ControlWorker does what a person asks of a worker. It returns when that took
// effect and is on disk: after a kill no build runs on the worker, after a stop
// of an idle local one it has ended. An action that makes no sense now is an
// [ErrConflict] and changes nothing.
func (e *Engine) ControlWorker(ctx context.Context, name string, a worker.Action, who, reason string) error {
	if _, err := worker.ParseAction(string(a)); err != nil {
		return err
	}
	return e.await(ctx, func(l *loop, reply func(error)) {
		w := l.workers[name]
		switch {
		case w == nil || w.removed && w.conn == nil:
			reply(l.unknown("worker", name))
			return
		case l.opt.Foreground:
			reply(fmt.Errorf("%s worker %s: a terminal's master keeps no states of workers: %w", a, name, ErrConflict))
			return
		}
		if refused := l.step(w, a.Event(who, reason)); refused != "" {
			reply(fmt.Errorf("%s worker %s: %s: %w", a, name, refused, ErrConflict))
			return
		}
		ends := w.state.Link == worker.LinkEnding && (a == worker.Kill || a == worker.Stop && w.local())
		if !ends {
			l.onDisk(func() { reply(nil) })
			return
		}
		w.onEnd = append(w.onEnd, onEnd{w.conn, slices.Clone(w.builds), func() { l.onDisk(func() { reply(nil) }) }})
	})
}

// onDisk is effect for what somebody waits for.
func (l *loop) onDisk(f func()) {
	l.pace.awaited = true
	l.effect(f)
}

// await runs f on the loop and waits until it, or what it arranged, replies. f
// must see to exactly one reply, which may come from any goroutine.
func (e *Engine) await(ctx context.Context, f func(l *loop, reply func(error))) error {
	reply := make(chan error, 1)
	if !e.post(func(l *loop) { f(l, func(err error) { reply <- err }) }) {
		return ErrStopped
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		select {
		case err := <-reply:
			return err
		default:
			return ErrStopped
		}
	}
}

// StopBuild cancels a running build, with its grace and its always_run steps.
// It returns when the build has ended and that is on disk. If ctx ends before,
// the build is being stopped all the same, and the error is that of ctx. A build
// that has ended already is an [ErrConflict].
func (e *Engine) StopBuild(ctx context.Context, id int64, who, reason string) error {
	var running bool
	err := e.await(ctx, func(l *loop, reply func(error)) {
		b := l.builds[id]
		if running = b != nil; !running {
			reply(nil)
			return
		}
		l.journal(entry{kind: aboutBuild, name: b.row.Builder, ref: id, build: id, what: "stop", who: who, reason: reason})
		b.onEnd = append(b.onEnd, func() { l.onDisk(func() { reply(nil) }) })
		b.stop(stopCause{result: build.Cancelled, text: cancelText(who, reason)})
	})
	if err != nil || running {
		return err
	}
	row, err := e.opt.Store.BuildByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("build %d: %w", id, ErrUnknown)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("stop build %d: it has ended (%s): %w", id, row.Result, ErrConflict)
}

// cancelText is what a cancelled build says about it.
func cancelText(who, reason string) string {
	switch {
	case who == "" && reason == "":
		return "no reason" // Buildbot's default
	case reason == "":
		return "by " + who
	case who == "":
		return reason
	}
	return reason + " (by " + who + ")"
}

// CancelRequest is [Engine.Cancel] by a person. Like StopBuild it waits for the
// end, of a running build too. A request that is finished is an [ErrConflict].
func (e *Engine) CancelRequest(ctx context.Context, id int64, who, reason string) error {
	var open bool
	err := e.await(ctx, func(l *loop, reply func(error)) {
		r := l.requests[id]
		if open = r != nil; !open {
			reply(nil)
			return
		}
		l.journal(entry{kind: aboutRequest, name: r.row.Builder, ref: id, what: "cancel", who: who, reason: reason})
		if b := r.running; b != nil {
			b.onEnd = append(b.onEnd, func() { l.onDisk(func() { reply(nil) }) })
			b.stop(stopCause{result: build.Cancelled, text: cancelText(who, reason)})
			return
		}
		l.queue.Remove(id)
		l.finishRequest(r, build.Cancelled, cancelText(who, reason))
		l.onDisk(func() { reply(nil) })
	})
	if err != nil || open {
		return err
	}
	row, err := e.opt.Store.Request(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("request %d: %w", id, ErrUnknown)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("cancel request %d: it is finished (%s): %w", id, row.Result, ErrConflict)
}

// Rebuild asks for the same again: builder, properties, branch, revision,
// priority and worker of the request that the build was for. A reason is kept
// with the new request, behind which build it repeats. From is the step to begin
// with, "" for the first: earlier ones are SKIPPED, unless they always run. What
// they made is only there if the builder keeps its directory, or works in place.
func (e *Engine) Rebuild(ctx context.Context, buildID int64, who, reason, from string) ([]*Ticket, error) {
	row, err := e.opt.Store.BuildByID(ctx, buildID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("build %d: %w", buildID, ErrUnknown)
	}
	if err != nil {
		return nil, err
	}
	req, err := e.opt.Store.Request(ctx, row.Request)
	if err != nil {
		return nil, fmt.Errorf("rebuild %s #%d: %w", row.Builder, row.Number, err)
	}
	var sp spec
	if len(req.Spec) > 0 {
		if err := json.Unmarshal(req.Spec, &sp); err != nil {
			return nil, fmt.Errorf("rebuild %s #%d: read its request: %w", row.Builder, row.Number, err)
		}
	}
	sub := Submission{
		Builder: req.Builder, Argv: sp.Argv, Priority: req.Priority, Properties: req.Properties, Worker: req.Worker,
		Branch: sp.Branch, Revision: sp.Revision, From: from, Who: who,
		Reason: fmt.Sprintf("rebuild of %s #%d", row.Builder, row.Number),
	}
	if from != "" {
		sub.Reason += " from " + from
	}
	if reason != "" {
		sub.Reason += ": " + reason
	}
	return e.Submit(ctx, sub)
}

// SetPriority changes the priority of a request that is not finished. It
// returns when that is on disk.
func (e *Engine) SetPriority(ctx context.Context, request int64, priority int, who string) error {
	return e.record(ctx, func(l *loop) error {
		r := l.requests[request]
		if r == nil {
			return fmt.Errorf("request %d is not pending and not running: %w", request, ErrUnknown)
		}
		r.row.Priority = priority
		l.queue.SetPriority(request, priority)
		l.put(r)
		l.journal(entry{kind: aboutRequest, name: r.row.Builder, ref: request, what: fmt.Sprintf("priority %d", priority), who: who})
		l.publish(Event{Kind: RequestChanged, Request: r.row})
		return nil
	})
}

// SetScheduler turns a configured scheduler on or off. It returns when that is
// on disk.
func (e *Engine) SetScheduler(ctx context.Context, name string, enabled bool, who string) error {
	return e.record(ctx, func(l *loop) error {
		row := l.registry.schedulers[name]
		if row == nil || !slices.ContainsFunc(l.conf.Schedulers, func(s config.Scheduler) bool { return s.Name == name }) {
			return l.unknown("scheduler", name)
		}
		if row.Enabled == enabled {
			return nil
		}
		row.Enabled, row.Changed, row.Who = enabled, time.Now(), who
		l.batch.PutScheduler(row)
		l.publishNames()
		what := "off"
		if enabled {
			what = "on"
		}
		now := *row
		l.journal(entry{kind: aboutScheduler, name: name, ref: row.ID, what: what, who: who})
		l.publish(Event{Kind: SchedulerChanged, What: what, Scheduler: &now})
		return nil
	})
}
