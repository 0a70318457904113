package store

import (
	"errors"
	"math"
	"testing"
)

// Whatever is asked, the answer is rows or a QueryError, never an error of the
// database's.
func FuzzSelect(f *testing.F) {
	s := selectable(f)
	for _, seed := range []struct {
		field, op, text, order string
		n                      int64
		kind                   uint8
		limit, offset          int
	}{
		{"buildid", "eq", "", "", 1, 0, 10, 0},
		{"builder", "contains", "b' OR 1=1 --", "number", 0, 1, 10, 0},
		{"builderid", "notin", "", "builderid", 7, 0, NoLimit, 3},
		{"started_at", "le", "", "started_at", math.MaxInt64, 0, 10, 0},
		{"complete_at", "gt", "", "", math.MinInt64, 0, 0, math.MaxInt},
		{"stepid", "in", "", "stepid", -1, 0, math.MaxInt, 0},
		{"complete", "lt", "", "complete", 1, 2, 10, 0},
		{"results", "eq", "", "-results", 0, 3, 10, 0},
		{"tags", "contains", "y'\"", "tags", 0, 1, 10, 0},
		{"name", "ge", "\x00\xff", "name", 0, 1, 10, 0},
		{"masterid", "ne", "", "masterid", 1, 0, 10, 1},
	} {
		f.Add(seed.field, seed.op, seed.text, seed.order, seed.n, seed.kind, seed.limit, seed.offset)
	}
	f.Fuzz(func(t *testing.T, field, op, text, order string, n int64, kind uint8, limit, offset int) {
		value := []any{n, text, n%2 == 0, nil}[kind%4]
		sel := Select{Where: []Cond{{field, Op(op), []any{value}}}, Limit: limit, Offset: offset}
		if kind >= 64 {
			sel.Where[0].Values = []any{value, value, int64(kind)}
			sel.Where = append(sel.Where, Cond{"results", Ne, []any{int64(kind % 8)}})
		}
		if order != "" {
			sel.Order = []Sort{{order, kind%2 == 0}}
		}
		ask := func(err error) {
			if _, ok := errors.AsType[*QueryError](err); err != nil && !ok {
				t.Errorf("%+v: %v", sel, err)
			}
		}
		ctx := t.Context()
		ask(second(s.SelectBuilds(ctx, sel)))
		ask(second(s.SelectRequests(ctx, sel)))
		ask(second(s.SelectSteps(ctx, sel)))
		ask(second(s.SelectLogs(ctx, sel)))
		ask(second(s.SelectWorkers(ctx, sel)))
		ask(second(s.SelectBuilders(ctx, sel)))
		ask(second(s.SelectMails(ctx, sel)))
		ask(second(s.SelectJournal(ctx, sel)))
	})
}
