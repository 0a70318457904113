package web

import (
	"fmt"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// What the journal says of a worker becomes stretches of time, also where it
// begins or ends within a state.
func TestTimelineBars(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(minute int) time.Time { return now.Add(time.Duration(minute-100) * time.Minute) }
	line := &timeline{From: at(0), Now: now} // a minute is 10 wide
	paused := fact{name: "paused", class: "paused", begins: []worker.EffectKind{worker.PauseBegan}, ends: []worker.EffectKind{worker.PauseEnded}}
	entry := func(minute int, what worker.EffectKind) store.Entry {
		return store.Entry{Time: at(minute), What: string(what)}
	}
	for name, c := range map[string]struct {
		entries []store.Entry
		now     bool
		since   time.Time
		want    string
	}{
		"never":           {want: ""},
		"once":            {entries: []store.Entry{entry(10, worker.PauseBegan), entry(20, worker.PauseEnded)}, want: "100+100 "},
		"from before":     {entries: []store.Entry{entry(20, worker.PauseEnded)}, want: "0+200 "},
		"until now":       {entries: []store.Entry{entry(90, worker.PauseBegan)}, now: true, since: at(90), want: "900+100 "},
		"all the time":    {now: true, since: at(-500), want: "0+1000 "},
		"said again":      {entries: []store.Entry{entry(10, worker.PauseBegan), entry(15, worker.PauseBegan), entry(20, worker.PauseEnded)}, want: "100+100 "},
		"twice, and else": {entries: []store.Entry{entry(10, worker.PauseBegan), entry(11, worker.Connected), entry(20, worker.PauseEnded), entry(30, worker.PauseBegan), entry(40, worker.PauseEnded)}, want: "100+100 300+100 "},
		"ended twice":     {entries: []store.Entry{entry(10, worker.PauseEnded), entry(20, worker.PauseEnded)}, want: "0+100 "},
		"very short":      {entries: []store.Entry{entry(10, worker.PauseBegan), entry(10, worker.PauseEnded)}, want: "100+1.5 "},
	} {
		f := paused
		f.now, f.since = c.now, c.since
		got := ""
		for _, b := range line.bars(f, c.entries) {
			got += fmt.Sprintf("%g+%g ", b.X, b.Width)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	one := func(id int64, from, to int) store.ListedBuild {
		b := store.ListedBuild{Build: store.Build{ID: id, Number: id, Builder: "b", Started: at(from), Result: build.Success}}
		if to != 0 {
			b.Completed = at(to)
		} else {
			b.Result = build.None
		}
		return b
	}
	line.addBuilds([]store.ListedBuild{one(4, 90, 0), one(3, 45, 60), one(2, 10, 50), one(1, 0, 20), one(5, -50, -20)})
	got := ""
	for _, l := range line.Lanes {
		for _, b := range l.Bars {
			got += fmt.Sprintf("%d:%s ", b.Number, b.Class)
		}
		got += "| "
	}
	if want := "1:success 3:success 4:running | 2:success | "; got != want {
		t.Errorf("builds %q, want %q", got, want)
	}
}

func TestSpanOf(t *testing.T) {
	for _, c := range []struct {
		name string
		age  time.Duration
		want time.Duration
	}{
		{"", time.Minute, time.Hour}, {"", 3 * time.Hour, 6 * time.Hour}, {"", 1000 * time.Hour, 24 * time.Hour},
		{"7d", time.Minute, 7 * 24 * time.Hour}, {"6h", 1000 * time.Hour, 6 * time.Hour}, {"nonsense", 0, time.Hour},
	} {
		if got := spanOf(c.name, c.age); got != c.want {
			t.Errorf("%q at %s: %s, want %s", c.name, c.age, got, c.want)
		}
	}
}
