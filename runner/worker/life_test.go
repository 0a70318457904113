package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"

	"pgregory.net/rapid"
)

// life is a worker in a test, with a clock of its own.
type life struct {
	t     *testing.T
	s     State
	now   time.Time
	build int64
}

func newLife(t *testing.T, rules Rules) *life {
	l := &life{t: t, s: NewState(Facts{}), now: noon}
	l.do(Event{Kind: EventConfigured, Rules: rules, Since: noon})
	return l
}

func (l *life) do(ev Event) []EffectKind {
	l.t.Helper()
	s, effects := Step(l.s, ev, l.now)
	for _, fault := range faults(l.s, ev, s, effects, l.now) {
		l.t.Errorf("%s: %s", ev.Kind, fault)
	}
	l.s = s
	var kinds []EffectKind
	for _, e := range effects {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// on is do for what people ask.
func (l *life) on(a Action) []EffectKind { return l.do(a.Event("ana", "disk swap")) }

// ended runs a build that ends so.
func (l *life) ended(r build.Result, c build.Cause) []EffectKind {
	l.t.Helper()
	l.build++
	if why := l.s.Blocked(l.now); why != "" {
		l.t.Fatalf("takes no build: %s", why)
	}
	l.do(Event{Kind: EventBuildStarted, Build: l.build})
	return l.do(Event{Kind: EventBuildEnded, Build: l.build, Result: r, Cause: c, Reason: fmt.Sprintf("step 'x' of b #%d: broken", l.build)})
}

func (l *life) misbehaves() []EffectKind { return l.ended(build.Exception, build.CauseStep) }

// passes lets time go by, with the timer events it brings.
func (l *life) passes(d time.Duration) (kinds []EffectKind) {
	l.t.Helper()
	end := l.now.Add(d)
	for at := l.s.Wake(); !at.IsZero() && !at.After(end); at = l.s.Wake() {
		l.now = latest(l.now, at)
		kinds = append(kinds, l.do(Event{Kind: EventTimer})...)
	}
	l.now = end
	return kinds
}

// restarts is another master after the time.
func (l *life) restarts(d time.Duration) {
	l.t.Helper()
	data := l.s.Encode()
	rules := l.s.Rules
	l.now = l.now.Add(d)
	f, err := DecodeFacts(data, l.now)
	if err != nil {
		l.t.Fatal(err)
	}
	l.s = NewState(f)
	l.do(Event{Kind: EventConfigured, Rules: rules, Since: l.now})
}

func (l *life) blocked(want string) {
	l.t.Helper()
	if got := l.s.Blocked(l.now); got != want && (want == "" || !strings.Contains(got, want)) {
		l.t.Errorf("blocked: %q, want %q", got, want)
	}
}

func (l *life) want(what string, got []EffectKind, want ...EffectKind) {
	l.t.Helper()
	if !slices.Equal(got, want) {
		l.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func connectedLife(t *testing.T, rules Rules) *life {
	t.Helper()
	l := newLife(t, rules)
	l.want("attach", l.do(Event{Kind: EventAttached}), Connected)
	return l
}

// TestQuarantineDelays: 10, 20, 40 … 3600, by canaries that fail.
func TestQuarantineDelays(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	for i, want := range []int{10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600} {
		d := time.Duration(want) * time.Second
		l.want("exception", l.misbehaves(), QuarantineBegan)
		l.blocked("quarantined for " + Countdown(d) + " more: step 'x' of b #" + fmt.Sprint(i+1))
		l.want("almost", l.passes(d-time.Nanosecond))
		l.blocked("quarantined for 1 s more")
		l.want("its end", l.passes(time.Nanosecond), QuarantineEnded)
	}
	l.want("a failure is no misbehaviour", l.ended(build.Failure, ""), CanaryEnded)
	l.want("exception", l.misbehaves(), QuarantineBegan)
	l.blocked("quarantined for 10 s more")
}

// TestNoQuarantine: what is not the worker's fault.
func TestNoQuarantine(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.misbehaves()
	l.passes(10 * time.Second)
	for _, end := range []struct {
		r build.Result
		c build.Cause
	}{
		{build.Retry, ""}, {build.Cancelled, ""}, {build.Exception, build.CauseDisk}, {build.Exception, build.CauseMaster},
		{build.Exception, build.CauseRetries}, {build.Exception, build.CauseOOM}, {build.Exception, build.CauseConfig},
	} {
		l.want(fmt.Sprint(end), l.ended(end.r, end.c))
		if q := l.s.Quarantine; q.Phase != QuarantineTrial || q.Next != 20*time.Second {
			t.Errorf("after %v: %+v, want another canary and the doubled delay", end, q)
		}
	}
	l.want("warnings", l.ended(build.Warnings, ""), CanaryEnded)
}

// TestCanaryRunsAlone: while it runs nothing else starts, and builds of before
// the quarantine say nothing about the worker as it is now.
func TestCanaryRunsAlone(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.do(Event{Kind: EventBuildStarted, Build: 100})
	l.do(Event{Kind: EventBuildStarted, Build: 101})
	l.do(Event{Kind: EventBuildStarted, Build: 102})
	l.misbehaves()
	l.want("no doubling", l.do(Event{Kind: EventBuildEnded, Build: 100, Result: build.Exception, Cause: build.CauseWorker}))
	l.want("its end", l.passes(10*time.Second), QuarantineEnded)
	l.do(Event{Kind: EventBuildStarted, Build: 103})
	l.blocked("tries one build after its quarantine: step 'x' of b #1: broken")
	l.want("an older build", l.do(Event{Kind: EventBuildEnded, Build: 101, Result: build.Success}))
	l.blocked("tries one build")
	l.want("the canary", l.do(Event{Kind: EventBuildEnded, Build: 103, Result: build.Success}), CanaryEnded)
	l.blocked("")
	l.want("an older build misbehaves", l.do(Event{Kind: EventBuildEnded, Build: 102, Result: build.Exception, Cause: build.CauseStep}), QuarantineBegan)
	l.blocked("quarantined for 10 s more") // the good builds between made it short again
}

func TestCanaryOff(t *testing.T) {
	l := connectedLife(t, Rules{Local: true, NoCanary: true})
	l.misbehaves()
	l.passes(10 * time.Second)
	l.do(Event{Kind: EventBuildStarted, Build: 100})
	l.blocked("")
}

// TestUnpause: it ends a pause and a quarantine, keeps the doubled delay and
// skips the canary; a pause does not end a quarantine.
func TestUnpause(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.misbehaves()
	l.want("pause", l.on(Pause), PauseBegan)
	l.blocked("paused by ana: disk swap")
	l.want("unpause", l.on(Unpause), PauseEnded, QuarantineEnded)
	l.do(Event{Kind: EventBuildStarted, Build: 100})
	l.blocked("")
	l.misbehaves()
	l.blocked("quarantined for 20 s more")
	l.want("unpause", l.on(Unpause), QuarantineEnded)
	l.do(Event{Kind: EventBuildEnded, Build: 100, Result: build.Success})
	l.misbehaves()
	l.blocked("quarantined for 10 s more")
	l.want("pause outlives quarantine", append(l.on(Pause), l.passes(time.Hour)...), PauseBegan, QuarantineEnded)
	l.blocked("paused by ana")
	l.want("unpause skips the canary", l.on(Unpause), PauseEnded, CanaryEnded)
}

// TestRestart: pause and quarantine survive, with the time that remains; the
// canary and what was connected do not.
func TestRestart(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	for range 3 {
		l.misbehaves()
		l.passes(time.Minute)
	}
	l.misbehaves()
	l.on(Pause)
	l.passes(30 * time.Second)
	l.restarts(10 * time.Second)
	l.blocked("not connected")
	l.do(Event{Kind: EventAttached})
	l.blocked("paused by ana: disk swap")
	if q := l.s.Quarantine; q.Until.Sub(l.now) != 40*time.Second || q.Next != 160*time.Second || q.Reason != "step 'x' of b #4: broken" {
		t.Errorf("%+v", q)
	}
	l.passes(40 * time.Second)
	l.s.Paused = Mark{}
	l.do(Event{Kind: EventBuildStarted, Build: 100})
	l.restarts(time.Second)
	if q := l.s.Quarantine; q.Phase != QuarantineTrial || q.Canary != 0 {
		t.Errorf("%+v, want another canary", q)
	}
	l.do(Event{Kind: EventAttached})
	l.want("the next", l.misbehaves(), QuarantineBegan)
	l.blocked("quarantined for 2 min 40 s more")

	l.restarts(-24 * time.Hour) // the clock was set back
	l.do(Event{Kind: EventAttached})
	l.blocked("quarantined for 1 h more")
}

// TestStopAndStart: graceful ends when the last build has, and can be taken back
// until then; a local worker that was stopped can be started again.
func TestStopAndStart(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.do(Event{Kind: EventBuildStarted, Build: 1})
	l.want("stop", l.on(Stop), GracefulBegan)
	l.blocked("ends after its builds, told to by ana: disk swap")
	l.want("start", l.on(Start), GracefulEnded)
	l.blocked("")
	l.on(Stop)
	l.want("the last build", l.do(Event{Kind: EventBuildEnded, Build: 1, Result: build.Success}), Ending, EffectShutdown)
	l.want("gone", l.do(Event{Kind: EventLost}), EndedOnPurpose)
	l.blocked("stopped by ana: disk swap")
	l.want("a loss is told twice", l.do(Event{Kind: EventLost}))
	l.want("start", l.on(Start), GracefulEnded, StartedAgain, EffectAttach)
	l.want("attach", l.do(Event{Kind: EventAttached}), Connected)
	l.blocked("")
	l.want("idle", l.on(Stop), GracefulBegan, Ending, EffectShutdown)
	l.do(Event{Kind: EventLost})
	l.restarts(time.Second)
	l.do(Event{Kind: EventAttached})
	l.blocked("")
}

func TestKill(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.do(Event{Kind: EventBuildStarted, Build: 1})
	l.want("kill", l.on(Kill), Ending, EffectKill)
	l.blocked("told to end by ana: disk swap")
	l.want("start", l.on(Start), EffectRefused)
	l.do(Event{Kind: EventBuildEnded, Build: 1, Result: build.Retry})
	l.want("gone", l.do(Event{Kind: EventLost}), EndedOnPurpose)
	l.blocked("stopped by ana: disk swap")
	l.want("start", l.on(Start), StartedAgain, EffectAttach)

	r := connectedLife(t, Rules{MissingTimeout: time.Hour})
	r.do(Event{Kind: EventBuildStarted, Build: 1})
	r.on(Stop)
	r.want("kill", r.on(Kill), Ending, EffectKill)
	r.want("gone", r.do(Event{Kind: EventLost}), Disconnected)
	for _, a := range []Action{Stop, Kill} {
		r.want(string(a), r.on(a), EffectRefused)
	}
	r.want("start takes graceful back", r.on(Start), GracefulEnded)
	r.want("start", r.on(Start), EffectRefused)
}

// TestMissing: one report per loss, also over restarts, and not before a new
// master has given the worker time to find it.
func TestMissing(t *testing.T) {
	l := newLife(t, Rules{MissingTimeout: time.Hour})
	l.blocked("not connected since 2026-03-01 12:00:00")
	l.want("almost", l.passes(time.Hour-time.Second))
	l.want("never connected", l.passes(time.Second), WentMissing)
	l.want("never again", l.passes(100*time.Hour))
	l.restarts(time.Minute)
	l.want("nor after a restart", l.passes(100*time.Hour))
	l.want("back", l.do(Event{Kind: EventAttached}), Connected, CameBack)
	l.do(Event{Kind: EventLost, Reason: "reset by peer"})
	l.blocked("not connected: reset by peer")
	since := l.s.Loss.Since
	l.passes(30 * time.Minute)
	l.restarts(time.Hour)
	if at := l.s.MissingAt(); at != l.now.Add(5*time.Minute) || l.s.Loss.Since != since {
		t.Errorf("reported at %s, loss of %s", at, l.s.Loss.Since)
	}
	l.want("back", l.do(Event{Kind: EventAttached}), Connected)
	l.want("no report", l.passes(100*time.Hour))
	l.do(Event{Kind: EventLost})
	l.want("a second loss", l.passes(time.Hour), WentMissing)

	short := newLife(t, Rules{MissingTimeout: time.Minute})
	short.restarts(time.Hour)
	if at := short.s.MissingAt(); at != short.now.Add(time.Minute) {
		t.Errorf("reported at %s", at)
	}
	off := newLife(t, Rules{})
	off.want("never reported", off.passes(1000*time.Hour))
	off.do(Event{Kind: EventConfigured, Rules: Rules{MissingTimeout: time.Hour}})
	off.want("until it is wanted", off.passes(0), WentMissing)
}

// TestMissingAfterTheClockWasSetBack: a loss of the future is one of now. It is
// reported in time, not when the clock gets there again.
func TestMissingAfterTheClockWasSetBack(t *testing.T) {
	l := connectedLife(t, Rules{MissingTimeout: time.Hour})
	l.do(Event{Kind: EventLost})
	l.restarts(-1000 * time.Hour)
	l.want("a stored loss", l.passes(time.Hour), WentMissing)
	never := newLife(t, Rules{})
	never.s = NewState(Facts{})
	never.do(Event{Kind: EventConfigured, Rules: Rules{MissingTimeout: time.Hour}, Since: never.now.Add(1000 * time.Hour)})
	never.want("last seen in the future", never.passes(time.Hour), WentMissing)
}

// TestCut: while it is cut off a worker is lost, but not away; what is asked of it
// is done when it is back.
func TestCut(t *testing.T) {
	l := connectedLife(t, Rules{MissingTimeout: time.Hour})
	l.do(Event{Kind: EventBuildStarted, Build: 1})
	cut := Event{Kind: EventCut, Reason: "reset by peer", Since: l.now, Until: l.now.Add(2 * time.Minute)}
	l.want("cut", l.do(cut), Disconnected)
	l.blocked("connection lost, builds held until 12:02:00")
	if l.s.Connected() || l.s.Missing() || l.s.MissingAt() != noon.Add(time.Hour) {
		t.Errorf("%+v", l.s)
	}
	l.want("back", l.do(Event{Kind: EventResumed}), Connected)
	l.blocked("")
	if l.s.Loss.Phase != LossNone {
		t.Errorf("%+v", l.s.Loss)
	}

	l.do(cut)
	l.want("stop", l.on(Stop), GracefulBegan)
	l.want("the build ends", l.do(Event{Kind: EventBuildEnded, Build: 1, Result: build.Success}))
	l.blocked("connection lost, waited for until 12:02:00")
	l.want("back", l.do(Event{Kind: EventResumed}), Connected, Ending, EffectShutdown)
	if l.s.End.By != "ana" {
		t.Errorf("ended by %+v", l.s.End)
	}

	l = connectedLife(t, Rules{MissingTimeout: time.Hour})
	l.do(cut)
	l.now = l.now.Add(2 * time.Minute)
	l.want("lost", l.do(Event{Kind: EventLost, Reason: "the lease is over"}))
	l.blocked("not connected: the lease is over")
	l.want("counted from the cut", l.passes(58*time.Minute), WentMissing)

	l = connectedLife(t, Rules{})
	l.do(cut)
	l.want("kill", l.on(Kill), Ending, EffectKill)
	l.want("the cut of one that ends", l.do(cut))
}

func TestLatentIsMissingOnlyWhileItStarts(t *testing.T) {
	l := newLife(t, Rules{Latent: true, MissingTimeout: time.Hour})
	l.want("away", l.passes(100*time.Hour))
	l.do(Event{Kind: EventStarting})
	l.want("did not start", l.do(Event{Kind: EventStartFailed, Reason: "no such image"}), QuarantineBegan)
	l.want("in time", l.passes(time.Hour), QuarantineEnded, WentMissing)
	l.want("back", l.do(Event{Kind: EventAttached}), Connected, CameBack)
	l.do(Event{Kind: EventLost})
	l.want("away", l.passes(100*time.Hour))
}

func TestParseAction(t *testing.T) {
	for _, a := range Actions() {
		if got, err := ParseAction(string(a)); err != nil || got != a {
			t.Errorf("%s: %s, %v", a, got, err)
		}
	}
	for _, s := range []string{"", "Pause", "attached", "restart"} {
		if _, err := ParseAction(s); err == nil || !strings.Contains(err.Error(), `"unpause"`) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestReasonsAreOneLine(t *testing.T) {
	l := connectedLife(t, Rules{Local: true})
	l.do(Event{Kind: EventPause, By: "a\nb", Reason: "x\r\nSubject: y\u2028z" + strings.Repeat("ü", 1000)})
	if p := l.s.Paused; strings.ContainsAny(p.By+p.Reason, "\n\r\u2028") || len(p.Reason) > MaxReason || !strings.HasSuffix(p.Reason, "ü…") {
		t.Errorf("%q", p)
	}
	l.restarts(0)
}

// TestModel drives a worker by random events, with restarts in between, and
// checks each step and what no single step shows.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		local := rapid.Bool().Draw(rt, "local")
		rules := Rules{Local: local, NoCanary: rapid.Bool().Draw(rt, "no canary")}
		if !local {
			rules.MissingTimeout = rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(rt, "timeout")
		}
		now := noon
		s := NewState(Facts{})
		var running []int64
		var next int64
		reported := map[time.Time]int{}
		canaries := map[int64]bool{} // started after a quarantine, and its result is not known
		do := func(ev Event) {
			got, effects := Step(s, ev, now)
			for _, fault := range faults(s, ev, got, effects, now) {
				rt.Fatalf("%+v\n%+v\n%+v, %v: %s", s, ev, got, effects, fault)
			}
			for _, e := range effects {
				switch e.Kind {
				case WentMissing:
					if reported[s.Loss.Since]++; reported[s.Loss.Since] > 1 {
						rt.Fatalf("the loss of %s is reported twice", s.Loss.Since)
					}
				case CanaryEnded, QuarantineBegan:
					clear(canaries)
				}
			}
			s = got
		}
		do(Event{Kind: EventConfigured, Rules: rules, Since: now})
		rt.Repeat(map[string]func(*rapid.T){
			"action": func(rt *rapid.T) {
				do(rapid.SampledFrom(Actions()).Draw(rt, "action").Event("ana", "why"))
			},
			"attach": func(rt *rapid.T) {
				if s.Link == LinkAway {
					do(Event{Kind: EventAttached})
				}
			},
			"lose": func(rt *rapid.T) {
				if s.Connected() || s.Link == LinkHeld {
					do(Event{Kind: EventLost, Reason: "reset"})
				}
			},
			"cut": func(rt *rapid.T) {
				if !local && s.Connected() {
					do(Event{Kind: EventCut, Reason: "reset", Since: now, Until: now.Add(2 * time.Minute)})
				}
			},
			"resume": func(rt *rapid.T) {
				if s.Link == LinkHeld {
					do(Event{Kind: EventResumed})
				}
			},
			"start": func(rt *rapid.T) {
				if s.Blocked(now) != "" {
					return
				}
				next++
				running = append(running, next)
				if s.Quarantine.Phase == QuarantineTrial {
					canaries[next] = true
				}
				do(Event{Kind: EventBuildStarted, Build: next})
				if len(canaries) > 1 {
					rt.Fatalf("%d canaries", len(canaries))
				}
			},
			"end": func(rt *rapid.T) {
				if len(running) == 0 {
					return
				}
				i := rapid.IntRange(0, len(running)-1).Draw(rt, "which")
				ev := Event{Kind: EventBuildEnded, Build: running[i], Reason: "r"}
				ev.Result = rapid.SampledFrom([]build.Result{0, 1, 2, 3, 4, 4, 4, 5, 6}).Draw(rt, "result")
				if ev.Result == build.Exception {
					ev.Cause = rapid.SampledFrom([]build.Cause{build.CauseStep, build.CauseWorker, build.CauseDisk}).Draw(rt, "cause")
				}
				running = slices.Delete(running, i, i+1)
				delete(canaries, ev.Build)
				do(ev)
			},
			"timer": func(rt *rapid.T) {
				if at := s.Wake(); !at.IsZero() {
					now = latest(now, at)
					do(Event{Kind: EventTimer})
				}
			},
			"time": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(rt, "s")) * time.Second)
				for at := s.Wake(); !at.IsZero() && !at.After(now); at = s.Wake() {
					do(Event{Kind: EventTimer})
				}
			},
			"reload": func(rt *rapid.T) {
				r := rules
				r.NoCanary = rapid.Bool().Draw(rt, "no canary")
				do(Event{Kind: EventConfigured, Rules: r})
			},
			"restart": func(rt *rapid.T) {
				f, err := DecodeFacts(s.Encode(), now)
				if err != nil {
					rt.Fatal(err)
				}
				if f.Paused != s.Paused || f.Loss != s.Loss || f.Quarantine.Next != s.Quarantine.Next || f.Quarantine.Until != s.Quarantine.Until {
					rt.Fatalf("%+v became %+v", s.Facts, f)
				}
				s = NewState(f)
				running = nil
				clear(canaries)
				do(Event{Kind: EventConfigured, Rules: rules, Since: now})
			},
			"": func(rt *rapid.T) {
				if s.Builds != len(running) {
					rt.Fatalf("%d builds, %d run", s.Builds, len(running))
				}
			},
		})
	})
}

// FuzzDecodeFacts: whatever is read without an error is written again the same.
func FuzzDecodeFacts(f *testing.F) {
	for _, s := range allStates()[:200] {
		f.Add(s.Encode())
	}
	f.Add([]byte(`{"version":1,"paused":{"since":"2026-03-01T12:00:00Z","by":"ana","reason":"x"}}`))
	f.Add([]byte(`{"version":1,"quarantine":{"phase":"held","next":"20s","since":"2026-03-01T12:00:00Z","until":"2026-03-01T12:00:10Z"}}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"connected":true}`))
	f.Add([]byte(`{"version":1}{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := DecodeFacts(data, noon)
		if err != nil {
			return
		}
		written := facts.Encode()
		again, err := DecodeFacts(written, noon)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if s := again.Encode(); string(s) != string(written) {
			t.Errorf("%s became %s", written, s)
		}
		s := NewState(facts)
		for _, ev := range allEvents(Rules{MissingTimeout: time.Hour}) {
			s, _ = Step(s, ev, noon)
		}
	})
}

func TestDecodeFactsRefuses(t *testing.T) {
	for _, text := range []string{
		`null`, `{}`, `[]`, `{"version":2}`, `{"version":1} x`, `{"version":1,"other":1}`, strings.Repeat(" ", maxStored+1),
		`{"version":1,"paused":{"by":"ana"}}`,
		`{"version":1,"paused":{"since":"2026-03-01T12:00:00Z","by":"a\nb"}}`,
		`{"version":1,"quarantine":{"phase":"held","next":"20s"}}`,
		`{"version":1,"quarantine":{"phase":"testing","next":"20s","since":"2026-03-01T12:00:00Z","until":"2026-03-01T12:00:10Z"}}`,
		`{"version":1,"quarantine":{"phase":"none","next":"1s"}}`,
		`{"version":1,"quarantine":{"phase":"none","next":"2h"}}`,
		`{"version":1,"quarantine":{"phase":"none","next":"20s","reason":"x"}}`,
		`{"version":1,"loss":{"phase":"lost"}}`,
		`{"version":1,"loss":{"phase":"missing","since":"2026-03-01T12:00:00Z"}}`,
		`{"version":1,"loss":{"phase":"none","since":"2026-03-01T12:00:00Z"}}`,
	} {
		if f, err := DecodeFacts([]byte(text), noon); err == nil {
			t.Errorf("%.100s was taken: %+v", text, f)
		}
	}
}
