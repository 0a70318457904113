package worker

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
)

var update = flag.Bool("update", false, "write the printed table to testdata")

// printTable writes all machines as they are read by people.
func printTable() string {
	var b strings.Builder
	names := func(ps []phase) string {
		var s []string
		for _, p := range ps {
			s = append(s, string(p))
		}
		return strings.Join(s, "|")
	}
	b.WriteString("refused\n")
	for _, r := range refusals() {
		fmt.Fprintf(&b, "  %-10s %-15s %-25s %s\n", r.from, r.on, r.when.name, r.reason)
	}
	for _, m := range machines() {
		fmt.Fprintf(&b, "\n%s\n", m.fact)
		for _, r := range m.rows {
			for _, kind := range r.on {
				var then []string
				for _, k := range r.then {
					then = append(then, string(k))
				}
				line := fmt.Sprintf("  %-22s %-15s %-25s -> %-10s %s", names(r.from), kind, r.when.name, r.to, strings.Join(then, ", "))
				b.WriteString(strings.TrimRight(line, " ") + "\n")
			}
		}
		head := fmt.Sprintf("\n  %-16s", "")
		for _, p := range m.phases {
			head += fmt.Sprintf(" %-20s", p)
		}
		b.WriteString(strings.TrimRight(head, " ") + "\n")
		for _, kind := range eventKinds {
			line := fmt.Sprintf("  %-16s", kind)
			for _, p := range m.phases {
				var to []string
				for _, r := range m.rows {
					if slices.Contains(r.from, p) && slices.Contains(r.on, kind) {
						to = append(to, string(r.to))
					}
				}
				line += fmt.Sprintf(" %-20s", strings.Join(slices.Compact(to), "|"))
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	return b.String()
}

// TestTable prints the transition table and compares it with what was agreed.
func TestTable(t *testing.T) {
	path := filepath.Join("testdata", "table.txt")
	got := printTable()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the table has changed; if that is meant, run this test with -update\n%s", got)
	}
}

// TestTableIsWhole: rows name phases of their own fact, and kinds that exist.
func TestTableIsWhole(t *testing.T) {
	for _, m := range machines() {
		for i, r := range m.rows {
			for _, p := range append(slices.Clone(r.from), r.to) {
				if !slices.Contains(m.phases, p) {
					t.Errorf("%s, row %d: no phase %q", m.fact, i, p)
				}
			}
			for _, k := range r.on {
				if !slices.Contains(eventKinds, k) {
					t.Errorf("%s, row %d: no event %q", m.fact, i, k)
				}
			}
			for _, later := range m.rows[i+1:] {
				for _, p := range later.from {
					for _, k := range later.on {
						if slices.Contains(r.from, p) && slices.Contains(r.on, k) && r.when.holds == nil {
							t.Errorf("%s: %q on %q never comes to its second row", m.fact, p, k)
						}
					}
				}
			}
		}
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// allStates are all combinations of the facts' phases, of each kind of worker,
// idle and busy, with a deadline before and after noon.
func allStates() []State {
	var all []State
	for _, rules := range []Rules{
		{Local: true}, {Latent: true, MissingTimeout: time.Hour}, {MissingTimeout: time.Hour}, {NoCanary: true, NoQuarantine: true},
	} {
		for _, link := range []Link{LinkAway, LinkConnected, LinkHeld, LinkEnding, LinkStopped} {
			for _, paused := range []Mark{{}, {noon.Add(-time.Hour), "ana", "disk swap"}} {
				for _, graceful := range []Mark{{}, {noon.Add(-time.Minute), "bob", ""}} {
					for _, q := range []Quarantine{
						{Phase: QuarantineNone, Next: 40 * time.Second},
						{Phase: QuarantineHeld, Next: QuarantineMax, Since: noon.Add(-time.Minute), Until: noon.Add(time.Minute), Reason: "r"},
						{Phase: QuarantineHeld, Next: 20 * time.Second, Since: noon.Add(-time.Minute), Until: noon, Reason: "r"},
						{Phase: QuarantineTrial, Next: 20 * time.Second, Since: noon.Add(-time.Minute), Until: noon, Reason: "r"},
						{Phase: QuarantineTesting, Next: 20 * time.Second, Since: noon.Add(-time.Minute), Until: noon, Reason: "r", Canary: 7},
					} {
						for _, loss := range []Loss{
							{Phase: LossNone},
							{Phase: LossOpen, Since: noon.Add(-time.Minute)},
							{Phase: LossOpen, Since: noon.Add(-2 * time.Hour)},
							{Phase: LossTold, Since: noon.Add(-2 * time.Hour), Told: noon.Add(-time.Hour)},
						} {
							for builds := range 3 {
								s := NewState(Facts{paused, graceful, q, loss})
								s.Rules, s.MasterStart = rules, noon.Add(-3*time.Hour)
								s.Link, s.LinkSince, s.Builds = link, noon.Add(-time.Hour), builds
								if link == LinkEnding || link == LinkStopped {
									s.End = Mark{noon.Add(-time.Second), "eve", "too hot"}
								}
								all = append(all, s)
							}
						}
					}
				}
			}
		}
	}
	return all
}

// allEvents are one event of each kind, and one for each way a build can end.
func allEvents(rules Rules) []Event {
	var all []Event
	for _, k := range eventKinds {
		switch k {
		case EventConfigured:
			all = append(all, Event{Kind: k, Rules: rules, Since: noon.Add(-24 * time.Hour)},
				Event{Kind: k, Rules: Rules{Local: true}}, Event{Kind: k, Rules: Rules{MissingTimeout: time.Minute, NoCanary: true}})
		case EventBuildStarted:
			all = append(all, Event{Kind: k, Build: 8})
		case EventBuildEnded:
			for r := build.Success; r <= build.Cancelled; r++ {
				for _, id := range []int64{7, 8} {
					all = append(all, Event{Kind: k, Build: id, Result: r})
					if r != build.Exception {
						continue
					}
					for _, c := range []build.Cause{build.CauseWorker, build.CauseStep, build.CauseDisk} {
						all = append(all, Event{Kind: k, Build: id, Result: r, Cause: c, Reason: "step 'x' of b #1: broken"})
					}
				}
			}
		default:
			all = append(all, Event{Kind: k, By: "ana", Reason: "because"})
		}
	}
	return all
}

// TestEveryStateAndEvent walks every state by every event and checks what must
// hold whatever happens. What it expects is written without the table.
func TestEveryStateAndEvent(t *testing.T) {
	n := 0
	for _, s := range allStates() {
		for _, ev := range allEvents(s.Rules) {
			n++
			got, effects := Step(s, ev, noon)
			for _, fault := range faults(s, ev, got, effects, noon) {
				t.Errorf("%+v\n%+v\n%+v, %v: %s", s, ev, got, effects, fault)
				if t.Failed() {
					return
				}
			}
		}
	}
	if n < 100_000 {
		t.Errorf("only %d steps", n)
	}
}

// faults is what is wrong with a step, by behaviour.md.
func faults(s State, ev Event, got State, effects []Effect, now time.Time) (wrong []string) {
	bad := func(when bool, format string, args ...any) {
		if when {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	has := func(k EffectKind) bool {
		return slices.ContainsFunc(effects, func(e Effect) bool { return e.Kind == k })
	}
	if has(EffectRefused) {
		bad(got != s, "a refused action changed something")
		bad(len(effects) != 1 || effects[0].Reason == "", "a refusal comes alone and says why")
		bad(!slices.Contains([]EventKind{EventStop, EventKill, EventStart}, ev.Kind), "refused")
		bad(s.Rules.Local && s.Link != LinkEnding, "a local worker takes every action")
		return wrong
	}

	// The facts are independent.
	bad(got.Paused != s.Paused && ev.Kind != EventPause && ev.Kind != EventUnpause, "pause has changed")
	bad(ev.Kind == EventPause && !got.Paused.Set() || ev.Kind == EventUnpause && got.Paused.Set(), "pause is not what was asked for")
	bad(got.Graceful != s.Graceful && !slices.Contains([]EventKind{EventStop, EventStart, EventAttached}, ev.Kind), "graceful has changed")
	bad(ev.Kind == EventAttached && (got.Graceful.Set() || got.Link != LinkConnected), "attached anew, not ready")
	bad(got.Link == LinkConnected && s.Link != LinkConnected && ev.Kind != EventAttached && !(ev.Kind == EventResumed && s.Link == LinkHeld), "connected without a connection")

	// Quarantine.
	q, was := got.Quarantine, s.Quarantine
	misbehaved := ev.Kind == EventPrepareFailed || ev.Kind == EventStartFailed ||
		ev.Kind == EventBuildEnded && ev.Result == build.Exception && (ev.Cause == build.CauseWorker || ev.Cause == build.CauseStep)
	misbehaved = misbehaved && !s.Rules.NoQuarantine
	good := ev.Kind == EventBuildEnded && (ev.Result <= build.Failure || ev.Result == build.Skipped)
	entered := misbehaved && was.Phase != QuarantineHeld
	bad(has(QuarantineBegan) != entered, "told of a quarantine: %t", has(QuarantineBegan))
	switch {
	case entered:
		bad(q.Phase != QuarantineHeld || q.Until != now.Add(was.Next) || q.Next != min(2*was.Next, time.Hour), "not quarantined for %s", was.Next)
		bad(q.Reason != ev.Reason || q.Since != now, "without its evidence")
	case good:
		bad(q.Next != 10*time.Second, "a good build does not make the next quarantine short")
		bad(was.Phase == QuarantineHeld && (q.Phase != was.Phase || q.Until != was.Until), "a good build ends a quarantine")
	default:
		bad(q.Next != was.Next, "the delay has changed")
	}
	left := was.Phase == QuarantineHeld && q.Phase != QuarantineHeld
	bad(left && ev.Kind != EventUnpause && !(ev.Kind == EventTimer && !now.Before(was.Until)), "left quarantine")
	bad(left != has(QuarantineEnded), "told of the end of a quarantine: %t", !left)
	bad(ev.Kind == EventUnpause && q.Phase != QuarantineNone, "unpaused, but in %s", q.Phase)
	bad(ev.Kind == EventTimer && left && (q.Phase == QuarantineNone) != s.Rules.NoCanary, "left with the wrong canary")
	testing := was.Phase == QuarantineTesting
	opened := testing && q.Phase == QuarantineNone
	bad(opened && ev.Kind != EventUnpause && ev.Kind != EventConfigured && !(good && ev.Build == was.Canary), "all slots are open without a good canary")
	bad(testing && good && ev.Build == was.Canary && !opened, "a good canary does not open the slots")
	bad(testing && q.Phase == QuarantineTrial && (ev.Build != was.Canary || good || misbehaved), "another canary without a reason")

	// Missing.
	loss := got.Loss
	bad(s.Rules.Local && loss.Phase == LossTold && s.Loss.Phase != LossTold, "a local worker is missing")
	bad(has(WentMissing) != (loss.Phase == LossTold && s.Loss.Phase != LossTold), "told of missing: %t", has(WentMissing))
	deadline := s.Loss.Since.Add(s.Rules.MissingTimeout)
	if d := s.MasterStart.Add(min(s.Rules.MissingTimeout, 5*time.Minute)); d.After(deadline) {
		deadline = d
	}
	due := ev.Kind == EventTimer && s.Loss.Phase == LossOpen && s.Rules.MissingTimeout > 0 && !now.Before(deadline)
	bad(has(WentMissing) != due, "due: %t", due)
	bad(s.Loss.Phase != LossNone && loss.Phase != LossNone && loss.Since != s.Loss.Since, "one loss became another")
	bad(ev.Kind == EventAttached && loss.Phase != LossNone, "attached and lost")
	bad(has(CameBack) != ((ev.Kind == EventAttached || ev.Kind == EventResumed) && s.Loss.Phase == LossTold), "told of a return: %t", has(CameBack))
	if (ev.Kind == EventLost || ev.Kind == EventCut) && s.Loss.Phase == LossNone {
		bad((loss.Phase == LossOpen) == (s.Rules.Local || s.Rules.Latent), "loss of the connection: %s", loss.Phase)
	}

	// Ending.
	ends := has(EffectShutdown)
	idle := got.Builds == 0
	bad(ends && (!idle || !got.Graceful.Set() || !s.Connected() && ev.Kind != EventResumed), "ends while it is wanted")
	if s.Link == LinkConnected && idle && got.Graceful.Set() && (ev.Kind == EventStop && !s.Graceful.Set() || ev.Kind == EventBuildEnded) {
		bad(!ends, "stays though it was told to stop")
	}
	bad(has(EffectKill) != (ev.Kind == EventKill && (s.Connected() || s.Link == LinkHeld)), "kill: %t", has(EffectKill))
	if ev.Kind == EventLost && s.Link == LinkEnding {
		bad((got.Link == LinkStopped) != s.Rules.Local, "%s after its end", got.Link)
	}
	bad(has(EffectAttach) != (ev.Kind == EventStart && s.Link == LinkStopped), "attach: %t", has(EffectAttach))

	// A cut.
	bad((got.Link == LinkHeld) != (s.Link == LinkHeld && !slices.Contains([]EventKind{EventAttached, EventResumed, EventLost, EventKill}, ev.Kind) ||
		s.Link == LinkConnected && ev.Kind == EventCut), "held: %s after %s", got.Link, s.Link)
	bad(ev.Kind == EventCut && (got.Paused != s.Paused || got.Quarantine != s.Quarantine || got.Graceful != s.Graceful), "a cut is held against the worker")

	// What follows from the state.
	takes := got.Link == LinkConnected && !got.Graceful.Set() && !got.Paused.Set() && (q.Phase == QuarantineNone || q.Phase == QuarantineTrial)
	bad(takes != (got.Blocked(now) == ""), "blocked: %q", got.Blocked(now))
	bad(q.Next < 10*time.Second || q.Next > time.Hour, "next quarantine %s", q.Next)
	if at := got.Wake(); !at.IsZero() {
		at = latest(at, now)
		later, _ := Step(got, Event{Kind: EventTimer}, at)
		bad(!later.Wake().IsZero() && !later.Wake().After(at), "the timer of %s does not help", at)
	}
	if got.Facts == s.Facts {
		return wrong
	}
	back, err := DecodeFacts(got.Encode(), now)
	bad(err != nil, "%v", err)
	bad(string(back.Encode()) != string(got.Encode()), "read back as %+v", back)
	return wrong
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
