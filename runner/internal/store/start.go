package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// metaID is where the database's id is kept. Keys of the store's own begin
// with a dot.
const metaID = ".id"

// Start begins the reign of a new master: it raises the epoch, puts that on
// disk, and returns what earlier masters left. Its cost depends on what is
// unfinished and on the number of builders and workers, not on the length of
// the history.
func (s *Store) Start() (Recovered, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Recovered{}, fmt.Errorf("start: %w", ErrClosed)
	}
	ctx := context.Background()
	var r Recovered
	err := s.transact(ctx, func() error { return s.start(ctx, &r) })
	if err != nil {
		return Recovered{}, fmt.Errorf("start: %w", s.explain(err))
	}
	s.logs = logIDs{last: r.NextLog - 1, reserved: r.NextLog - 1 + logReserve}
	return r, nil
}

func (s *Store) start(ctx context.Context, r *Recovered) (err error) {
	if r.ID, err = s.id(ctx); err != nil {
		return fmt.Errorf("read id: %w", err)
	}
	if err := s.counters(ctx, r); err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	err = s.exec(ctx, `INSERT INTO counters (name, value) VALUES ('epoch', ?), ('log', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, r.Epoch, r.NextLog-1+logReserve)
	if err != nil {
		return fmt.Errorf("raise epoch: %w", err)
	}
	if r.Numbers, err = s.numbers(ctx); err != nil {
		return fmt.Errorf("read build numbers: %w", err)
	}
	if r.Requests, err = s.requests(ctx, s.conn, "WHERE state < 2 ORDER BY id"); err != nil {
		return fmt.Errorf("read open requests: %w", err)
	}
	if r.Unfinished, err = s.unfinished(ctx); err != nil {
		return fmt.Errorf("read unfinished builds: %w", err)
	}
	if r.Logs, err = logRows.list(ctx, s, s.conn, openLogs); err != nil {
		return fmt.Errorf("read open logs: %w", err)
	}
	if r.Workers, err = workerRows.list(ctx, s, s.conn, "ORDER BY id"); err != nil {
		return fmt.Errorf("read workers: %w", err)
	}
	if r.Builders, err = builderRows.list(ctx, s, s.conn, "ORDER BY id"); err != nil {
		return fmt.Errorf("read builders: %w", err)
	}
	if r.Schedulers, err = schedulerRows.list(ctx, s, s.conn, "ORDER BY id"); err != nil {
		return fmt.Errorf("read schedulers: %w", err)
	}
	if r.Mails, err = mailRows.list(ctx, s, s.conn, "WHERE done = 0 ORDER BY id"); err != nil {
		return fmt.Errorf("read mails: %w", err)
	}
	return nil
}

// counters reads the epoch and the ids to go on with.
func (s *Store) counters(ctx context.Context, r *Recovered) error {
	query := "SELECT 1 + ifnull((SELECT value FROM counters WHERE name = 'epoch'), 0)"
	into := []any{&r.Epoch}
	for _, n := range []struct {
		name, table string
		next        *int64
	}{
		{"request", "requests", &r.NextRequest},
		{"build", "builds", &r.NextBuild},
		{"log", "logs", &r.NextLog},
		{"worker", "workers", &r.NextWorker},
		{"builder", "builders", &r.NextBuilder},
		{"scheduler", "schedulers", &r.NextScheduler},
		{"mail", "mails", &r.NextMail},
		{"entry", "journal", &r.NextEntry},
	} {
		query += ", 1 + max(ifnull((SELECT max(id) FROM " + n.table + "), 0), ifnull((SELECT value FROM counters WHERE name = '" + n.name + "'), 0))"
		into = append(into, n.next)
	}
	return s.conn.QueryRowContext(ctx, query).Scan(into...)
}

// id returns the database's id and makes it the first time.
func (s *Store) id(ctx context.Context) (string, error) {
	var id string
	err := s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", metaID).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	id = rand.Text()
	return id, s.exec(ctx, "INSERT INTO meta (key, value) VALUES (?, ?)", metaID, []byte(id))
}

// lastNumbers jumps from builder to builder in the index rather than reading
// every build.
const lastNumbers = `WITH RECURSIVE names (name) AS (
		SELECT min(builder) FROM builds
		UNION ALL
		SELECT (SELECT min(builder) FROM builds WHERE builder > name) FROM names WHERE name IS NOT NULL)
	SELECT name, (SELECT max(number) FROM builds WHERE builder = name) FROM names WHERE name IS NOT NULL
	UNION ALL
	SELECT builder, last FROM numbers`

// numbers reads the last number of each builder.
func (s *Store) numbers(ctx context.Context) (map[string]int64, error) {
	m := map[string]int64{}
	err := scan(ctx, s.conn, func(rows *sql.Rows) error {
		var name string
		var last int64
		if err := rows.Scan(&name, &last); err != nil {
			return err
		}
		m[name] = max(m[name], last)
		return nil
	}, lastNumbers)
	return m, err
}

// openLogs are the logs without an end.
const openLogs = "WHERE complete = 0 ORDER BY id"

func (s *Store) unfinished(ctx context.Context) ([]Unfinished, error) {
	builds, err := s.builds(ctx, s.conn, "WHERE result = -1 ORDER BY id")
	if err != nil {
		return nil, err
	}
	list := make([]Unfinished, len(builds))
	for i, b := range builds {
		list[i].Build = b
		if list[i].Steps, err = stepRows.list(ctx, s, s.conn, "WHERE build = ? AND result < 0 ORDER BY number", b.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}
