package api

import (
	"slices"

	"bothy/runner/config"
	"bothy/runner/internal/store"
)

// names are the ids of builders, workers and schedulers, and what follows from
// them and the configuration. A value never changes; a new one is made when the
// engine's lists or the configuration are others.
type names struct {
	gen        uint64 // rises with each new one
	conf       *config.Config
	builders   []store.Builder
	workers    []store.Worker
	schedulers []store.Scheduler

	builderIDs, workerIDs map[string]int64
	builderRows           []builderRow
	configuredOn          map[string]string // worker → JSON of configured_on
	buildersOf            map[string][]int64
}

// names returns what is so now.
func (a *API) names() *names {
	conf, b, w, s := a.config(), a.Engine.Builders(), a.Engine.KnownWorkers(), a.Engine.Schedulers()
	a.namesMu.Lock()
	defer a.namesMu.Unlock()
	n := a.known
	if n == nil || n.conf != conf || !same(n.builders, b) || !same(n.workers, w) || !same(n.schedulers, s) {
		var gen uint64
		if n != nil {
			gen = n.gen + 1
		}
		n = newNames(conf, b, w, s)
		n.gen, a.known = gen, n
	}
	return n
}

// same reports whether two slices are one: the engine replaces its lists, and
// never writes to one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func newNames(conf *config.Config, b []store.Builder, w []store.Worker, s []store.Scheduler) *names {
	n := &names{
		conf: conf, builders: b, workers: w, schedulers: s,
		builderIDs: make(map[string]int64, len(b)), workerIDs: make(map[string]int64, len(w)),
		configuredOn: make(map[string]string, len(w)), buildersOf: map[string][]int64{},
	}
	for i := range w {
		n.workerIDs[w[i].Name] = w[i].ID
	}
	configured := make(map[string]*config.Builder, len(conf.Builders))
	for i := range conf.Builders {
		configured[conf.Builders[i].Name] = &conf.Builders[i]
	}
	for i := range b {
		n.builderIDs[b[i].Name] = b[i].ID
		row := builderRow{Builder: b[i], conf: configured[b[i].Name]}
		n.builderRows = append(n.builderRows, row)
		if row.conf != nil {
			for _, worker := range conf.WorkersOf(b[i].Name) {
				n.buildersOf[worker] = append(n.buildersOf[worker], b[i].ID)
			}
		}
	}
	// Most workers can do the same: they share one text.
	texts := map[string]string{}
	for worker, ids := range n.buildersOf {
		ids = slices.Compact(ids) // in the order of the rows, which is that of the ids
		n.buildersOf[worker] = ids
		var key, text []byte
		for i, id := range ids {
			key = append(appendAny(key, id), ',')
			if i > 0 {
				text = append(text, ',')
			}
			text = append(text, `{"builderid":`...)
			text = appendAny(text, id)
			text = append(text, `,"masterid":1}`...)
		}
		if _, ok := texts[string(key)]; !ok {
			texts[string(key)] = "[" + string(text) + "]"
		}
		n.configuredOn[worker] = texts[string(key)]
	}
	return n
}

// builderName returns the name of a builder, "" if there is none of that id.
func (n *names) builderName(id int64) string {
	i, ok := slices.BinarySearchFunc(n.builders, id, func(b store.Builder, id int64) int { return int(b.ID - id) })
	if !ok {
		return ""
	}
	return n.builders[i].Name
}
