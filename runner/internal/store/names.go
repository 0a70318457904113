package store

import "fmt"

const putWorker = `INSERT INTO workers (id, name, kind, configured, removed, last_seen, state, info)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, configured = excluded.configured, removed = excluded.removed,
	last_seen = excluded.last_seen, state = excluded.state, info = excluded.info
	WHERE workers.name = excluded.name
	ON CONFLICT (name) DO NOTHING`

func (w *writer) worker(r *workerRow) error {
	n, err := w.s.exec1(w.ctx, putWorker, r.ID, r.Name, r.Kind, nanos(r.Configured), nanos(r.Removed), nanos(r.LastSeen), r.State, r.info)
	if err != nil {
		return fmt.Errorf("worker %s: %w", r.Name, err)
	}
	return w.named(n, "worker", "workers", r.ID, r.Name)
}

const putBuilder = `INSERT INTO builders (id, name, configured, removed, description, tags)
	VALUES (?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET configured = excluded.configured, removed = excluded.removed,
	description = excluded.description, tags = excluded.tags
	WHERE builders.name = excluded.name
	ON CONFLICT (name) DO NOTHING`

func (w *writer) builder(r *builderRow) error {
	n, err := w.s.exec1(w.ctx, putBuilder, r.ID, r.Name, nanos(r.Configured), nanos(r.Removed), r.Description, r.tags)
	if err != nil {
		return fmt.Errorf("builder %s: %w", r.Name, err)
	}
	return w.named(n, "builder", "builders", r.ID, r.Name)
}

const putScheduler = `INSERT INTO schedulers (id, name, enabled, changed, who, reason)
	VALUES (?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, changed = excluded.changed, who = excluded.who, reason = excluded.reason
	WHERE schedulers.name = excluded.name
	ON CONFLICT (name) DO NOTHING`

func (w *writer) scheduler(r *Scheduler) error {
	n, err := w.s.exec1(w.ctx, putScheduler, r.ID, r.Name, r.Enabled, nanos(r.Changed), r.Who, r.Reason)
	if err != nil {
		return fmt.Errorf("scheduler %s: %w", r.Name, err)
	}
	return w.named(n, "scheduler", "schedulers", r.ID, r.Name)
}

// named refuses a row of which n = 0 were written: its id or its name belongs
// to another one.
func (w *writer) named(n int64, what, table string, id int64, name string) error {
	if n > 0 {
		return nil
	}
	return w.refuse(what, id, `SELECT '`+what+` ' || id || ' is ' || name FROM `+table+` WHERE id = ? OR name = ? ORDER BY id = ? DESC`, id, name, id)
}
