package web

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// mark is one thing that is so of a worker.
type mark struct {
	Icon   string    // its icon and class: connected, offline, paused, …
	Word   string    // what is so, in a word or two
	Since  time.Time // zero: not known
	Until  time.Time // zero: nothing is over by itself
	By     string    // who wanted it
	Reason string
}

// workerState is all that is so of a worker.
type workerState struct {
	Marks []mark
	Bad   bool // somebody should look after it
}

// stateOf says what is so of a worker, the most important thing first.
func stateOf(v *engine.WorkerView) workerState {
	if v == nil || !v.Removed.IsZero() {
		m := mark{Icon: "removed", Word: "not configured"}
		if v != nil {
			m.Since = v.Removed
		}
		return workerState{Marks: []mark{m}}
	}
	s := v.State
	var st workerState
	add := func(bad bool, m mark) {
		st.Marks = append(st.Marks, m)
		st.Bad = st.Bad || bad
	}
	if s.Missing() {
		add(true, mark{Icon: "missing", Word: "missing", Since: s.Loss.Since, Reason: s.Loss.Reason})
	}
	switch q := s.Quarantine; q.Phase {
	case worker.QuarantineHeld:
		add(true, mark{Icon: "quarantined", Word: "quarantined", Since: q.Since, Until: q.Until, Reason: q.Reason})
	case worker.QuarantineTrial:
		add(true, mark{Icon: "canary", Word: "canary next", Since: q.Since, Reason: q.Reason})
	case worker.QuarantineTesting:
		add(true, mark{Icon: "canary", Word: "canary runs", Since: q.Since, Reason: q.Reason})
	}
	if p := s.Paused; p.Set() {
		add(true, mark{Icon: "paused", Word: "paused", Since: p.Since, By: p.By, Reason: p.Reason})
	}
	if g := s.Graceful; g.Set() && s.Link == worker.LinkConnected {
		add(false, mark{Icon: "graceful", Word: "graceful", Since: g.Since, By: g.By, Reason: g.Reason})
	}
	switch s.Link {
	case worker.LinkConnected:
		add(false, mark{Icon: "connected", Word: "connected", Since: s.LinkSince})
	case worker.LinkHeld:
		add(true, mark{Icon: "offline", Word: "cut off", Since: s.LinkSince, Until: s.HeldUntil, Reason: cmp.Or(s.Why, s.Loss.Reason)})
	case worker.LinkEnding:
		add(false, mark{Icon: "stopped", Word: "ending", Since: s.End.Since, By: s.End.By, Reason: s.End.Reason})
	case worker.LinkStopped:
		add(false, mark{Icon: "stopped", Word: "stopped", Since: s.End.Since, By: s.End.By, Reason: s.End.Reason})
	default:
		if !s.Missing() {
			since := v.LastSeen
			if s.Loss.Phase != worker.LossNone {
				since = s.Loss.Since
			}
			add(!s.Rules.Latent, mark{Icon: "offline", Word: "offline", Since: since, Reason: cmp.Or(s.Why, s.Loss.Reason)})
		}
	}
	return st
}

// sensible are the actions that would change something about a worker.
func sensible(v *engine.WorkerView, now time.Time) []worker.Action {
	if v == nil || !v.Removed.IsZero() {
		return nil
	}
	return slices.DeleteFunc(worker.Actions(), func(a worker.Action) bool {
		if a == worker.Pause && v.State.Paused.Set() || a == worker.Stop && v.State.Link == worker.LinkEnding {
			return true // it is so already
		}
		_, effects := worker.Step(v.State, a.Event("", ""), now)
		return len(effects) == 0 || effects[0].Kind == worker.EffectRefused
	})
}

// actionName is what an action is called on its button.
func actionName(a worker.Action) string {
	switch a {
	case worker.Pause:
		return "Pause"
	case worker.Unpause:
		return "Unpause"
	case worker.Stop:
		return "Graceful shutdown"
	case worker.Kill:
		return "Force shutdown"
	case worker.Start:
		return "Start"
	}
	return string(a)
}

// didText says that an action has happened.
func didText(a worker.Action, names string) string {
	switch a {
	case worker.Pause:
		return names + ": paused"
	case worker.Unpause:
		return names + ": takes builds again"
	case worker.Stop:
		return names + ": ends when its builds have"
	case worker.Kill:
		return names + ": ended"
	case worker.Start:
		return names + ": started"
	}
	return names + ": " + string(a)
}

// workerRow is a worker as lists show it.
type workerRow struct {
	Name     string
	Kind     string
	State    workerState
	Load     int
	Max      int // 0: no limit of its own
	Builds   []int64
	Info     worker.Info
	LastSeen time.Time
	Here     bool // it is connected now
	Can      []worker.Action
	view     *engine.WorkerView
}

// workerRow makes the row of a view, or, if that is nil, of what is left of a
// worker.
func (c *call) workerRow(v *engine.WorkerView, left store.Worker) workerRow {
	if v == nil {
		return workerRow{Name: left.Name, Kind: left.Kind, State: stateOf(nil), Info: left.Info, LastSeen: left.LastSeen}
	}
	return workerRow{
		Name: v.Name, Kind: string(v.Kind), State: stateOf(v), Load: len(v.Builds), Max: v.MaxBuilds, Builds: v.Builds,
		Info: v.Info, LastSeen: v.LastSeen, Here: v.State.Connected(), Can: sensible(v, c.Now), view: v,
	}
}

// System is the operating system, as far as the worker told.
func (w *workerRow) System() string {
	name := w.info("os_id")
	if name == "" {
		return w.info("system")
	}
	if v := w.info("os_version_id"); v != "" {
		name += " " + v
	}
	return name
}

// Release is the worker's version.
func (w *workerRow) Release() string { return w.info("version") }

// Address is where it dialled in from; "" for local ones.
func (w *workerRow) Address() string {
	return cmp.Or(w.info("peer"), w.info("address"), w.info("access_uri"))
}

// info is a plain fact that the worker told, as text.
func (w *workerRow) info(name string) string {
	switch v := w.Info[name].(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, int, int64, float64:
		return fmt.Sprint(v)
	}
	return ""
}
