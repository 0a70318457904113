package api

import (
	"context"
	"slices"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/store"
)

// builderRow is a builder; conf is nil for one that is no longer configured.
type builderRow struct {
	store.Builder
	conf *config.Builder
}

// buildersResource are the fields of a builder. Buildbot: data/builders.py.
func buildersResource() *resource[builderRow] {
	return newResource(resource[builderRow]{
		schema: schema{name: "builder", plural: "builders"},
		list:   listBuilders,
		fields: []field[builderRow]{
			{column: column{name: "builderid", kind: integer}, get: func(b *builderRow) value { return num(b.ID) }},
			{column: column{name: "name", kind: text}, get: func(b *builderRow) value { return str(b.Name) }},
			{column: column{name: "masterids", kind: integers, doc: "empty: it is no longer configured"}, get: func(b *builderRow) value {
				if b.conf == nil {
					return nums(nil)
				}
				return nums([]int64{masterID})
			}},
			{column: column{name: "description", kind: text, null: true}, get: func(b *builderRow) value { return orNull(b.Description) }},
			{column: column{name: "description_format", kind: text, null: true}, get: func(*builderRow) value { return null }},
			{column: column{name: "description_html", kind: text, null: true}, get: func(*builderRow) value { return null }},
			{column: column{name: "projectid", kind: integer, null: true}, get: func(*builderRow) value { return null }},
			{column: column{name: "tags", kind: texts}, get: func(b *builderRow) value { return strs(b.Tags) }},
			{column: column{name: "configured_at", kind: stamp, null: true, new: true}, get: func(b *builderRow) value { return at(b.Configured) }},
			{column: column{name: "removed_at", kind: stamp, null: true, new: true}, get: func(b *builderRow) value { return at(b.Removed) }},
			{column: column{name: "priority", kind: integer, null: true, new: true, doc: "of requests that do not say"}, get: func(b *builderRow) value {
				if b.conf == nil {
					return null
				}
				return num(b.conf.Priority)
			}},
			{column: column{name: "cpus", kind: object, null: true, new: true, doc: "what one build needs"}, put: func(j []byte, b *builderRow, _ *query) []byte {
				if b.conf == nil {
					return append(j, "null"...)
				}
				return appendAny(j, b.conf.CPUs)
			}},
			{column: column{name: "memory", kind: integer, null: true, new: true, doc: "bytes one build needs; null: learned from history"}, get: func(b *builderRow) value {
				if b.conf == nil {
					return null
				}
				return orNone(b.conf.Memory)
			}},
			{column: column{name: "steps", kind: texts, new: true, doc: "the names of its steps"}, get: func(b *builderRow) value {
				var names []string
				if b.conf != nil {
					for i := range b.conf.Steps {
						names = append(names, b.conf.Steps[i].Name)
					}
				}
				return strs(names)
			}},
		},
	})
}

func listBuilders(ctx context.Context, c *call, _ *query) (page[builderRow], error) {
	n := c.a.names()
	if err := c.parent(ctx); err != nil {
		return page[builderRow]{}, err
	}
	if b, err := c.builder(); err == nil && b != nil {
		return single(n.builderRows, func(r *builderRow) bool { return r.ID == b.ID })
	}
	w, err := c.worker()
	if w == nil {
		return page[builderRow]{rows: n.builderRows}, err
	}
	ids := n.buildersOf[w.Name]
	var rows []builderRow
	for _, r := range n.builderRows {
		if slices.Contains(ids, r.ID) {
			rows = append(rows, r)
		}
	}
	return page[builderRow]{rows: rows}, nil
}

// masterRow is this master.
type masterRow struct {
	name    string
	began   time.Time
	version string
	machine Machine
}

// mastersResource are the fields of a master. Buildbot: data/masters.py.
func mastersResource() *resource[masterRow] {
	return newResource(resource[masterRow]{
		schema: schema{name: "master", plural: "masters"},
		fields: []field[masterRow]{
			{column: column{name: "masterid", kind: integer}, get: func(*masterRow) value { return num(masterID) }},
			{column: column{name: "name", kind: text, doc: "HOST:BASEDIR"}, get: func(m *masterRow) value { return str(m.name) }},
			{column: column{name: "active", kind: boolean}, get: func(*masterRow) value { return truth(true) }},
			{column: column{name: "last_active", kind: stamp}, get: func(*masterRow) value { return at(time.Now()) }},
			{column: column{name: "started_at", kind: stamp, new: true}, get: func(m *masterRow) value { return at(m.began) }},
			{column: column{name: "version", kind: text, new: true}, get: func(m *masterRow) value { return str(m.version) }},
			{column: column{name: "resources", kind: object, new: true, doc: "what its machine grants to in-process workers: slots, cpus, memory (bytes), blocked (why none may start a build, or null)"}, put: func(b []byte, m *masterRow, _ *query) []byte {
				b = append(b, `{"blocked":`...)
				b = appendValue(b, text, orNull(m.machine.Blocked))
				b = append(b, `,"cpus":`...)
				b = appendAny(b, m.machine.CPUs)
				b = append(b, `,"memory":`...)
				b = appendAny(b, m.machine.Memory)
				b = append(b, `,"slots":`...)
				b = appendAny(b, m.machine.Slots)
				return append(b, '}')
			}},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[masterRow], error) {
			return page[masterRow]{rows: []masterRow{{c.a.Master, c.a.began, c.a.Version, c.a.Machine()}}}, c.parent(ctx)
		},
	})
}

// schedulerRow is a scheduler; conf is nil for one that is no longer configured.
type schedulerRow struct {
	store.Scheduler
	conf *config.Scheduler
}

// schedulersResource are the fields of a scheduler. Buildbot: data/schedulers.py.
func schedulersResource() *resource[schedulerRow] {
	return newResource(resource[schedulerRow]{
		schema: schema{name: "scheduler", plural: "schedulers"},
		fields: []field[schedulerRow]{
			{column: column{name: "schedulerid", kind: integer}, get: func(s *schedulerRow) value { return num(s.ID) }},
			{column: column{name: "name", kind: text}, get: func(s *schedulerRow) value { return str(s.Name) }},
			{column: column{name: "enabled", kind: boolean}, get: func(s *schedulerRow) value { return truth(s.Enabled) }},
			{column: column{name: "master", kind: object, null: true, doc: "null: it is no longer configured"}, put: func(b []byte, s *schedulerRow, _ *query) []byte {
				if s.conf == nil {
					return append(b, "null"...)
				}
				return append(b, `{"active":true,"masterid":1}`...)
			}},
			{column: column{name: "kind", kind: text, null: true, new: true}, get: func(s *schedulerRow) value {
				if s.conf == nil {
					return null
				}
				return str(s.conf.Kind)
			}},
			{column: column{name: "builders", kind: texts, new: true, doc: "the names of the builders it asks for builds of"}, get: func(s *schedulerRow) value {
				if s.conf == nil {
					return strs(nil)
				}
				return strs(s.conf.Builders)
			}},
			{column: column{name: "changed_at", kind: stamp, null: true, new: true, doc: "when it was last enabled or disabled"}, get: func(s *schedulerRow) value { return at(s.Changed) }},
			{column: column{name: "changed_by", kind: text, null: true, new: true}, get: func(s *schedulerRow) value { return orNull(s.Who) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[schedulerRow], error) {
			if err := c.parent(ctx); err != nil {
				return page[schedulerRow]{}, err
			}
			rows := c.a.schedulerRows()
			if id, ok := c.args.number("schedulerid"); ok {
				return single(rows, func(s *schedulerRow) bool { return s.ID == id })
			}
			return page[schedulerRow]{rows: rows}, nil
		},
	})
}

func (a *API) schedulerRows() []schedulerRow {
	n := a.names()
	rows := make([]schedulerRow, 0, len(n.schedulers))
	for _, s := range n.schedulers {
		rows = append(rows, schedulerRow{s, n.scheduler(s.Name)})
	}
	return rows
}

// scheduler returns the configured scheduler of that name, nil if there is none.
func (n *names) scheduler(name string) *config.Scheduler {
	for i := range n.conf.Schedulers {
		if n.conf.Schedulers[i].Name == name {
			return &n.conf.Schedulers[i]
		}
	}
	return nil
}
