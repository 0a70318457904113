package worker

import (
	"fmt"
	"slices"
	"time"

	"bothy/runner/build"
)

// EventKind names what happened to a worker, or what a person asks of it.
type EventKind string

// The kinds of event. The first five are what people ask for; see [Action].
const (
	EventPause   EventKind = "pause"   // take no new builds
	EventUnpause EventKind = "unpause" // end a pause and a quarantine
	EventStop    EventKind = "stop"    // finish the builds, then end (graceful)
	EventKill    EventKind = "kill"    // end at once
	EventStart   EventKind = "start"   // take a stop back, or start a stopped local worker

	EventConfigured    EventKind = "configured"     // at the start of the master, and when the configuration changed
	EventAttached      EventKind = "attached"       // the connection stands
	EventAttachFailed  EventKind = "attach-failed"  // it could not be had; it is tried again
	EventLost          EventKind = "lost"           // the connection has ended, whoever ended it
	EventCut           EventKind = "cut"            // the connection is cut, and what runs is held; see [Holder]
	EventResumed       EventKind = "resumed"        // it stands again
	EventStarting      EventKind = "starting"       // an instance of a latent worker is being started
	EventStartFailed   EventKind = "start-failed"   // it did not start properly
	EventPrepareFailed EventKind = "prepare-failed" // a build could not be prepared on the worker
	EventBuildStarted  EventKind = "build-started"
	EventBuildEnded    EventKind = "build-ended"
	EventTimer         EventKind = "timer" // [State.Wake] has come
)

// eventKinds are all kinds, in the order of their constants.
var eventKinds = []EventKind{
	EventPause, EventUnpause, EventStop, EventKill, EventStart,
	EventConfigured, EventAttached, EventAttachFailed, EventLost, EventCut, EventResumed, EventStarting, EventStartFailed,
	EventPrepareFailed, EventBuildStarted, EventBuildEnded, EventTimer,
}

// Event is something that happened. Fields that make no sense for the kind are
// zero.
type Event struct {
	Kind EventKind
	// By names who asked for it, "" if nobody did.
	By string
	// Reason is what a person gave as one; of a loss or a failure its error; of
	// the end of a build that misbehaved the evidence, such as
	// "step 'compile' of test #12: no such device". At most [MaxReason] bytes
	// are kept.
	Reason string

	Build  int64        // the build's id
	Result build.Result // of a build that ended
	Cause  build.Cause  // of its exception

	Rules Rules // of EventConfigured
	// Since is, of EventConfigured, when the worker was last known to be there, or
	// first configured; of EventCut when that was noticed.
	Since time.Time
	Until time.Time // of EventCut: when the worker counts as lost
}

// misbehaved reports whether the event counts against the worker. Not
// misbehaviour: a failure, a lost connection, a cancel, an exception that has
// another cause.
func (ev Event) misbehaved() bool {
	switch ev.Kind {
	case EventPrepareFailed, EventStartFailed:
		return true
	case EventBuildEnded:
		return ev.Result == build.Exception && ev.Cause.BlamesWorker()
	}
	return false
}

// good reports whether the event shows that the worker works.
func (ev Event) good() bool {
	if ev.Kind != EventBuildEnded {
		return false
	}
	switch ev.Result {
	case build.Success, build.Warnings, build.Failure, build.Skipped:
		return true
	}
	return false
}

// Action is what a person may ask of a worker.
type Action string

// The actions.
const (
	Pause   Action = "pause"
	Unpause Action = "unpause"
	Stop    Action = "stop"
	Kill    Action = "kill"
	Start   Action = "start"
)

// Actions are all actions, in the order in which they are shown to people.
func Actions() []Action { return []Action{Pause, Unpause, Stop, Kill, Start} }

// ParseAction returns the action of that name.
func ParseAction(name string) (Action, error) {
	if a := Action(name); slices.Contains(Actions(), a) {
		return a, nil
	}
	return "", fmt.Errorf("no action %q for workers: there are %q", name, Actions())
}

// Event returns what the action is to the state machine.
func (a Action) Event(by, reason string) Event {
	return Event{Kind: EventKind(a), By: by, Reason: reason}
}

// EffectKind is something to do, or to tell, after a step of the state machine.
type EffectKind string

// The kinds of effect. The first ones are to be done, the others to be told.
const (
	EffectAttach   EffectKind = "attach"   // ask the worker's kind for a connection
	EffectShutdown EffectKind = "shutdown" // the worker is idle and is to end
	EffectKill     EffectKind = "kill"     // the worker is to end at once, with its builds
	EffectRefused  EffectKind = "refused"  // the action makes no sense now; Reason says why

	Connected       EffectKind = "connected"
	Disconnected    EffectKind = "disconnected"
	Ending          EffectKind = "ending" // told to end
	EndedOnPurpose  EffectKind = "stopped"
	StartedAgain    EffectKind = "started"
	PauseBegan      EffectKind = "paused"
	PauseEnded      EffectKind = "unpaused"
	GracefulBegan   EffectKind = "graceful"
	GracefulEnded   EffectKind = "graceful-ended"
	QuarantineBegan EffectKind = "quarantined"
	QuarantineEnded EffectKind = "quarantine-ended"
	CanaryEnded     EffectKind = "canary-ended" // all slots are open again
	WentMissing     EffectKind = "missing"
	CameBack        EffectKind = "returned" // after it was reported missing
)

// IsChange reports whether the effect tells of a change of the state.
func (k EffectKind) IsChange() bool {
	switch k {
	case EffectAttach, EffectShutdown, EffectKill, EffectRefused:
		return false
	}
	return true
}

// Effect is what a step of the state machine asks its owner to do or to tell.
type Effect struct {
	Kind   EffectKind
	Reason string // of a refusal
}
