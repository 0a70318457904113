package store

import (
	"context"
	"database/sql"
)

// countMost is how many rows are counted when table totals does not tell.
const countMost = 1000

// page reads what sel selects.
func page[R any](ctx context.Context, s *Store, q querier, t reading[R], sel Select) (p Page[R], err error) {
	if err := sel.check(); err != nil {
		return p, err
	}
	narrow, err := t.narrow(ctx, q, &sel)
	if err != nil {
		return p, err
	}
	st, err := t.rows(&sel, t.columns, narrow)
	if err != nil {
		return p, err
	}
	if sel.Limit != 0 {
		if p.Rows, err = t.read(ctx, s, q, st, min(max(sel.Limit, 0), 100)); err != nil {
			return p, err
		}
	}
	n := int64(len(p.Rows))
	if sel.Limit != 0 && (sel.Limit < 0 || n < int64(sel.Limit)) && (n > 0 || sel.Offset == 0) {
		p.Total = int64(sel.Offset) + n // these are all
		return p, nil
	}
	p.Total, p.AtLeast, err = t.total(ctx, q, &sel)
	if n > 0 {
		p.Total = max(p.Total, int64(sel.Offset)+n)
	}
	return p, err
}

// total is how many rows sel selects without its limit; more says that they are
// not all counted.
func (t *table) total(ctx context.Context, q querier, sel *Select) (n int64, more bool, err error) {
	st, ok, err := t.known(sel)
	if err == nil && !ok {
		st, err = t.count(sel, countMost+1)
	}
	if err != nil {
		return 0, false, err
	}
	n, err = single(ctx, q, st)
	if !ok && n > countMost {
		return countMost, true, err
	}
	return n, false, err
}

// narrow reports whether few rows are in the span of time that sel asks for.
func (t *table) narrow(ctx context.Context, q querier, sel *Select) (bool, error) {
	st, depends, err := t.window(sel)
	if err != nil || !depends {
		return false, err
	}
	n, err := single(ctx, q, st)
	return n <= windowMost, err
}

// single reads the number that a statement returns, 0 when it returns none.
func single(ctx context.Context, q querier, st clause) (n int64, err error) {
	err = scan(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&n) }, st.sql, st.args...)
	return n, err
}
