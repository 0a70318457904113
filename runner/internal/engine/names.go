package engine

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/store"
)

// names are the ids of workers, builders and schedulers. They stay for ever,
// also when the configuration no longer names them.
type names struct {
	workers    atomic.Pointer[[]store.Worker]
	builders   atomic.Pointer[[]store.Builder]
	schedulers atomic.Pointer[[]store.Scheduler]
}

// registry is the loop's side of names.
type registry struct {
	workers    map[string]*store.Worker // of those without a workerState as of the last change
	builders   map[string]*store.Builder
	schedulers map[string]*store.Scheduler

	nextWorker, nextBuilder, nextScheduler int64
}

func newRegistry(rec store.Recovered) registry {
	g := registry{
		workers: map[string]*store.Worker{}, builders: map[string]*store.Builder{}, schedulers: map[string]*store.Scheduler{},
		nextWorker: max(1, rec.NextWorker), nextBuilder: max(1, rec.NextBuilder), nextScheduler: max(1, rec.NextScheduler),
	}
	for i := range rec.Workers {
		g.workers[rec.Workers[i].Name] = &rec.Workers[i]
	}
	for i := range rec.Builders {
		g.builders[rec.Builders[i].Name] = &rec.Builders[i]
	}
	for i := range rec.Schedulers {
		g.schedulers[rec.Schedulers[i].Name] = &rec.Schedulers[i]
	}
	return g
}

// register gives ids to the names of a configuration and notes which names have
// left it. A terminal's master only adds names: its file is one of many.
func (l *loop) register(conf *config.Config, now time.Time) {
	g := &l.registry
	seen := map[string]bool{}
	for _, w := range conf.AllWorkers() {
		seen[w.Name] = true
		l.registerWorker(w.Name, w.Kind, now)
	}
	for name, row := range g.workers {
		if !seen[name] && row.Removed.IsZero() && !l.opt.Foreground {
			row.Removed = now
			l.batch.PutWorker(row)
		}
	}
	clear(seen)
	for i := range conf.Builders {
		seen[conf.Builders[i].Name] = true
		l.registerBuilder(&conf.Builders[i], now)
	}
	for name, row := range g.builders {
		if !seen[name] && name != Command && row.Removed.IsZero() && !l.opt.Foreground {
			row.Removed = now
			l.batch.PutBuilder(row)
		}
	}
	for i := range conf.Schedulers {
		name := conf.Schedulers[i].Name
		if g.schedulers[name] == nil {
			g.schedulers[name] = &store.Scheduler{ID: g.nextScheduler, Name: name, Enabled: true}
			g.nextScheduler++
			l.batch.PutScheduler(g.schedulers[name])
		}
	}
	l.publishNames()
}

func (l *loop) registerWorker(name string, kind config.WorkerKind, now time.Time) {
	g := &l.registry
	row := g.workers[name]
	switch {
	case row == nil:
		row = &store.Worker{ID: g.nextWorker, Name: name, Kind: string(kind), Configured: now}
		g.nextWorker++
		g.workers[name] = row
	case l.opt.Foreground:
		return
	case !row.Removed.IsZero(), row.Kind != string(kind):
		row.Removed, row.Kind = time.Time{}, string(kind)
		anew(row, now)
	default:
		return
	}
	l.batch.PutWorker(row)
}

// anew makes a worker that was removed and comes back, or is of another kind
// now, a new one but for its id and what people said of it.
func anew(row *store.Worker, now time.Time) {
	row.Configured, row.LastSeen, row.Info = now, time.Time{}, nil
}

func (l *loop) registerBuilder(b *config.Builder, now time.Time) {
	g := &l.registry
	row := g.builders[b.Name]
	switch {
	case row == nil:
		row = &store.Builder{ID: g.nextBuilder, Name: b.Name, Configured: now}
		g.nextBuilder++
		g.builders[b.Name] = row
	case l.opt.Foreground:
		return
	case !row.Removed.IsZero():
		row.Removed = time.Time{}
	case row.Description == b.Description && slices.Equal(row.Tags, b.Tags):
		return
	}
	row.Description, row.Tags = b.Description, b.Tags
	l.batch.PutBuilder(row)
}

// registerCommand gives the builder of ad-hoc commands its id when it is first
// used.
func (l *loop) registerCommand(now time.Time) {
	if l.registry.builders[Command] == nil {
		l.registerBuilder(&config.Builder{Name: Command}, now)
		l.publishNames()
	}
}

// publishNames makes the rows known to readers.
func (l *loop) publishNames() {
	g := &l.registry
	workers := rowsByID(g.workers, func(r *store.Worker) int64 { return r.ID })
	builders := rowsByID(g.builders, func(r *store.Builder) int64 { return r.ID })
	schedulers := rowsByID(g.schedulers, func(r *store.Scheduler) int64 { return r.ID })
	l.e.names.workers.Store(&workers)
	l.e.names.builders.Store(&builders)
	l.e.names.schedulers.Store(&schedulers)
}

// rowsByID are copies of the rows, sorted.
func rowsByID[T any](m map[string]*T, id func(*T) int64) []T {
	rows := make([]T, 0, len(m))
	for _, r := range slices.SortedFunc(maps.Values(m), func(a, b *T) int { return int(id(a) - id(b)) }) {
		rows = append(rows, *r)
	}
	return rows
}
