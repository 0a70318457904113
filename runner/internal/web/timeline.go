package web

import (
	"cmp"
	"slices"
	"time"

	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// spans are the lengths of time that a timeline can show.
var spans = []struct {
	Name string
	Time time.Duration
}{{"1h", time.Hour}, {"6h", 6 * time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

const (
	// timelineWidth is how wide a timeline is drawn; it is stretched to its place.
	timelineWidth   = 1000
	timelineEntries = 500
	timelineBuilds  = 500
	maxLanes        = 8
)

// spanOf is the length of time of that name; without one the shortest that holds
// all there is to know of a worker of that age, but not more than a day.
func spanOf(name string, age time.Duration) time.Duration {
	for _, s := range spans {
		if s.Name == name || name == "" && (age <= s.Time || s.Time == 24*time.Hour) {
			return s.Time
		}
	}
	return spans[0].Time
}

// stretch is a piece of time in a lane.
type stretch struct {
	X, Width float64
	Class    string
	Text     string
	Builder  string // of a build
	Number   int64
}

// lane is one row of a timeline.
type lane struct {
	Name string
	Y    int
	Bars []stretch
}

// timeline is what happened to a worker in the time before now.
type timeline struct {
	From, Now time.Time
	Lanes     []lane
	Height    int
	Ticks     []mile
}

type mile struct {
	X    float64
	Time time.Time
}

// Spans are the names of the lengths of time, with the one that is shown.
func (p *workerPage) Spans() []navItem {
	var all []navItem
	for _, s := range spans {
		all = append(all, navItem{Name: s.Name, Here: s.Time == p.Span})
	}
	return all
}

// Timeline draws the states and the builds of the worker.
func (p *workerPage) Timeline() (*timeline, error) {
	t := &timeline{Now: p.Now, From: p.Now.Add(-p.Span)}
	page, err := p.s.Store.SelectJournal(p.ctx(), store.Select{
		Where: []store.Cond{
			is("kind", "worker"), is("name", p.Name), {Field: "time", Op: store.Ge, Values: []any{t.From.Unix()}},
		},
		Order: []store.Sort{{Field: "entryid", Desc: true}}, Limit: timelineEntries,
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(page.Rows)
	var s worker.State
	if p.view != nil {
		s = p.view.State
	}
	for _, f := range []fact{
		{"state", "connected", []worker.EffectKind{worker.Connected, worker.StartedAgain}, []worker.EffectKind{worker.Disconnected, worker.EndedOnPurpose}, s.Connected(), s.LinkSince},
		{"missing", "missing", []worker.EffectKind{worker.WentMissing}, []worker.EffectKind{worker.CameBack}, s.Missing(), s.Loss.Since},
		{"paused", "paused", []worker.EffectKind{worker.PauseBegan}, []worker.EffectKind{worker.PauseEnded}, s.Paused.Set(), s.Paused.Since},
		{"quarantine", "quarantined", []worker.EffectKind{worker.QuarantineBegan}, []worker.EffectKind{worker.QuarantineEnded, worker.CanaryEnded}, s.Quarantined(), s.Quarantine.Since},
	} {
		if bars := t.bars(f, page.Rows); len(bars) > 0 || f.name == "state" {
			t.Lanes = append(t.Lanes, lane{Name: f.name, Bars: bars})
		}
	}
	builds, err := p.s.Store.SelectBuilds(p.ctx(), store.Select{
		Where: []store.Cond{is("worker", p.Name)},
		Order: []store.Sort{{Field: "buildid", Desc: true}}, Limit: timelineBuilds,
	})
	if err != nil {
		return nil, err
	}
	t.addBuilds(builds.Rows)
	const row = 16
	for i := range t.Lanes {
		t.Lanes[i].Y = i * row
	}
	t.Height = len(t.Lanes) * row
	for i := range 5 {
		at := t.From.Add(p.Span * time.Duration(i) / 4)
		t.Ticks = append(t.Ticks, mile{t.x(at), at})
	}
	return t, nil
}

// x is where a moment is drawn.
func (t *timeline) x(at time.Time) float64 {
	share := float64(at.Sub(t.From)) / float64(t.Now.Sub(t.From))
	return float64(int(min(max(share, 0), 1)*timelineWidth*10)) / 10
}

// stretch is the piece from one moment to another, wide enough to be seen.
func (t *timeline) stretch(from, to time.Time, class, text string) stretch {
	x := t.x(from)
	return stretch{X: x, Width: max(t.x(to)-x, 1.5), Class: class, Text: text}
}

// fact is something that is so of a worker from one kind of line in the journal
// to another.
type fact struct {
	name, class string
	begins      []worker.EffectKind
	ends        []worker.EffectKind
	now         bool // it is so
	since       time.Time
}

// bars are the times in which it was so.
func (t *timeline) bars(f fact, entries []store.Entry) []stretch {
	var all []stretch
	var from time.Time
	known := false // what came before the first line is told by that line
	for _, e := range entries {
		what := worker.EffectKind(e.What)
		switch {
		case slices.Contains(f.begins, what):
			if from.IsZero() {
				from = e.Time
			}
		case slices.Contains(f.ends, what):
			if from.IsZero() && !known {
				from = t.From
			}
			if !from.IsZero() {
				all = append(all, t.stretch(from, e.Time, f.class, f.class))
			}
			from = time.Time{}
		default:
			continue
		}
		known = true
	}
	if f.now {
		if from.IsZero() {
			from = f.since
		}
		all = append(all, t.stretch(from, t.Now, f.class, f.class))
	}
	return all
}

// addBuilds gives each build the first lane that is free when it starts.
func (t *timeline) addBuilds(builds []store.ListedBuild) {
	slices.SortFunc(builds, func(a, b store.ListedBuild) int { return cmp.Compare(a.Started.UnixNano(), b.Started.UnixNano()) })
	var free []time.Time
	first := len(t.Lanes)
	for _, b := range builds {
		end, class := b.Completed, b.Result.String()
		if end.IsZero() {
			end, class = t.Now, "running"
		}
		if end.Before(t.From) {
			continue
		}
		i := slices.IndexFunc(free, func(at time.Time) bool { return !at.After(b.Started) })
		if i < 0 {
			if len(free) >= maxLanes {
				continue
			}
			free = append(free, time.Time{})
			i = len(free) - 1
			t.Lanes = append(t.Lanes, lane{Name: "builds"})
			if i > 0 {
				t.Lanes[first+i].Name = ""
			}
		}
		free[i] = end
		d := t.stretch(b.Started, end, class, b.Builder)
		d.Builder, d.Number = b.Builder, b.Number
		t.Lanes[first+i].Bars = append(t.Lanes[first+i].Bars, d)
	}
}
