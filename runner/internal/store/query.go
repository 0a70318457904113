package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"bothy/runner/build"
)

// defaultLimit is how many rows a filter without a limit returns at most.
const defaultLimit = 100

// Filter selects builds; zero fields select all.
type Filter struct {
	Builder string
	Worker  string
	Request int64
	Running bool           // only those without a result
	Results []build.Result // only those with one of these
	Before  int64          // only ids below it: the last id of the page before
	Limit   int            // 0: 100
}

// RequestFilter selects requests; zero fields select all.
type RequestFilter struct {
	Builder string
	Open    bool  // only those that are not Done
	Before  int64 // only ids below it: the last id of the page before
	Limit   int   // 0: 100
}

// where gathers conditions, constants of this package, and their values.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(use bool, cond string, args ...any) {
	if use {
		w.conds = append(w.conds, cond)
		w.args = append(w.args, args...)
	}
}

// clause ends with order and limit.
func (w *where) clause(order string, limit int) (string, []any) {
	var c string
	if len(w.conds) > 0 {
		c = "WHERE " + strings.Join(w.conds, " AND ") + " "
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	return c + order + " LIMIT ?", append(w.args, limit)
}

// Builds returns the builds that f selects, newest first.
func (s *Store) Builds(ctx context.Context, f Filter) ([]Build, error) {
	var w where
	w.add(f.Builder != "", "builder = ?", f.Builder)
	w.add(f.Worker != "", "worker = ?", f.Worker)
	w.add(f.Request != 0, "request = ?", f.Request)
	w.add(f.Running, "result = -1")
	if len(f.Results) > 0 {
		args := make([]any, len(f.Results))
		for i, r := range f.Results {
			args[i] = int64(r)
		}
		w.add(true, "result IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	}
	w.add(f.Before != 0, "id < ?", f.Before)
	order := "ORDER BY id DESC"
	if f.Builder != "" && f.Request == 0 {
		order = "ORDER BY number DESC" // the same order, and an index has it
	}
	clause, args := w.clause(order, f.Limit)
	return read(s, func(q querier) ([]Build, error) { return s.builds(ctx, q, clause, args...) }, "read builds")
}

// Build returns build number of builder, or [ErrNotFound].
func (s *Store) Build(ctx context.Context, builder string, number int64) (Build, error) {
	return one(read(s, func(q querier) ([]Build, error) {
		return s.builds(ctx, q, "WHERE builder = ? AND number = ?", builder, number)
	}, "read build %d of %s", number, builder))
}

// BuildByID returns a build, or [ErrNotFound].
func (s *Store) BuildByID(ctx context.Context, id int64) (Build, error) {
	return one(read(s, func(q querier) ([]Build, error) {
		return s.builds(ctx, q, "WHERE id = ?", id)
	}, "read build %d", id))
}

// Request returns a request, or [ErrNotFound].
func (s *Store) Request(ctx context.Context, id int64) (Request, error) {
	return one(read(s, func(q querier) ([]Request, error) {
		return s.requests(ctx, q, "WHERE id = ?", id)
	}, "read request %d", id))
}

// Requests returns the requests that f selects, newest first.
func (s *Store) Requests(ctx context.Context, f RequestFilter) ([]Request, error) {
	var w where
	w.add(f.Builder != "", "builder = ?", f.Builder)
	w.add(f.Open, "state < 2")
	w.add(f.Before != 0, "id < ?", f.Before)
	clause, args := w.clause("ORDER BY id DESC", f.Limit)
	return read(s, func(q querier) ([]Request, error) { return s.requests(ctx, q, clause, args...) }, "read requests")
}

// Steps returns the steps of a build in their order.
func (s *Store) Steps(ctx context.Context, buildID int64) ([]Step, error) {
	return read(s, func(q querier) ([]Step, error) {
		return stepRows.list(ctx, s, q, "WHERE build = ? ORDER BY number", buildID)
	}, "read steps of build %d", buildID)
}

// Logs returns the logs of a build, in the order in which they were made.
func (s *Store) Logs(ctx context.Context, buildID int64) ([]Log, error) {
	return read(s, func(q querier) ([]Log, error) {
		return logRows.list(ctx, s, q, "WHERE build = ? ORDER BY id", buildID)
	}, "read logs of build %d", buildID)
}

// Log returns a log, or [ErrNotFound].
func (s *Store) Log(ctx context.Context, id int64) (Log, error) {
	return one(read(s, func(q querier) ([]Log, error) {
		return logRows.list(ctx, s, q, "WHERE id = ?", id)
	}, "read log %d", id))
}

// Meta returns what [Batch.PutMeta] recorded, or [ErrNotFound]. A starting master
// asks before anybody else reads: to open a connection for that would take longer
// than all else here, so it shares the writing one.
func (s *Store) Meta(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := ErrClosed
	var value []byte
	if !s.closed {
		err = s.conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", key).Scan(&value)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read meta %s: %w", key, s.explain(err))
	}
	return value, nil
}

// MetaPrefix returns every key that begins with prefix, with its value.
func (s *Store) MetaPrefix(ctx context.Context, prefix string) (map[string][]byte, error) {
	return read(s, func(q querier) (map[string][]byte, error) {
		m := map[string][]byte{}
		err := scan(ctx, q, func(rows *sql.Rows) error {
			var k string
			var v []byte
			err := rows.Scan(&k, &v)
			m[k] = v
			return err
		}, "SELECT key, value FROM meta WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 AND key NOT GLOB '.*'", prefix)
		return m, err
	}, "read meta %s…", prefix)
}

// read runs f on the reading connections and says what was being done.
func read[T any](s *Store, f func(querier) (T, error), doing string, args ...any) (T, error) {
	var got T
	db, err := s.reader()
	if err == nil {
		got, err = f(db)
		err = s.explain(err)
	}
	if err != nil {
		var none T
		return none, fmt.Errorf(doing+": %w", append(args, err)...)
	}
	return got, nil
}

// one returns the only row of a query by key.
func one[T any](list []T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	if len(list) == 0 {
		var none T
		return none, ErrNotFound
	}
	return list[0], nil
}
