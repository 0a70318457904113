package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/worker"
)

// What is so of a worker, the most important thing first, and what can be done
// about it.
func TestStateOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := now.Add(-time.Hour)
	local := worker.Rules{Local: true}
	by := worker.Mark{Since: ago, By: "ana", Reason: "disk"}
	quarantine := func(phase worker.QuarantinePhase) worker.Facts {
		return worker.Facts{Quarantine: worker.Quarantine{Phase: phase, Since: ago, Until: now.Add(time.Minute), Reason: "step 'x'"}}
	}
	for name, c := range map[string]struct {
		view  *engine.WorkerView
		marks string
		bad   bool
		can   string
	}{
		"gone":    {nil, "not configured", false, ""},
		"removed": {&engine.WorkerView{Removed: ago}, "not configured", false, ""},
		"well":    {view(worker.State{Rules: local, Link: worker.LinkConnected, LinkSince: ago}), "connected", false, "pause stop kill"},
		"paused": {
			view(worker.State{Rules: local, Link: worker.LinkConnected, Facts: worker.Facts{Paused: by}}),
			"paused by ana: disk, connected", true, "unpause stop kill",
		},
		"quarantined": {
			view(worker.State{Rules: local, Link: worker.LinkConnected, Facts: quarantine(worker.QuarantineHeld)}),
			"quarantined: step 'x', connected", true, "pause unpause stop kill",
		},
		"canary next": {
			view(worker.State{Rules: local, Link: worker.LinkConnected, Facts: quarantine(worker.QuarantineTrial)}),
			"canary next: step 'x', connected", true, "pause unpause stop kill",
		},
		"canary": {
			view(worker.State{Rules: local, Link: worker.LinkConnected, Builds: 1, Facts: quarantine(worker.QuarantineTesting)}),
			"canary runs: step 'x', connected", true, "pause unpause stop kill",
		},
		"graceful": {
			view(worker.State{Rules: local, Link: worker.LinkConnected, Builds: 1, Facts: worker.Facts{Graceful: by}}),
			"graceful by ana: disk, connected", false, "pause kill start",
		},
		"ending":     {view(worker.State{Link: worker.LinkEnding, End: by}), "ending by ana: disk", false, "pause kill"},
		"stopped":    {view(worker.State{Rules: local, Link: worker.LinkStopped, End: by}), "stopped by ana: disk", false, "pause start"},
		"away":       {view(worker.State{Link: worker.LinkAway, Why: "EOF"}), "offline: EOF", true, "pause"},
		"latent":     {view(worker.State{Link: worker.LinkAway, Rules: worker.Rules{Latent: true}}), "offline", false, "pause"},
		"missing":    {view(worker.State{Link: worker.LinkAway, Facts: worker.Facts{Loss: worker.Loss{Phase: worker.LossTold, Since: ago, Reason: "EOF"}}}), "missing: EOF", true, "pause"},
		"cut off":    {view(worker.State{Link: worker.LinkHeld, LinkSince: ago, HeldUntil: now}), "cut off", true, "pause stop kill"},
		"everything": {view(worker.State{Link: worker.LinkAway, Facts: worker.Facts{Paused: by, Loss: worker.Loss{Phase: worker.LossTold, Since: ago}}}), "missing, paused by ana: disk", true, "unpause"},
	} {
		t.Run(name, func(t *testing.T) {
			st := stateOf(c.view)
			var marks []string
			for _, m := range st.Marks {
				s := m.Word
				if m.By != "" {
					s += " by " + m.By
				}
				if m.Reason != "" {
					s += ": " + m.Reason
				}
				marks = append(marks, s)
			}
			if got := strings.Join(marks, ", "); got != c.marks || st.Bad != c.bad {
				t.Errorf("%q, bad %v; want %q, %v", got, st.Bad, c.marks, c.bad)
			}
			if got := strings.Trim(fmt.Sprint(sensible(c.view, now)), "[]"); got != c.can {
				t.Errorf("can be done: %q, want %q", got, c.can)
			}
		})
	}
}

// view is what others see of a worker in a state.
func view(s worker.State) *engine.WorkerView {
	full := worker.NewState(s.Facts)
	s.Facts = full.Facts
	return &engine.WorkerView{Name: "w", State: s}
}
