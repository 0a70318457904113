package worker

import (
	"slices"
	"sync"
	"time"
)

// machines lists the facts in the order in which they see an event: the link
// looks at what graceful has become.
func machines() []machine {
	return []machine{pausedMachine(), gracefulMachine(), quarantineMachine(), linkMachine(), lossMachine()}
}

// table is what [Step] looks things up in: the rows and refusals by the kind of
// event. It is made when it is first asked for, which a process that only runs
// commands never does, and never written to after.
var table = sync.OnceValue(func() map[EventKind]steps {
	t := map[EventKind]steps{}
	for _, kind := range eventKinds {
		var s steps
		for _, r := range refusals() {
			if r.on == kind {
				s.refusals = append(s.refusals, r)
			}
		}
		for _, m := range machines() {
			m.rows = slices.DeleteFunc(m.rows, func(r row) bool { return !slices.Contains(r.on, kind) })
			if len(m.rows) > 0 {
				s.machines = append(s.machines, m)
			}
		}
		t[kind] = s
	}
	return t
})

type steps struct {
	refusals []refusal
	machines []machine
}

// Step returns the state after an event and what follows from it. It depends on
// nothing but its arguments.
func Step(s State, ev Event, now time.Time) (State, []Effect) {
	t := table()[ev.Kind]
	for _, r := range t.refusals {
		if r.from == s.Link && r.when.pass(&s, ev, now) {
			return s, []Effect{{EffectRefused, r.reason}}
		}
	}
	switch ev.Kind {
	case EventBuildStarted:
		s.Builds++
	case EventBuildEnded:
		s.Builds = max(0, s.Builds-1)
	case EventConfigured:
		s.Rules = ev.Rules
		if s.MasterStart.IsZero() {
			s.MasterStart = now
		}
	}
	var effects []Effect
	for i := range t.machines {
		m := &t.machines[i]
		from := m.get(&s)
		for j := range m.rows {
			r := &m.rows[j]
			if !slices.Contains(r.from, from) || !r.when.pass(&s, ev, now) {
				continue
			}
			m.set(&s, r.to, ev, now)
			for _, k := range r.then {
				effects = append(effects, Effect{Kind: k})
			}
			break
		}
	}
	return s, effects
}

func (g guard) pass(s *State, ev Event, now time.Time) bool {
	return g.holds == nil || g.holds(s, ev, now)
}
