package store

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bothy/runner/build"
)

// compare orders two values of one field, nil lowest.
func compare(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(bit(a != nil), bit(b != nil))
	}
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case string:
		return cmp.Compare(a, b.(string))
	case time.Time:
		return a.Compare(b.(time.Time))
	}
	return cmp.Compare(bit(a.(bool)), bit(b.(bool)))
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// asSaid is a value as a condition has it.
func asSaid(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.Unix()
	}
	return v
}

// holds is what a condition means.
func holds(have any, c Cond) bool {
	if tags, ok := have.([]string); ok {
		found := slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(c.Values, any(tag)) })
		return found != (c.Op == Ne || c.Op == NotIn)
	}
	have = asSaid(have)
	among := slices.Contains(c.Values, have)
	switch c.Op {
	case Eq, In:
		return among
	case Ne, NotIn:
		return !among
	case Contains:
		s, ok := have.(string)
		return ok && slices.ContainsFunc(c.Values, func(v any) bool { return strings.Contains(s, v.(string)) })
	}
	if have == nil {
		return false
	}
	n := compare(have, c.Values[0])
	return c.Op == Lt && n < 0 || c.Op == Le && n <= 0 || c.Op == Gt && n > 0 || c.Op == Ge && n >= 0
}

// want does in Go what a query should do.
func (ref *reference[R]) want(all []R, sel Select) ([]R, int) {
	rows := slices.DeleteFunc(slices.Clone(all), func(r R) bool {
		return slices.ContainsFunc(sel.Where, func(c Cond) bool { return !holds(ref.fields[c.Field](&r), c) })
	})
	desc := false
	for _, o := range sel.Order {
		desc = o.Desc
	}
	order := append(slices.Clone(sel.Order), Sort{ref.id, desc})
	slices.SortStableFunc(rows, func(a, b R) int {
		for _, o := range order {
			n := compare(ref.fields[o.Field](&a), ref.fields[o.Field](&b))
			if o.Desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	total := len(rows)
	rows = rows[min(sel.Offset, len(rows)):]
	if sel.Limit >= 0 {
		rows = rows[:min(sel.Limit, len(rows))]
	}
	return rows, total
}

// drawSelect makes a query of fields and values that rows have, and of others.
func drawSelect[R any](t *rapid.T, ref *reference[R], all []R) Select {
	fields := slices.Sorted(func(yield func(string) bool) {
		for f := range ref.fields {
			if !yield(f) {
				return
			}
		}
	})
	var sel Select
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		c := Cond{Field: rapid.SampledFrom(fields).Draw(t, "field")}
		have := ref.fields[c.Field](&all[rapid.IntRange(0, len(all)-1).Draw(t, "row")])
		ops := []Op{Eq, Ne, In, NotIn}
		like := kindOf(ref, all, c.Field)
		switch like.(type) {
		case string:
			ops = append(ops, Lt, Le, Gt, Ge, Contains)
		case []string:
			ops = append(ops, Contains)
		default:
			ops = append(ops, Lt, Le, Gt, Ge)
		}
		c.Op = rapid.SampledFrom(ops).Draw(t, "op")
		n := 1
		if slices.Contains([]Op{Eq, Ne, In, NotIn, Contains}, c.Op) {
			n = rapid.IntRange(1, 3).Draw(t, "values")
		}
		for range n {
			c.Values = append(c.Values, drawValue(t, have, like, c.Op))
			have = ref.fields[c.Field](&all[rapid.IntRange(0, len(all)-1).Draw(t, "row")])
		}
		sel.Where = append(sel.Where, c)
	}
	for range rapid.IntRange(0, 2).Draw(t, "orders") {
		f := rapid.SampledFrom(fields).Draw(t, "by")
		if _, isList := kindOf(ref, all, f).([]string); !isList {
			sel.Order = append(sel.Order, Sort{f, rapid.Bool().Draw(t, "descending")})
		}
	}
	sel.Limit = rapid.SampledFrom([]int{NoLimit, 0, 1, 5, 1000}).Draw(t, "limit")
	sel.Offset = rapid.SampledFrom([]int{0, 0, 0, 1, 7, 5000}).Draw(t, "offset")
	return sel
}

// kindOf returns a value of the field that is not nil.
func kindOf[R any](ref *reference[R], all []R, field string) any {
	for i := range all {
		if v := ref.fields[field](&all[i]); v != nil {
			return asSaid(v)
		}
	}
	return int64(0)
}

func drawValue(t *rapid.T, have, like any, op Op) any {
	if tags, ok := have.([]string); ok {
		have = nil
		if len(tags) > 0 {
			have = tags[0]
		}
		like = ""
	}
	if have == nil && !slices.Contains([]Op{Eq, Ne, In, NotIn}, op) || rapid.IntRange(0, 3).Draw(t, "other") == 0 {
		have = like
	}
	switch v := asSaid(have).(type) {
	case nil:
		if _, ok := like.(string); ok && op == Contains {
			return ""
		}
		return nil
	case int64:
		return v + rapid.SampledFrom([]int64{0, 0, 1, -1}).Draw(t, "near")
	case string:
		return rapid.SampledFrom([]string{v, v, v[:len(v)/2], v + "x"}).Draw(t, "like")
	case bool:
		return v != rapid.Bool().Draw(t, "not")
	}
	return have
}

// selectable are rows with many ties, gaps and missing values.
func selectable(t testing.TB) *Store {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= 3; id++ {
			b.PutWorker(&Worker{ID: 10 - id, Name: fmt.Sprint("w", id), Kind: "local", Configured: t0.Add(time.Duration(id/2) * time.Second)})
			b.PutBuilder(&Builder{ID: 10 - id, Name: fmt.Sprint("b", id), Tags: [][]string{nil, {"x"}, {"x", "y'\""}}[id-1], Description: []string{"", "d", "d"}[id-1]})
			b.PutScheduler(&Scheduler{ID: id, Name: fmt.Sprint("s", id%2, id), Enabled: id == 1})
		}
		for id := int64(1); id <= 60; id++ {
			at := t0.Add(time.Duration(id/3) * 700 * time.Millisecond)
			r := Build{
				ID: 2 * id, Request: id / 2, Builder: fmt.Sprint("b", id%4), Number: id, Worker: fmt.Sprint("w", id%5), Attempt: int(id % 3),
				Started: at, Completed: at.Add(time.Duration(id%7) * time.Second), Result: build.Result(id % 7), Text: fmt.Sprintf("text%%_%d", id%9),
				Cause: []string{"", "worker", "disk"}[id%3], PeakMemory: id % 2 * 1000, Kept: []string{"", "/k"}[id%2],
				Properties: build.Properties{"a": {Value: id, Source: "s"}, "b": {Value: "x", Source: "s"}},
			}
			q := Request{
				ID: id, Builder: fmt.Sprint("b", id%4), Priority: int(id % 5), Submitted: at, State: Done, Completed: at.Add(time.Second), Result: build.Result(id % 7),
				Reason: fmt.Sprint("r", id%4), Worker: []string{"", "w1"}[id%2], Attempts: int(id % 3), Retries: int(id % 2), Replaced: id % 4,
				Properties: build.Properties{"a": {Value: id, Source: "s"}},
			}
			if id%6 == 0 {
				r.Result, r.Completed = build.None, time.Time{}
				q.State, q.Result, q.Completed = RequestState(id/6%2), build.None, time.Time{}
			}
			b.PutBuild(&r)
			b.PutRequest(&q)
			st := Step{Build: id / 4, Number: int(id % 4), Name: fmt.Sprint("s", id%3), Started: at, Completed: at, Result: build.Result(id%3 - 1), Hidden: id%2 == 0, Text: "t"}
			if st.Result == build.None {
				st.Completed = time.Time{}
			}
			b.PutStep(&st)
			b.PutLog(&Log{ID: 3 * id, Build: id / 4, Step: int(id % 4), Name: fmt.Sprint("l", id%3), Lines: id % 5, Bytes: id % 6, Truncated: id%2 == 0, Complete: id%3 == 0})
			m := Mail{
				ID: id, Key: fmt.Sprint("k", id), Kind: "missing", Worker: []string{"", "w1", "w2"}[id%3], Build: id % 4, Recipient: fmt.Sprint("r", id%3),
				Created: at, NotBefore: at, State: MailState(id % 5), Attempts: int(id % 3), Error: []string{"", "550"}[id%2], MessageID: []string{"", "", "<m>"}[id%3], NextTry: []time.Time{{}, at}[id%2],
			}
			if m.State >= MailSent {
				m.Done = at
			}
			b.PutMail(&m)
			b.PutEntry(&Entry{ID: id, Time: at, Kind: []string{"worker", "build"}[id%2], Name: fmt.Sprint("w", id%3), Ref: id % 3, Build: id % 4, What: fmt.Sprint("x", id%5), Who: []string{"", "me"}[id%2], Reason: []string{"", "why"}[id%2]})
		}
	})
	return s
}

// Whatever is asked, the database answers as a filter in Go would.
func TestSelectIsAFilter(t *testing.T) {
	t.Parallel()
	s := selectable(t)
	ctx := t.Context()
	t.Run("builds", func(t *testing.T) {
		answers(t, &buildReference, func(sel Select) (Page[ListedBuild], error) { return s.SelectBuilds(ctx, sel) })
	})
	t.Run("buildrequests", func(t *testing.T) {
		answers(t, &requestReference, func(sel Select) (Page[ListedRequest], error) { return s.SelectRequests(ctx, sel) })
	})
	t.Run("steps", func(t *testing.T) {
		answers(t, &stepReference, func(sel Select) (Page[Step], error) { return s.SelectSteps(ctx, sel) })
	})
	t.Run("logs", func(t *testing.T) {
		answers(t, &logReference, func(sel Select) (Page[Log], error) { return s.SelectLogs(ctx, sel) })
	})
	t.Run("workers", func(t *testing.T) {
		answers(t, &workerReference, func(sel Select) (Page[Worker], error) { return s.SelectWorkers(ctx, sel) })
	})
	t.Run("builders", func(t *testing.T) {
		answers(t, &builderReference, func(sel Select) (Page[Builder], error) { return s.SelectBuilders(ctx, sel) })
	})
	t.Run("schedulers", func(t *testing.T) {
		answers(t, &schedulerReference, func(sel Select) (Page[Scheduler], error) { return s.SelectSchedulers(ctx, sel) })
	})
	t.Run("mails", func(t *testing.T) {
		answers(t, &mailReference, func(sel Select) (Page[Mail], error) { return s.SelectMails(ctx, sel) })
	})
	t.Run("journal", func(t *testing.T) {
		answers(t, &journalReference, func(sel Select) (Page[Entry], error) { return s.SelectJournal(ctx, sel) })
	})
}

func answers[R any](t *testing.T, ref *reference[R], ask func(Select) (Page[R], error)) {
	all, err := ask(Select{Limit: NoLimit})
	if err != nil || len(all.Rows) == 0 {
		t.Fatalf("%d rows, %v", len(all.Rows), err)
	}
	rapid.Check(t, func(t *rapid.T) {
		sel := drawSelect(t, ref, all.Rows)
		got, err := ask(sel)
		if err != nil {
			t.Fatal(err)
		}
		want, total := ref.want(all.Rows, sel)
		if d := gocmp.Diff(want, got.Rows, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%+v: %s", sel, d)
		}
		if got.Total != int64(total) || got.AtLeast {
			t.Fatalf("%+v: total %d (at least: %v), want %d", sel, got.Total, got.AtLeast, total)
		}
	})
}

// The reference of each resource knows all fields that there are.
func TestEveryFieldIsChecked(t *testing.T) {
	check := func(table *table, have []string) {
		var want []string
		for f := range table.fields {
			want = append(want, f)
		}
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(have, want) {
			t.Errorf("%s: %q are checked, there are %q", table.name, have, want)
		}
	}
	check(&buildTable, fieldsOf(buildReference))
	check(&requestTable, fieldsOf(requestReference))
	check(&stepTable, fieldsOf(stepReference))
	check(&logTable, fieldsOf(logReference))
	check(&workerTable, fieldsOf(workerReference))
	check(&builderTable, fieldsOf(builderReference))
	check(&schedulerTable, fieldsOf(schedulerReference))
	check(&mailTable, fieldsOf(mailReference))
	check(&journalTable, fieldsOf(journalReference))
}

func fieldsOf[R any](ref reference[R]) (names []string) {
	for f := range ref.fields {
		names = append(names, f)
	}
	return names
}

func TestSelectRefuses(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	one := []any{int64(1)}
	many := make([]any, maxValues+1)
	for i := range many {
		many[i] = int64(i)
	}
	for name, tt := range map[string]struct {
		sel     Select
		unknown bool
		want    string
	}{
		"filter by an unknown field": {Select{Where: []Cond{{"id; DROP TABLE builds", Eq, one}}}, true, `field "id; DROP TABLE builds": there is no such field`},
		"order by an unknown field":  {Select{Order: []Sort{{"text", false}}}, true, `field "text": there is no such field`},
		"operator":                   {Select{Where: []Cond{{"buildid", "like", one}}}, false, "no such operator"},
		"no value":                   {Select{Where: []Cond{{"buildid", Eq, nil}}}, false, "without a value"},
		"two values":                 {Select{Where: []Cond{{"buildid", Lt, []any{int64(1), int64(2)}}}}, false, "takes one value"},
		"a text for a number":        {Select{Where: []Cond{{"buildid", Eq, []any{"1 OR 1"}}}}, false, "not a number"},
		"a number for a text":        {Select{Where: []Cond{{"state_string", Eq, one}}}, false, "not a text"},
		"a number for a flag":        {Select{Where: []Cond{{"complete", Eq, one}}}, false, "not true or false"},
		"a flag for a time":          {Select{Where: []Cond{{"started_at", Gt, []any{true}}}}, false, "not a time"},
		"an int":                     {Select{Where: []Cond{{"buildid", Eq, []any{1}}}}, false, "not a number"},
		"null is not lower":          {Select{Where: []Cond{{"results", Lt, []any{nil}}}}, false, "not a number"},
		"null in a text":             {Select{Where: []Cond{{"state_string", Contains, []any{nil}}}}, false, "not a text"},
		"part of a number":           {Select{Where: []Cond{{"buildid", Contains, one}}}, false, "neither a text nor a list"},
		"many values":                {Select{Where: []Cond{{"buildid", In, many}}}, false, "1001 values"},
		"many conditions":            {Select{Where: slices.Repeat([]Cond{{"buildid", Eq, one}}, maxConds+1)}, false, "101 conditions"},
		"many orders":                {Select{Order: slices.Repeat([]Sort{{"buildid", false}}, maxSorts+1)}, false, "order by 21"},
		"negative offset":            {Select{Offset: -1}, false, "negative offset"},
	} {
		for _, limit := range []int{0, 10} {
			sel := tt.sel
			sel.Limit = limit
			_, err := s.SelectBuilds(t.Context(), sel)
			e, ok := errors.AsType[*QueryError](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || e.Unknown != tt.unknown {
				t.Errorf("%s, limit %d: %v", name, limit, err)
			}
		}
	}
	for name, sel := range map[string]Select{
		"order": {Order: []Sort{{"tags", false}}}, "lower": {Where: []Cond{{"tags", Lt, []any{"a"}}}},
	} {
		if _, err := s.SelectBuilders(t.Context(), sel); err == nil || !strings.Contains(err.Error(), "list") {
			t.Errorf("%s of a list: %v", name, err)
		}
	}
}

// Of many rows: what is counted to the end and what is not, and spans of time
// that are narrow or wide.
func TestSelectAmongMany(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	const n = windowMost + 500
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= n; id++ {
			at := t0.Add(time.Duration(id) * time.Second)
			b.PutBuild(&Build{
				ID: id, Builder: fmt.Sprint("b", id%2), Number: (id + 1) / 2, Worker: fmt.Sprint("w", id%3), Attempt: int(id % 5),
				Started: at, Completed: at, Result: build.Result(id % 4),
			})
		}
	})
	all, err := s.SelectBuilds(t.Context(), Select{Limit: NoLimit})
	if err != nil || all.Total != n || len(all.Rows) != n {
		t.Fatal(len(all.Rows), all.Total, err)
	}
	second := func(after int64) []any { return []any{t0.Unix() + after} }
	newest := []Sort{{"buildid", true}}
	for name, tt := range map[string]struct {
		sel     Select
		atLeast bool
	}{
		"all":                {sel: Select{Limit: 3}},
		"none":               {sel: Select{}},
		"builder":            {sel: Select{Where: []Cond{{"builder", Eq, []any{"b1"}}}, Limit: 3, Order: newest}},
		"builder, contains":  {sel: Select{Where: []Cond{{"builder", Contains, []any{"1"}}}, Limit: 3}},
		"results":            {sel: Select{Where: []Cond{{"results", Le, []any{int64(2)}}}, Limit: 3}},
		"results, complete":  {sel: Select{Where: []Cond{{"results", Ne, []any{int64(2)}}, {"complete", Eq, []any{true}}}, Limit: 3}},
		"many attempts":      {sel: Select{Where: []Cond{{"attempt", Ge, []any{int64(2)}}}, Limit: 3}, atLeast: true},
		"few attempts":       {sel: Select{Where: []Cond{{"attempt", Eq, []any{int64(2)}}}, Limit: 3}},
		"last page":          {sel: Select{Where: []Cond{{"attempt", Ge, []any{int64(2)}}}, Limit: 10, Offset: 1495}},
		"behind the end":     {sel: Select{Limit: 3, Offset: n + 1}},
		"beyond the count":   {sel: Select{Where: []Cond{{"attempt", Ge, []any{int64(2)}}}, Limit: 10, Offset: 1200}, atLeast: true},
		"narrow":             {sel: Select{Where: []Cond{{"started_at", Ge, second(n - 100)}}, Limit: 3, Order: newest}},
		"wide":               {sel: Select{Where: []Cond{{"started_at", Ge, second(100)}}, Limit: 3, Order: newest}, atLeast: true},
		"wide, oldest":       {sel: Select{Where: []Cond{{"started_at", Ge, second(100)}}, Limit: 3}, atLeast: true},
		"narrow, two bounds": {sel: Select{Where: []Cond{{"started_at", Ge, second(100)}, {"complete_at", Lt, second(200)}}, Limit: 3, Order: newest}},
	} {
		want, total := buildReference.want(all.Rows, tt.sel)
		got, err := s.SelectBuilds(t.Context(), tt.sel)
		if err != nil {
			t.Fatal(name, err)
		}
		if d := gocmp.Diff(want, got.Rows, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		least := max(countMost, int64(tt.sel.Offset+len(want)))
		if tt.atLeast != got.AtLeast || !got.AtLeast && got.Total != int64(total) || got.AtLeast && got.Total != least {
			t.Errorf("%s: %d (at least: %v) of %d", name, got.Total, got.AtLeast, total)
		}
	}
}

func TestSelectedProperties(t *testing.T) {
	s := selectable(t)
	for _, tt := range []struct {
		ask  []string
		want []string
	}{{nil, nil}, {[]string{"a"}, []string{"a"}}, {[]string{"*"}, []string{"a", "b"}}, {[]string{"c"}, nil}, {[]string{"b", "a"}, []string{"a", "b"}}} {
		p, err := s.SelectBuilds(t.Context(), Select{Properties: tt.ask, Limit: 1, Order: []Sort{{"buildid", true}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range p.Rows[0].Properties {
			got = append(got, name)
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) || p.Rows[0].ID != 120 || p.Rows[0].Builder != "b0" {
			t.Errorf("asked for %q: %q of %+v", tt.ask, got, p.Rows[0])
		}
	}
	r, err := s.SelectRequests(t.Context(), Select{Properties: []string{"*"}, Limit: 1})
	if err != nil || r.Rows[0].Properties["a"].Value != int64(1) || r.Rows[0].ID != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A name that comes later gets its id.
func TestIDsOfNewNames(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	ids := func() (list []int64) {
		p, err := s.SelectBuilds(t.Context(), Select{Limit: NoLimit})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			list = append(list, r.BuilderID, r.WorkerID)
		}
		return list
	}
	mustCommit(t, s, func(b *Batch) {
		b.PutBuild(&Build{ID: 1, Builder: "a", Number: 1, Worker: "v"})
		b.PutBuild(&Build{ID: 2, Builder: "b", Number: 1})
		b.PutBuilder(&Builder{ID: 7, Name: "a"})
	})
	if got := ids(); !slices.Equal(got, []int64{7, 0, 0, 0}) {
		t.Error(got)
	}
	mustCommit(t, s, func(b *Batch) {
		b.PutWorker(&Worker{ID: 8, Name: "v"})
		b.PutBuilder(&Builder{ID: 9, Name: "b"})
	})
	if got := ids(); !slices.Equal(got, []int64{7, 8, 9, 0}) {
		t.Error(got)
	}
}

func TestStepID(t *testing.T) {
	for _, tt := range []struct {
		build  int64
		number int
	}{{0, 0}, {1, 0}, {7, 3}, {1 << 32, 1<<20 - 1}} {
		b, n := SplitStepID(StepID(tt.build, tt.number))
		if b != tt.build || n != tt.number {
			t.Errorf("%+v became %d, %d", tt, b, n)
		}
	}
	if id := StepID(8_589_934_591, 1<<20-1); id > 1<<53-1 {
		t.Errorf("%d does not fit a number of JavaScript", id)
	}
}
