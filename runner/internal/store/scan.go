package store

import (
	"context"
	"database/sql"
	"time"
)

// querier is a connection or a pool of them.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// scan calls f for each row of a query.
func scan(ctx context.Context, q querier, f func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// stamp scans a time.
type stamp struct{ t *time.Time }

// Scan implements [sql.Scanner].
func (s stamp) Scan(v any) error {
	n, _ := v.(int64) // the table is STRICT
	*s.t = fromNanos(n)
	return nil
}

// clause is the part of a query after its tables: a constant of this package,
// never built from input.
func (s *Store) requests(ctx context.Context, q querier, clause string, args ...any) ([]Request, error) {
	var list []Request
	err := scan(ctx, q, func(rows *sql.Rows) error {
		var r Request
		var properties string
		err := rows.Scan(&r.ID, &r.Builder, &r.Priority, stamp{&r.Submitted}, &r.State, &r.Result, stamp{&r.Completed},
			&r.Attempts, &r.Retries, &r.Memory, &r.Replaced, &r.CollapseKey, &r.Worker, &r.Session, &r.Reason, &r.Text,
			&r.Spec, &properties)
		if err != nil {
			return err
		}
		if r.Properties, err = decodeProperties(properties); err != nil {
			s.log.Error("request is read without its properties", "request", r.ID, "err", err)
		}
		list = append(list, r)
		return nil
	}, `SELECT id, builder, priority, submitted, state, result, completed, attempts, retries, memory, replaced,
		collapse_key, worker, session, reason, text, spec, properties FROM requests `+clause, args...)
	return list, err
}

func (s *Store) builds(ctx context.Context, q querier, clause string, args ...any) ([]Build, error) {
	var list []Build
	err := scan(ctx, q, func(rows *sql.Rows) error {
		var b Build
		var ended, properties string
		err := rows.Scan(&b.ID, &b.Request, &b.Builder, &b.Number, &b.Worker, &b.Token.Epoch, &b.Token.Counter, &b.Attempt,
			stamp{&b.Started}, stamp{&b.Completed}, &b.Result, &b.PeakMemory, &b.CPU, &b.StepsHash, &b.Cause, &b.Dir,
			&b.Kept, &b.Text, &ended, &properties)
		if err != nil {
			return err
		}
		if b.Properties, err = decodeProperties(properties); err != nil {
			s.log.Error("build is read without its properties", "build", b.ID, "err", err)
		}
		if b.Ended, err = decodeList(ended); err != nil {
			s.log.Error("build is read without its list of ended processes", "build", b.ID, "err", err)
		}
		list = append(list, b)
		return nil
	}, `SELECT id, request, builder, number, worker, epoch, counter, attempt, started, completed, result, peak_memory,
		cpu, steps_hash, cause, dir, kept, text, ended, properties FROM builds `+clause, args...)
	return list, err
}
