package web

import (
	"cmp"
	"context"
	"slices"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

func (s *Web) homePages() []page {
	return []page{{
		path: "/{$}", name: "home", nav: "Home", key: "h",
		show: func(c *call) (any, error) { return &home{call: c}, nil },
	}}
}

// How many of each Home shows.
const (
	homeRunning = 40
	homeWaiting = 15
	homeBroken  = 8
	// maxLine is how much of a line of output is shown, in bytes.
	maxLine = 300
)

// home is what goes on at present.
type home struct{ *call }

// Heading is the title of the page.
func (*home) Heading() string { return "Home" }

// load is how much of the machine is in use.
type load struct {
	Slots, Busy int // builds on this machine
	Elsewhere   int // builds on other workers
	Waiting     int64
	CPUs        float64
	Memory      int64
	Blocked     string
}

// Boxes are the slots as they are drawn: one for each, but not too many.
func (l load) Boxes() []bool {
	const most = 64
	boxes := make([]bool, min(l.Slots, most))
	for i := range boxes {
		boxes[i] = i < l.Busy
	}
	return boxes
}

// Load is the machine beside what runs on it.
func (h *home) Load() (load, error) {
	m := h.s.Machine()
	l := load{Slots: m.Slots, CPUs: m.CPUs, Memory: m.Memory, Blocked: m.Blocked}
	for _, v := range h.s.Engine.Workers() {
		if v.State.Rules.Local {
			l.Busy += len(v.Builds)
		} else {
			l.Elsewhere += len(v.Builds)
		}
	}
	p, err := h.s.Store.SelectRequests(h.ctx(), store.Select{Where: []store.Cond{{Field: "claimed", Op: store.Eq, Values: []any{false}}}})
	l.Waiting = p.Total
	return l, err
}

// runningBuild is a build that runs now.
type runningBuild struct {
	store.ListedBuild
	Step     store.Step
	Steps    int           // that have begun
	Expected time.Duration // in all; 0: not known
	Last     string        // line of its output
}

// End is when the build is expected to end, zero if that is not known.
func (b *runningBuild) End() time.Time {
	if b.Expected == 0 {
		return time.Time{}
	}
	return b.Started.Add(b.Expected)
}

// Share is how much of the expected time has passed, at most 0.98: it has not
// ended.
func (b *runningBuild) Share() float64 {
	return min(float64(time.Since(b.Started))/float64(max(b.Expected, 1)), 0.98)
}

// some is the beginning of a longer list.
type some[T any] struct {
	Rows  []T
	Total int64
	Least bool // there are more than Total
}

// More is how many are not shown.
func (s some[T]) More() int64 { return s.Total - int64(len(s.Rows)) }

// Running are the builds that run, the oldest first.
func (h *home) Running() (some[runningBuild], error) { return h.s.runningBuilds(h.ctx(), homeRunning) }

// runningBuilds are builds that run and for which all of where is so, the oldest
// first.
func (s *Web) runningBuilds(ctx context.Context, limit int, where ...store.Cond) (some[runningBuild], error) {
	p, err := s.Store.SelectBuilds(ctx, store.Select{Where: append(where, is("complete", false)), Limit: limit})
	all := some[runningBuild]{Total: p.Total, Least: p.AtLeast}
	if err != nil {
		return all, err
	}
	expected := map[string]time.Duration{}
	for _, row := range p.Rows {
		b := runningBuild{ListedBuild: row}
		if _, known := expected[b.Builder]; !known && b.Builder != engine.Command {
			past, err := s.Store.History(ctx, b.Builder, "")
			if err != nil {
				return all, err
			}
			expected[b.Builder] = past.Build
		}
		b.Expected = expected[b.Builder]
		steps, err := s.Store.Steps(ctx, b.ID)
		if err != nil {
			return all, err
		}
		if b.Steps = len(steps); b.Steps > 0 {
			b.Step = steps[b.Steps-1]
		}
		b.Last = s.lastLine(ctx, b.ID, b.Step.Number)
		all.Rows = append(all.Rows, b)
	}
	return all, nil
}

// lastLine is the last line of output of a step, "" if there is none.
func (s *Web) lastLine(ctx context.Context, buildID int64, step int) string {
	all, err := s.Store.Logs(ctx, buildID)
	if err != nil {
		return ""
	}
	for _, l := range slices.Backward(all) {
		if l.Step != step {
			continue
		}
		r, err := s.Logs.Reader(l.ID, "")
		if err != nil {
			continue
		}
		lines, err := r.Tail(1, worker.Stdout, worker.Stderr)
		if err = cmp.Or(err, r.Close()); err == nil && len(lines) > 0 {
			return shorten(logs.LastVisible(lines[0].Text), maxLine)
		}
	}
	return ""
}

// waiting is a request that waits for a worker.
type waiting struct {
	store.ListedRequest
	Why []reasons
}

// Waiting are the requests that wait, in the order of their coming, with the
// reasons.
func (h *home) Waiting() (some[waiting], error) { return h.s.waitingRequests(h.ctx(), 0, homeWaiting) }

// waitingRequests are requests that wait and for which all of where is so, in
// their order, with the reasons; the first ones are passed over.
func (s *Web) waitingRequests(ctx context.Context, from, limit int, where ...store.Cond) (some[waiting], error) {
	p, err := s.Store.SelectRequests(ctx, store.Select{
		Where: append(where, is("claimed", false)),
		Order: []store.Sort{{Field: "priority", Desc: true}, {Field: "buildrequestid"}}, Offset: from, Limit: limit,
	})
	all := some[waiting]{Total: p.Total, Least: p.AtLeast}
	for _, row := range p.Rows {
		why, err := s.why(ctx, row.ID)
		if err != nil {
			return all, err
		}
		all.Rows = append(all.Rows, waiting{row, why})
	}
	return all, err
}

// Broken are the last builds that went wrong, the newest first; of a builder
// only one.
func (h *home) Broken() ([]store.ListedBuild, error) {
	p, err := h.s.Store.SelectBuilds(h.ctx(), store.Select{
		Where: []store.Cond{{Field: "results", Op: store.In, Values: []any{int64(build.Failure), int64(build.Exception)}}},
		Order: []store.Sort{{Field: "buildid", Desc: true}}, Limit: 5 * homeBroken,
	})
	var last []store.ListedBuild
	seen := map[string]bool{}
	for _, b := range p.Rows {
		if !seen[b.Builder] && len(last) < homeBroken {
			seen[b.Builder] = true
			last = append(last, b)
		}
	}
	return last, err
}

// Care are the workers that somebody should look after.
func (h *home) Care() []workerRow {
	var rows []workerRow
	for _, v := range h.s.Engine.Workers() {
		if w := h.workerRow(v, store.Worker{}); w.State.Bad {
			rows = append(rows, w)
		}
	}
	return rows
}

// Workers is how many there are.
func (h *home) Workers() int { return len(h.s.Engine.Workers()) }
