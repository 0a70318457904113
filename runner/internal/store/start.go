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
// unfinished and on the number of builders, not on the length of the history.
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
	var request, build, log int64
	err = s.conn.QueryRowContext(ctx, `SELECT
		1 + ifnull((SELECT value FROM counters WHERE name = 'epoch'), 0),
		1 + max(ifnull((SELECT max(id) FROM requests), 0), ifnull((SELECT value FROM counters WHERE name = 'request'), 0)),
		1 + max(ifnull((SELECT max(id) FROM builds), 0), ifnull((SELECT value FROM counters WHERE name = 'build'), 0)),
		1 + max(ifnull((SELECT max(id) FROM logs), 0), ifnull((SELECT value FROM counters WHERE name = 'log'), 0))`).
		Scan(&r.Epoch, &request, &build, &log)
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	r.NextRequest, r.NextBuild, r.NextLog = request, build, log
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
	return nil
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

func (s *Store) unfinished(ctx context.Context) ([]Unfinished, error) {
	builds, err := s.builds(ctx, s.conn, "WHERE result < 0 ORDER BY id")
	if err != nil {
		return nil, err
	}
	list := make([]Unfinished, len(builds))
	for i, b := range builds {
		list[i].Build = b
		if list[i].Steps, err = stepRows(ctx, s.conn, "WHERE build = ? AND result < 0 ORDER BY number", b.ID); err != nil {
			return nil, err
		}
		if list[i].Logs, err = logRows(ctx, s.conn, "WHERE build = ? AND complete = 0 ORDER BY id", b.ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}
