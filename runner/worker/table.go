package worker

import "time"

// phase is one value of one fact, as the table and its printed form name it.
type phase string

// machine is the life of one fact. All machines see every event, in the order
// in which [machines] lists them; in each the first row that matches counts,
// and without one the fact stays as it is.
type machine struct {
	fact   string
	phases []phase
	get    func(*State) phase
	// set brings the fact into a phase; it is also called for rows that stay.
	set  func(*State, phase, Event, time.Time)
	rows []row
}

// row is one transition.
type row struct {
	from []phase // any of these
	on   []EventKind
	when guard // zero: always
	to   phase
	then []EffectKind
}

// guard is a condition beyond phase and event.
type guard struct {
	name  string
	holds func(*State, Event, time.Time) bool
}

const (
	no  phase = "no"
	yes phase = "yes"

	away      = phase(LinkAway)
	connected = phase(LinkConnected)
	cut       = phase(LinkHeld)
	ending    = phase(LinkEnding)
	stopped   = phase(LinkStopped)

	trusted = phase(QuarantineNone)
	held    = phase(QuarantineHeld)
	trial   = phase(QuarantineTrial)
	proving = phase(QuarantineTesting)

	present = phase(LossNone)
	lost    = phase(LossOpen)
	missing = phase(LossTold)
)

// refusal is an action that makes no sense now. It changes nothing.
type refusal struct {
	from   Link
	on     EventKind
	when   guard
	reason string
}

func refusals() []refusal {
	remote := guard{"not local", func(s *State, _ Event, _ time.Time) bool { return !s.Rules.Local }}
	nothing := guard{"not local, not graceful", func(s *State, _ Event, _ time.Time) bool {
		return !s.Rules.Local && !s.Graceful.Set()
	}}
	return []refusal{
		{LinkAway, EventStop, remote, "it is not connected"},
		{LinkAway, EventKill, remote, "it is not connected"},
		{LinkAway, EventStart, nothing, "it is not connected; such a worker is started on its own machine"},
		{LinkEnding, EventStart, guard{}, "it is ending already"},
	}
}

func pausedMachine() machine {
	return machine{
		fact: "paused", phases: []phase{no, yes},
		get: func(s *State) phase { return marked(s.Paused) },
		set: func(s *State, to phase, ev Event, now time.Time) { s.Paused = ev.mark(to, now) },
		rows: []row{
			{from: []phase{no, yes}, on: []EventKind{EventPause}, to: yes, then: []EffectKind{PauseBegan}},
			{from: []phase{yes}, on: []EventKind{EventUnpause}, to: no, then: []EffectKind{PauseEnded}},
		},
	}
}

func gracefulMachine() machine {
	there := guard{"connected or held", func(s *State, _ Event, _ time.Time) bool { return s.Connected() || s.Link == LinkHeld }}
	return machine{
		fact: "graceful", phases: []phase{no, yes},
		get: func(s *State) phase { return marked(s.Graceful) },
		set: func(s *State, to phase, ev Event, now time.Time) { s.Graceful = ev.mark(to, now) },
		rows: []row{
			{from: []phase{no}, on: []EventKind{EventStop}, when: there, to: yes, then: []EffectKind{GracefulBegan}},
			{from: []phase{yes}, on: []EventKind{EventStart, EventAttached}, to: no, then: []EffectKind{GracefulEnded}},
		},
	}
}

func linkMachine() machine {
	local := guard{"local", func(s *State, _ Event, _ time.Time) bool { return s.Rules.Local }}
	idle := guard{"idle", func(s *State, _ Event, _ time.Time) bool { return s.Builds == 0 }}
	done := guard{"graceful, idle", func(s *State, _ Event, _ time.Time) bool { return s.Builds == 0 && s.Graceful.Set() }}
	return machine{
		fact: "link", phases: []phase{away, connected, cut, ending, stopped},
		get: func(s *State) phase { return phase(s.Link) },
		set: setLink,
		rows: []row{
			{from: []phase{away, cut, ending, stopped}, on: []EventKind{EventAttached}, to: connected, then: []EffectKind{Connected}},
			{from: []phase{away}, on: []EventKind{EventAttachFailed}, to: away},
			{from: []phase{connected}, on: []EventKind{EventLost}, to: away, then: []EffectKind{Disconnected}},
			{from: []phase{connected}, on: []EventKind{EventCut}, to: cut, then: []EffectKind{Disconnected}},
			{from: []phase{cut}, on: []EventKind{EventResumed}, when: done, to: ending, then: []EffectKind{Connected, Ending, EffectShutdown}},
			{from: []phase{cut}, on: []EventKind{EventResumed}, to: connected, then: []EffectKind{Connected}},
			{from: []phase{cut}, on: []EventKind{EventLost}, to: away},
			{from: []phase{ending}, on: []EventKind{EventLost}, when: local, to: stopped, then: []EffectKind{EndedOnPurpose}},
			{from: []phase{ending}, on: []EventKind{EventLost}, to: away, then: []EffectKind{Disconnected}},

			{from: []phase{connected}, on: []EventKind{EventStop}, when: idle, to: ending, then: []EffectKind{Ending, EffectShutdown}},
			{from: []phase{connected}, on: []EventKind{EventBuildEnded}, when: done, to: ending, then: []EffectKind{Ending, EffectShutdown}},
			{from: []phase{connected, cut, ending}, on: []EventKind{EventKill}, to: ending, then: []EffectKind{Ending, EffectKill}},
			{from: []phase{away}, on: []EventKind{EventStop, EventKill}, when: local, to: stopped, then: []EffectKind{EndedOnPurpose}},
			{from: []phase{stopped}, on: []EventKind{EventStart}, to: away, then: []EffectKind{StartedAgain, EffectAttach}},
			{from: []phase{stopped}, on: []EventKind{EventConfigured}, when: notLocal(), to: away},
		},
	}
}

func notLocal() guard {
	return guard{"not local", func(s *State, _ Event, _ time.Time) bool { return !s.Rules.Local }}
}

func quarantineMachine() machine {
	bad := guard{"misbehaved", func(s *State, ev Event, _ time.Time) bool { return ev.misbehaved() && !s.Rules.NoQuarantine }}
	good := guard{"good", func(_ *State, ev Event, _ time.Time) bool { return ev.good() }}
	goodCanary := guard{"canary, good", func(s *State, ev Event, _ time.Time) bool {
		return ev.good() && ev.Build == s.Quarantine.Canary
	}}
	canary := guard{"canary, neither", func(s *State, ev Event, _ time.Time) bool { return ev.Build == s.Quarantine.Canary }}
	overAll := guard{"time is over, canary off", func(s *State, _ Event, now time.Time) bool {
		return !now.Before(s.Quarantine.Until) && s.Rules.NoCanary
	}}
	over := guard{"time is over", func(s *State, _ Event, now time.Time) bool { return !now.Before(s.Quarantine.Until) }}
	off := guard{"canary off", func(s *State, _ Event, _ time.Time) bool { return s.Rules.NoCanary }}
	misbehaviour := []EventKind{EventPrepareFailed, EventStartFailed, EventBuildEnded}
	all := []phase{trusted, held, trial, proving}
	return machine{
		fact: "quarantine", phases: all,
		get: func(s *State) phase { return phase(s.Quarantine.Phase) },
		set: setQuarantine,
		rows: []row{
			{from: []phase{trusted, trial, proving}, on: misbehaviour, when: bad, to: held, then: []EffectKind{QuarantineBegan}},
			{from: []phase{proving}, on: []EventKind{EventBuildEnded}, when: goodCanary, to: trusted, then: []EffectKind{CanaryEnded}},
			{from: []phase{proving}, on: []EventKind{EventBuildEnded}, when: canary, to: trial},
			{from: []phase{trusted}, on: []EventKind{EventBuildEnded}, when: good, to: trusted},
			{from: []phase{held}, on: []EventKind{EventBuildEnded}, when: good, to: held},
			{from: []phase{trial}, on: []EventKind{EventBuildEnded}, when: good, to: trial},
			{from: []phase{proving}, on: []EventKind{EventBuildEnded}, when: good, to: proving},
			{from: []phase{trial}, on: []EventKind{EventBuildStarted}, to: proving},
			{from: []phase{held}, on: []EventKind{EventTimer}, when: overAll, to: trusted, then: []EffectKind{QuarantineEnded}},
			{from: []phase{held}, on: []EventKind{EventTimer}, when: over, to: trial, then: []EffectKind{QuarantineEnded}},
			{from: []phase{held}, on: []EventKind{EventUnpause}, to: trusted, then: []EffectKind{QuarantineEnded}},
			{from: []phase{trial, proving}, on: []EventKind{EventUnpause}, to: trusted, then: []EffectKind{CanaryEnded}},
			{from: []phase{trial, proving}, on: []EventKind{EventConfigured}, when: off, to: trusted, then: []EffectKind{CanaryEnded}},
		},
	}
}

func lossMachine() machine {
	expected := guard{"remote", func(s *State, _ Event, _ time.Time) bool { return !s.Rules.Local && !s.Rules.Latent }}
	missed := guard{"remote, away", func(s *State, _ Event, _ time.Time) bool {
		return !s.Rules.Local && !s.Rules.Latent && s.Link == LinkAway
	}}
	local := guard{"local", func(s *State, _ Event, _ time.Time) bool { return s.Rules.Local }}
	latent := guard{"latent", func(s *State, _ Event, _ time.Time) bool { return s.Rules.Latent }}
	overdue := guard{"deadline is over", func(s *State, _ Event, now time.Time) bool {
		at := s.MissingAt()
		return !at.IsZero() && !now.Before(at)
	}}
	return machine{
		fact: "loss", phases: []phase{present, lost, missing},
		get: func(s *State) phase { return phase(s.Loss.Phase) },
		set: setLoss,
		rows: []row{
			{from: []phase{present}, on: []EventKind{EventConfigured}, when: missed, to: lost},
			{from: []phase{lost, missing}, on: []EventKind{EventConfigured}, when: local, to: present},
			{from: []phase{present}, on: []EventKind{EventLost, EventCut}, when: expected, to: lost},
			{from: []phase{present}, on: []EventKind{EventStarting}, when: latent, to: lost},
			{from: []phase{lost}, on: []EventKind{EventTimer}, when: overdue, to: missing, then: []EffectKind{WentMissing}},
			{from: []phase{lost}, on: []EventKind{EventAttached, EventResumed}, to: present},
			{from: []phase{missing}, on: []EventKind{EventAttached, EventResumed}, to: present, then: []EffectKind{CameBack}},
		},
	}
}

// marked is the phase of a fact that is a mark.
func marked(m Mark) phase {
	if m.Set() {
		return yes
	}
	return no
}

// mark is the mark that the event leaves on a fact that goes to a phase.
func (ev Event) mark(to phase, now time.Time) Mark {
	if to == no {
		return Mark{}
	}
	return Mark{Since: now, By: line(ev.By, maxName), Reason: line(ev.Reason, MaxReason)}
}

func setLink(s *State, to phase, ev Event, now time.Time) {
	was := s.Link
	s.Link = Link(to)
	if s.Link != was {
		s.LinkSince = now
	}
	s.HeldUntil = time.Time{}
	switch to {
	case connected:
		s.End, s.Why = Mark{}, ""
	case away:
		s.End, s.Why = Mark{}, line(ev.Reason, MaxReason)
	case cut:
		s.HeldUntil, s.Why = ev.Until, line(ev.Reason, MaxReason)
	case ending:
		s.End = ev.mark(yes, now)
		if ev.Kind == EventBuildEnded || ev.Kind == EventResumed {
			s.End = s.Graceful
		}
	case stopped:
		if was != LinkEnding {
			s.End = ev.mark(yes, now)
		}
	}
}

func setQuarantine(s *State, to phase, ev Event, now time.Time) {
	q := &s.Quarantine
	if ev.good() {
		q.Next = QuarantineInitial
	}
	was := q.Phase
	q.Phase = QuarantinePhase(to)
	switch {
	case to == proving && was == QuarantineTrial:
		q.Canary = ev.Build
	case to == held && was != QuarantineHeld:
		*q = Quarantine{
			Phase: QuarantineHeld, Since: now, Until: now.Add(q.Next), Reason: line(ev.Reason, MaxReason),
			Next: min(2*q.Next, QuarantineMax),
		}
	case to == trial:
		q.Canary = 0
	case to == trusted:
		*q = Quarantine{Phase: QuarantineNone, Next: q.Next}
	}
}

func setLoss(s *State, to phase, ev Event, now time.Time) {
	switch {
	case to == present:
		s.Loss = Loss{Phase: LossNone}
	case to == lost:
		s.Loss = Loss{Phase: LossOpen, Since: now, Reason: line(ev.Reason, MaxReason)}
		if !ev.Since.IsZero() && ev.Since.Before(now) { // a clock may have been set back
			s.Loss.Since = ev.Since
		}
	case to == missing:
		s.Loss.Phase, s.Loss.Told = LossTold, now
	}
}
