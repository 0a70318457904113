package api

import (
	"context"
	"slices"
	"time"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// workerRow is a worker: one that is configured has a view, others only a row.
type workerRow struct {
	row  *store.Worker
	view *engine.WorkerView
	n    *names
	now  time.Time
}

var away = worker.State{Link: worker.LinkAway}

func (w *workerRow) state() *worker.State {
	if w.view == nil {
		return &away
	}
	return &w.view.State
}

func (w *workerRow) name() string {
	if w.view == nil {
		return w.row.Name
	}
	return w.view.Name
}

func (w *workerRow) id() int64 {
	if w.view == nil {
		return w.row.ID
	}
	return w.view.ID
}

func (w *workerRow) removed() time.Time {
	if w.view == nil {
		return w.row.Removed
	}
	return w.view.Removed
}

func (w *workerRow) info() worker.Info {
	if w.view == nil || w.view.Info == nil {
		return w.row.Info
	}
	return w.view.Info
}

func (w *workerRow) lastSeen() time.Time {
	switch {
	case w.view == nil:
		return w.row.LastSeen
	case w.view.State.Connected():
		return w.view.State.LinkSince
	}
	return w.view.LastSeen
}

func (w *workerRow) kind() string {
	if w.view == nil {
		return w.row.Kind
	}
	return string(w.view.Kind)
}

func (w *workerRow) maxBuilds() int64 {
	if w.view == nil {
		return 0
	}
	return int64(w.view.MaxBuilds)
}

func (w *workerRow) builds() []int64 {
	if w.view == nil {
		return nil
	}
	return w.view.Builds
}

func (w *workerRow) blocked() string {
	switch {
	case w.view != nil:
		return w.view.Blocked(w.now)
	case w.row.Removed.IsZero():
		return "the master has not begun yet"
	}
	return "it is no longer configured"
}

// workersResource are the fields of a worker. Buildbot: data/workers.py.
func workersResource() *resource[workerRow] {
	return newResource(resource[workerRow]{
		schema: schema{name: "worker", plural: "workers"},
		list:   listWorkers,
		same: func(w *workerRow) rowKey {
			if w.view == nil || w.view.State.Quarantined() { // its text counts down
				return rowKey{}
			}
			return rowKey{w.view, w.n.gen}
		},
		fields: []field[workerRow]{
			{column: column{name: "workerid", kind: integer}, get: func(w *workerRow) value { return num(w.id()) }},
			{column: column{name: "name", kind: text}, get: func(w *workerRow) value { return str(w.name()) }},
			{column: column{name: "paused", kind: boolean}, get: func(w *workerRow) value { return truth(w.state().Paused.Set()) }},
			{column: column{name: "pause_reason", kind: text, null: true}, get: func(w *workerRow) value { return orNull(w.state().Paused.Reason) }},
			{column: column{name: "graceful", kind: boolean}, get: func(w *workerRow) value { return truth(w.state().Graceful.Set()) }},
			{column: column{name: "connected_to", kind: object, doc: "the masters it is connected to"}, put: putConnectedTo},
			{column: column{name: "configured_on", kind: object, doc: "the builders it may run"}, put: putConfiguredOn},
			{column: column{name: "workerinfo", kind: object, doc: "what it said about itself; a list has the most important of it only. os_id, os_id_like, os_version_id and os_version_codename are always there"}, put: putWorkerInfo},

			{column: column{name: "kind", kind: text, new: true, doc: "local, remote, or the driver of a latent worker"}, get: func(w *workerRow) value { return str(w.kind()) }},
			{column: column{name: "link", kind: text, new: true, doc: "away, connected, held (cut off; its builds go on), ending (told to end) or stopped"}, get: func(w *workerRow) value { return str(w.state().Link) }},
			{column: column{name: "connected", kind: boolean, new: true}, get: func(w *workerRow) value { return truth(w.state().Connected()) }},
			{column: column{name: "last_seen", kind: stamp, null: true, new: true, doc: "when it was last connected; while it is, when it connected; null if it never was"}, get: func(w *workerRow) value { return at(w.lastSeen()) }},
			{column: column{name: "configured_at", kind: stamp, null: true, new: true, doc: "when the configuration first named it"}, get: func(w *workerRow) value { return at(w.row.Configured) }},
			{column: column{name: "removed_at", kind: stamp, null: true, new: true, doc: "when the configuration ceased to name it"}, get: func(w *workerRow) value { return at(w.removed()) }},
			{column: column{name: "quarantined", kind: boolean, new: true, doc: "it takes no builds because of what it did"}, get: func(w *workerRow) value { return truth(w.state().Quarantined()) }},
			{column: column{name: "quarantine", kind: object, null: true, new: true, doc: quarantineDoc}, put: putQuarantine},
			{column: column{name: "missing", kind: boolean, new: true, doc: "it was reported as missing, and is still away"}, get: func(w *workerRow) value { return truth(w.state().Missing()) }},
			{column: column{name: "blocked", kind: text, null: true, new: true, doc: "why it takes no builds; null if it does"}, get: func(w *workerRow) value { return orNull(w.blocked()) }},
			{column: column{name: "builds", kind: integers, new: true, doc: "the ids of the builds that run on it, oldest first"}, get: func(w *workerRow) value { return nums(w.builds()) }},
			{column: column{name: "max_builds", kind: integer, null: true, new: true, doc: "how many builds it runs at the same time; null: no limit of its own"}, get: func(w *workerRow) value { return orNone(w.maxBuilds()) }},
			{column: column{name: "marks", kind: object, new: true, doc: marksDoc}, put: putMarks},
		},
	})
}

func putConnectedTo(b []byte, w *workerRow, _ *query) []byte {
	if !w.state().Connected() {
		return append(b, "[]"...)
	}
	return append(b, `[{"masterid":1}]`...)
}

func putConfiguredOn(b []byte, w *workerRow, _ *query) []byte {
	if s, ok := w.n.configuredOn[w.name()]; ok && w.removed().IsZero() {
		return append(b, s...)
	}
	return append(b, "[]"...)
}

// infoKeys are those of workerinfo that are always there: Buildbot's four, and
// what behaviour.md promises of os-release.
var infoKeys = []string{"access_uri", "admin", "host", "version", "os_id", "os_id_like", "os_version_codename", "os_version_id"}

// moreInfo are those that lists have, too. The rest is for who looks at one
// worker: a thousand times the addresses in a distribution's os-release would be
// most of a list.
var moreInfo = []string{"address", "numcpus", "system"}

// putWorkerInfo leaves out what is no plain value: a buildbot-worker reports its
// whole environment and all its commands.
func putWorkerInfo(b []byte, w *workerRow, q *query) []byte {
	info := w.info()
	keys := slices.Clone(infoKeys)
	for k, v := range info {
		switch v.(type) {
		case nil, bool, string, int, int64, float64:
			if !q.list || slices.Contains(moreInfo, k) {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	b = append(b, '{')
	for _, k := range slices.Compact(keys) {
		b = appendMember(b, k)
		switch v := info[k].(type) {
		case nil, bool, string, int, int64, float64:
			b = appendAny(b, v)
		default:
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}

const (
	marksDoc = "what else is so of it, each with since, by and reason: paused; graceful; ended (told to end: it is ending or stopped); " +
		"lost (away though it should be there; report: when that will be, or was, reported)"
	quarantineDoc = "null when it is trusted; else phase (held, trial: the next build runs alone, testing: it runs), since, until, reason (the evidence), " +
		"next (how long the next one lasts, in s), canary (the id of the build that tries it)"
)

// appendMember begins another member of the object that b ends in.
func appendMember(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendString(b, name), ':')
}

// appendMark writes what is between the braces of a mark.
func appendMark(b []byte, m worker.Mark) []byte {
	b = appendValue(appendMember(b, "since"), stamp, at(m.Since))
	b = appendValue(appendMember(b, "by"), text, orNull(m.By))
	return appendValue(appendMember(b, "reason"), text, orNull(m.Reason))
}

// putMarks writes one object with a member for each thing that is so.
func putMarks(b []byte, w *workerRow, _ *query) []byte {
	s := w.state()
	b = append(b, '{')
	for _, m := range []struct {
		name string
		mark worker.Mark
	}{{"ended", s.End}, {"graceful", s.Graceful}, {"paused", s.Paused}} {
		if m.mark.Set() {
			b = append(appendMark(append(appendMember(b, m.name), '{'), m.mark), '}')
		}
	}
	if s.Loss.Phase == worker.LossOpen || s.Missing() {
		report := s.MissingAt()
		if s.Missing() {
			report = s.Loss.Told
		}
		b = appendMark(append(appendMember(b, "lost"), '{'), worker.Mark{Since: s.Loss.Since, Reason: s.Loss.Reason})
		b = append(appendValue(appendMember(b, "report"), stamp, at(report)), '}')
	}
	return append(b, '}')
}

func putQuarantine(b []byte, w *workerRow, _ *query) []byte {
	q := &w.state().Quarantine
	if q.Phase == worker.QuarantineNone || q.Phase == "" {
		return append(b, "null"...)
	}
	b = appendString(appendMember(append(b, '{'), "phase"), q.Phase)
	b = appendValue(appendMember(b, "since"), stamp, at(q.Since))
	b = appendValue(appendMember(b, "until"), stamp, at(q.Until))
	b = appendString(appendMember(b, "reason"), q.Reason)
	b = appendAny(appendMember(b, "next"), int64(q.Next/time.Second))
	return append(appendValue(appendMember(b, "canary"), integer, orNone(q.Canary)), '}')
}

// listWorkers lists what the engine knows: the configured workers with their
// state, the others with what is left of them.
func listWorkers(ctx context.Context, c *call, q *query) (page[workerRow], error) {
	if err := c.parent(ctx); err != nil {
		return page[workerRow]{}, err
	}
	rows := c.a.workerRows()
	if b, err := c.builder(); err == nil && b != nil {
		n := c.a.names()
		rows = slices.DeleteFunc(rows, func(w workerRow) bool {
			return !w.removed().IsZero() || !slices.Contains(n.buildersOf[w.name()], b.ID)
		})
	}
	if w, err := c.worker(); err == nil && w != nil {
		return single(rows, func(r *workerRow) bool { return r.id() == w.ID })
	}
	return page[workerRow]{rows: rows}, nil
}

// workerRows are all workers in the order of their ids.
func (a *API) workerRows() []workerRow {
	n, views, now := a.names(), a.Engine.Workers(), time.Now()
	rows := make([]workerRow, 0, len(n.workers))
	for i := range n.workers {
		w := workerRow{row: &n.workers[i], n: n, now: now}
		for len(views) > 0 && views[0].ID < w.row.ID { // removed since
			views = views[1:]
		}
		if len(views) > 0 && views[0].ID == w.row.ID {
			w.view = views[0]
		}
		rows = append(rows, w)
	}
	return rows
}

// workerOf is a worker as an event has it.
func (a *API) workerOf(v *engine.WorkerView) workerRow {
	return workerRow{view: v, n: a.names(), now: time.Now(), row: &store.Worker{ID: v.ID, Name: v.Name, Configured: v.Configured}}
}
