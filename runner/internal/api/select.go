package api

import (
	"context"
	"errors"

	"bothy/runner/internal/store"
)

// maxRows bounds what one answer holds of what the database has. A client that
// asks for more gets the first ones, and meta.total tells how many there are.
const maxRows = 10_000

// selection is the query as the store takes it, with what the path says besides.
func (q *query) selection(s *schema, path ...store.Cond) store.Select {
	sel := store.Select{Where: path, Limit: maxRows, Offset: q.offset, Properties: q.properties}
	if q.limit >= 0 {
		sel.Limit = min(q.limit, maxRows)
	}
	for _, f := range q.filters {
		c := &s.columns[f.column]
		values := make([]any, len(f.values))
		for i, v := range f.values {
			if values[i] = v.plain(c.kind); c.stored != nil {
				values[i] = c.stored(v)
			}
		}
		sel.Where = append(sel.Where, store.Cond{Field: c.name, Op: store.Op(f.op), Values: values})
	}
	for _, o := range q.order {
		sel.Order = append(sel.Order, store.Sort{Field: s.columns[o.column].name, Desc: o.desc})
	}
	return sel
}

// plain is a value as the store takes it.
func (v value) plain(k kind) any {
	switch {
	case v.null:
		return nil
	case k == boolean:
		return v.n != 0
	case k == text || k == texts:
		return v.s
	}
	return v.n
}

// is is the condition that a field has a value.
func is(field string, v any) store.Cond {
	return store.Cond{Field: field, Op: store.Eq, Values: []any{v}}
}

// selected makes rows of the interface out of the store's.
func selected[S, R any](ctx context.Context, from func(context.Context, store.Select) (store.Page[S], error), sel store.Select, row func(S) R) (page[R], error) {
	got, err := from(ctx, sel)
	if e, ok := errors.AsType[*store.QueryError](err); ok {
		if e.Unknown { // the query's names are right
			return page[R]{}, badQuery("cannot filter or order by field '%s'", e.Field)
		}
		return page[R]{}, badQuery("%s", e.Error())
	}
	if err != nil {
		return page[R]{}, err
	}
	p := page[R]{rows: make([]R, len(got.Rows)), total: got.Total, atLeast: got.AtLeast, done: true}
	for i := range got.Rows {
		p.rows[i] = row(got.Rows[i])
	}
	return p, nil
}

// single is the page of the one row that fits, if there is one.
func single[R any](rows []R, fits func(*R) bool) (page[R], error) {
	for i := range rows {
		if fits(&rows[i]) {
			return page[R]{rows: rows[i : i+1], total: 1}, nil
		}
	}
	return page[R]{}, nil
}
