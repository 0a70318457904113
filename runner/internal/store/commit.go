package store

import (
	"context"
	"fmt"
	"time"
)

// Commit writes b in one transaction that is on disk when it returns. After an
// error nothing of b is known to be on disk; the same batch, or one that it was
// merged with, may be committed again, as often as needed. The exception is a
// [RefusedError]: all but the rows it names is on disk.
func (s *Store) Commit(b *Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("commit: %w", ErrClosed)
	}
	for _, err := range b.unwritable {
		s.log.Error("not recorded", "err", err)
	}
	b.unwritable = nil
	ctx := context.Background()
	w := writer{s: s, ctx: ctx}
	s.naming(b)
	err := s.transact(ctx, func() error { return w.write(b) })
	s.naming(b)
	if err != nil {
		s.logs.unsettled = true
		return fmt.Errorf("commit %d rows: %w", b.Len(), s.explain(err))
	}
	s.commits.Add(1)
	s.logs.unsettled = false
	s.logs.committed(w.lastLog, w.reserved)
	s.wal.grown(s)
	if len(w.refused) > 0 {
		return &RefusedError{w.refused}
	}
	return nil
}

// writer writes one batch within a transaction.
type writer struct {
	s        *Store
	ctx      context.Context
	err      error // the first; nothing is written after it
	refused  []Refused
	lastLog  int64 // the highest id of a log in the batch
	reserved int64 // a new reservation of log ids, 0: none was needed
}

func (w *writer) write(b *Batch) error {
	each(w, &b.requests, w.request)
	each(w, &b.builds, w.build)
	each(w, &b.steps, w.step)
	each(w, &b.logs, w.log)
	each(w, &b.meta, w.meta)
	each(w, &b.workers, w.worker)
	each(w, &b.builders, w.builder)
	each(w, &b.schedulers, w.scheduler)
	each(w, &b.mails, w.mail)
	each(w, &b.entries, w.entry)
	each(w, &b.artifacts, w.artifact)
	each(w, &b.testRuns, w.testRun)
	each(w, &b.failedTests, w.failedTest)
	if w.err != nil {
		return w.err
	}
	if err := w.reserveLogIDs(); err != nil {
		return err
	}
	return w.remove(b)
}

// each puts rows until one fails.
func each[K comparable, R any](w *writer, r *rows[K, R], put func(*R) error) {
	for i := 0; i < len(r.list) && w.err == nil; i++ {
		w.err = put(&r.list[i])
	}
}

// Columns that an index holds are not set again: SQLite would rewrite the
// index. They identify the row and must be what they were.

const putRequest = `INSERT INTO requests (id, builder, priority, submitted, state, result, completed, attempts,
	retries, memory, replaced, collapse_key, worker, session, reason, text, spec, properties)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET priority = excluded.priority, submitted = excluded.submitted,
	state = excluded.state, result = excluded.result, completed = excluded.completed,
	attempts = excluded.attempts, retries = excluded.retries, memory = excluded.memory,
	replaced = excluded.replaced, collapse_key = excluded.collapse_key, worker = excluded.worker,
	session = excluded.session, reason = excluded.reason, text = excluded.text,
	spec = excluded.spec, properties = excluded.properties
	WHERE requests.builder = excluded.builder AND (requests.state < 2 OR excluded.state = 2
		AND requests.result = excluded.result AND requests.completed = excluded.completed)`

func (w *writer) request(r *requestRow) error {
	n, err := w.s.exec1(w.ctx, putRequest, r.ID, r.Builder, r.Priority, nanos(r.Submitted), int(r.State), int(r.Result),
		nanos(r.Completed), r.Attempts, r.Retries, r.Memory, r.Replaced, r.CollapseKey, r.Worker, r.Session,
		r.Reason, r.Text, r.Spec, r.properties)
	if err != nil {
		return fmt.Errorf("request %d: %w", r.ID, err)
	}
	if n == 0 {
		return w.refuse("request", r.ID, `SELECT 'is of builder ' || builder || iif(state < 2, '', ', done with result ' || result) FROM requests WHERE id = ?`, r.ID)
	}
	return nil
}

const putBuild = `INSERT INTO builds (id, request, builder, number, worker, epoch, counter, attempt, started, completed,
	result, peak_memory, cpu, steps_hash, cause, dir, kept, text, ended, properties)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, counter = excluded.counter,
	attempt = excluded.attempt, started = excluded.started, completed = excluded.completed, result = excluded.result,
	peak_memory = excluded.peak_memory, cpu = excluded.cpu, steps_hash = excluded.steps_hash,
	cause = excluded.cause, dir = excluded.dir, kept = excluded.kept, text = excluded.text,
	ended = excluded.ended, properties = excluded.properties
	WHERE builds.number = excluded.number AND builds.builder = excluded.builder
		AND builds.request = excluded.request AND builds.worker = excluded.worker
		AND (builds.epoch < excluded.epoch OR builds.epoch = excluded.epoch AND builds.counter <= excluded.counter)
		AND (builds.result < 0 OR builds.result = excluded.result AND builds.completed = excluded.completed)
	ON CONFLICT (builder, number) DO NOTHING`

func (w *writer) build(r *buildRow) error {
	n, err := w.s.exec1(w.ctx, putBuild, r.ID, r.Request, r.Builder, r.Number, r.Worker, r.Token.Epoch, r.Token.Counter,
		r.Attempt, nanos(r.Started), nanos(r.Completed), int(r.Result), r.PeakMemory, int64(r.CPU), r.StepsHash,
		r.Cause, r.Dir, r.Kept, r.Text, r.ended, r.properties)
	if err != nil {
		return fmt.Errorf("build %d: %w", r.ID, err)
	}
	if n == 0 {
		return w.refuse("build", r.ID, `SELECT 'build ' || id || ' is ' || builder || ' ' || number || ' of request ' || request
			|| ' on worker ' || worker || ', attempt ' || epoch || '.' || counter || iif(result < 0, '', ', ended with result ' || result)
			FROM builds WHERE id = ? OR builder = ? AND number = ?`, r.ID, r.Builder, r.Number)
	}
	return nil
}

const putStep = `INSERT INTO steps (build, number, name, started, completed, result, hidden, text)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (build, number) DO UPDATE SET name = excluded.name, started = excluded.started,
	completed = excluded.completed, result = excluded.result, hidden = excluded.hidden, text = excluded.text
	WHERE steps.result < 0 OR steps.result = excluded.result AND steps.completed = excluded.completed`

func (w *writer) step(r *Step) error {
	n, err := w.s.exec1(w.ctx, putStep, r.Build, r.Number, r.Name, nanos(r.Started), nanos(r.Completed), int(r.Result), r.Hidden, r.Text)
	if err != nil {
		return fmt.Errorf("step %d of build %d: %w", r.Number, r.Build, err)
	}
	if n == 0 {
		return w.refuse(fmt.Sprintf("step %d of build", r.Number), r.Build,
			`SELECT 'ended with result ' || result FROM steps WHERE build = ? AND number = ?`, r.Build, r.Number)
	}
	return nil
}

const putLog = `INSERT INTO logs (id, build, step, name, ref, lines, bytes, truncated, complete)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET step = excluded.step, name = excluded.name, ref = excluded.ref,
	lines = excluded.lines, bytes = excluded.bytes, truncated = excluded.truncated, complete = excluded.complete
	WHERE logs.build = excluded.build AND (logs.complete = 0 OR excluded.complete = 1)`

func (w *writer) log(r *Log) error {
	n, err := w.s.exec1(w.ctx, putLog, r.ID, r.Build, r.Step, r.Name, r.Ref, r.Lines, r.Bytes, r.Truncated, r.Complete)
	if err != nil {
		return fmt.Errorf("log %d: %w", r.ID, err)
	}
	w.lastLog = max(w.lastLog, r.ID)
	if n == 0 {
		return w.refuse("log", r.ID, `SELECT 'is of build ' || build || iif(complete, ', complete', '') FROM logs WHERE id = ?`, r.ID)
	}
	return nil
}

func (w *writer) meta(m *metaRow) error {
	var err error
	if m.value == nil {
		err = w.s.run(w.ctx, `DELETE FROM meta WHERE key = ?`, m.key)
	} else {
		err = w.s.run(w.ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, m.key, m.value)
	}
	if err != nil {
		return fmt.Errorf("meta %s: %w", m.key, err)
	}
	return nil
}

// remove deletes rows, but never one that is not settled. The highest ids are
// kept apart first, so that none is given out again.
func (w *writer) remove(b *Batch) error {
	if err := w.keepHighest(b); err != nil {
		return err
	}
	for _, id := range b.dropBuilds.list {
		if err := w.removeBuild(id); err != nil {
			return fmt.Errorf("remove build %d: %w", id, err)
		}
	}
	for _, id := range b.dropRequests.list {
		if err := w.s.run(w.ctx, `DELETE FROM requests WHERE id = ? AND state = 2`, id); err != nil {
			return fmt.Errorf("remove request %d: %w", id, err)
		}
	}
	for _, id := range b.dropLogs.list {
		if err := w.s.run(w.ctx, `DELETE FROM logs WHERE id = ?`, id); err != nil {
			return fmt.Errorf("remove log %d: %w", id, err)
		}
	}
	for _, id := range b.dropArtifacts.list {
		if err := w.s.run(w.ctx, `DELETE FROM artifacts WHERE build = ?`, id); err != nil {
			return fmt.Errorf("remove artifacts of build %d: %w", id, err)
		}
	}
	for _, id := range b.dropMails.list {
		if err := w.s.run(w.ctx, `DELETE FROM mails WHERE id = ? AND done <> 0`, id); err != nil {
			return fmt.Errorf("remove mail %d: %w", id, err)
		}
	}
	for _, id := range b.dropEntries.list {
		if err := w.s.run(w.ctx, `DELETE FROM journal WHERE id = ?`, id); err != nil {
			return fmt.Errorf("remove journal entry %d: %w", id, err)
		}
	}
	return nil
}

// keepHighest keeps apart the highest ids of tables from which b removes rows.
// That of a log is reserved before it is used, see logIDs.
func (w *writer) keepHighest(b *Batch) error {
	for _, t := range []struct {
		rows        int
		name, table string
	}{
		{len(b.dropBuilds.list), "build", "builds"},
		{len(b.dropRequests.list), "request", "requests"},
		{len(b.dropMails.list), "mail", "mails"},
		{len(b.dropEntries.list), "entry", "journal"},
	} {
		if t.rows == 0 {
			continue
		}
		err := w.s.run(w.ctx, `INSERT INTO counters (name, value) SELECT '`+t.name+`', ifnull(max(id), 0) FROM `+t.table+` WHERE true
			ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`)
		if err != nil {
			return fmt.Errorf("keep highest id of a %s: %w", t.name, err)
		}
	}
	return nil
}

func (w *writer) removeBuild(id int64) error {
	err := w.s.run(w.ctx, `INSERT INTO numbers (builder, last)
		SELECT builder, (SELECT max(number) FROM builds AS b WHERE b.builder = builds.builder) FROM builds WHERE id = ?
		ON CONFLICT (builder) DO UPDATE SET last = max(last, excluded.last)`, id)
	if err != nil {
		return err
	}
	n, err := w.s.exec1(w.ctx, `DELETE FROM builds WHERE id = ? AND result >= 0`, id)
	if err != nil || n == 0 {
		return err
	}
	if err := w.s.run(w.ctx, `DELETE FROM steps WHERE build = ?`, id); err != nil {
		return err
	}
	if err := w.s.run(w.ctx, `DELETE FROM logs WHERE build = ?`, id); err != nil {
		return err
	}
	return w.removeKept(id)
}

// refuse notes a row that the database would not take; query says what it
// holds instead.
func (w *writer) refuse(what string, id int64, query string, args ...any) error {
	r := Refused{What: fmt.Sprintf("%s %d", what, id)}
	if err := w.s.conn.QueryRowContext(w.ctx, query, args...).Scan(&r.Why); err != nil {
		return fmt.Errorf("%s: look up what is settled: %w", r.What, err)
	}
	w.refused = append(w.refused, r)
	return nil
}

// nanos is a time as it is stored.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// fromNanos reads what nanos wrote.
func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
