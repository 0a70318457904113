package runner

import (
	"context"
	"iter"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// Event is something that happened, told after it is on disk. It is one of
// [RequestSubmitted], [RequestRetried], [RequestFinished], [BuildStarted],
// [BuildFinished], [StepStarted], [StepFinished], [Degraded] and [Lagged].
type Event interface{ event() }

// RequestSubmitted says that a request was accepted.
type RequestSubmitted struct {
	Time    time.Time
	Request int64
	Builder string
	Reason  string
}

// RequestRetried says that a request is pending again after a lost build.
type RequestRetried struct {
	Time    time.Time
	Request int64
	Builder string
	Text    string // why
}

// RequestFinished says that a request is finished.
type RequestFinished struct {
	Time    time.Time
	Request int64
	Builder string
	Result  build.Result
	Text    string
}

// BuildStarted says that a build runs.
type BuildStarted struct {
	Time     time.Time
	Build    Build
	Steps    int           // planned
	Expected time.Duration // from history; 0: not known
}

// BuildFinished says that a build has ended.
type BuildFinished struct {
	Time  time.Time
	Build Build
}

// StepStarted says that a step runs.
type StepStarted struct {
	Time     time.Time
	Build    Build
	Step     Step
	Expected time.Duration // from history; 0: not known
}

// StepFinished says that a step has ended.
type StepFinished struct {
	Time  time.Time
	Build Build
	Step  Step
}

// Degraded says that nothing can be recorded at present. It is the one event
// that is not on disk.
type Degraded struct {
	Time time.Time
	Text string // why
}

// Lagged says that the listener was too slow and missed events.
type Lagged struct {
	Time   time.Time
	Missed int
}

// Step is a step of a build.
type Step struct {
	Number    int // from 1; 0 is the worker's preparation, there only if it failed
	Name      string
	Started   time.Time
	Completed time.Time // zero while it runs
	Result    build.Result
	Text      string
	Hidden    bool
}

func (RequestSubmitted) event() {}
func (RequestRetried) event()   {}
func (RequestFinished) event()  {}
func (BuildStarted) event()     {}
func (BuildFinished) event()    {}
func (StepStarted) event()      {}
func (StepFinished) event()     {}
func (Degraded) event()         {}
func (Lagged) event()           {}

// Events returns what happens from now on. The sequence ends when ctx does or
// the Runner. A listener that is more than 4,096 events behind misses some and
// gets a [Lagged] in their place; it never holds up builds.
func (r *Runner) Events(ctx context.Context) iter.Seq[Event] {
	events, err := r.engine.Subscribe(ctx, "", engine.RequestNew, engine.RequestRetry, engine.RequestDone, engine.BuildNew, engine.BuildDone,
		engine.StepNew, engine.StepDone, engine.Degraded)
	if err != nil { // ctx or the Runner has ended
		return func(func(Event) bool) {}
	}
	return func(yield func(Event) bool) {
		for ev := range events {
			if e := newEvent(ev); e != nil && !yield(e) {
				return
			}
		}
	}
}

func newEvent(ev engine.Event) Event {
	switch ev.Kind {
	case engine.RequestNew:
		return RequestSubmitted{ev.Time, ev.Request.ID, ev.Request.Builder, ev.Request.Reason}
	case engine.RequestRetry:
		return RequestRetried{ev.Time, ev.Request.ID, ev.Request.Builder, ev.Build.Text}
	case engine.RequestDone:
		return RequestFinished{ev.Time, ev.Request.ID, ev.Request.Builder, ev.Request.Result, ev.Request.Text}
	case engine.BuildNew:
		return BuildStarted{ev.Time, *newBuild(ev.Build), ev.Steps, ev.Expected}
	case engine.BuildDone:
		return BuildFinished{ev.Time, *newBuild(ev.Build)}
	case engine.StepNew:
		return StepStarted{ev.Time, *newBuild(ev.Build), newStep(ev.Step), ev.Expected}
	case engine.StepDone:
		return StepFinished{ev.Time, *newBuild(ev.Build), newStep(ev.Step)}
	case engine.Degraded:
		return Degraded{ev.Time, ev.Text}
	case engine.Lagged:
		return Lagged{ev.Time, ev.Count}
	}
	return nil
}

func newStep(s store.Step) Step {
	return Step{s.Number, s.Name, s.Started, s.Completed, s.Result, s.Text, s.Hidden}
}
