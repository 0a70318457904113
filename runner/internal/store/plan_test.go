package store

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planOf is what the database says it does for a query.
func planOf(t *testing.T, s *Store, query string, args ...any) []string {
	t.Helper()
	rows, err := s.conn.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return plan
}

// The plan of a question is known by how it finds rows in the table, and by
// whether it sorts them. SCAN is reading in the order of the key until there is
// a page full: conditions that most rows meet, or none.
func TestPlansOfPages(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	sorted := "USE TEMP B-TREE FOR ORDER BY"
	want := map[string][]string{
		"newest":                   {"SCAN builds"},
		"newest with properties":   {"SCAN builds"},
		"newest with one property": {"SCAN builds"},
		"oldest":                   {"SCAN builds"},
		"before":                   {"SEARCH builds USING INTEGER PRIMARY KEY (rowid<?)"},
		"one":                      {"SEARCH builds USING INTEGER PRIMARY KEY (rowid=?)"},
		"running":                  {"SEARCH builds USING INDEX builds_result (result=?)", sorted},
		"finished":                 {"SCAN builds"},
		"last finished":            {"SCAN builds USING INDEX builds_completed"},
		"failed":                   {"SEARCH builds USING INDEX builds_result (result=?)"},
		"not good": slices.Concat(
			[]string{"SEARCH builds USING INTEGER PRIMARY KEY (rowid=?)"},
			slices.Repeat([]string{"SEARCH builds USING COVERING INDEX builds_result (result=?)"}, 4),
		),
		"cancelled":         {"SEARCH builds USING INDEX builds_result (result=?)"},
		"builder":           {"SEARCH builds USING INDEX builds_number (builder=?)"},
		"builder by number": {"SEARCH builds USING INDEX builds_number (builder=?)"},
		"builders": slices.Concat(
			[]string{"SEARCH builds USING INTEGER PRIMARY KEY (rowid=?)"},
			slices.Repeat([]string{"SEARCH builds USING COVERING INDEX builds_number (builder=?)"}, 2),
		),
		"number":             {"SEARCH builds USING INDEX builds_number (builder=? AND number=?)"},
		"failed of builder":  {"SEARCH builds USING INDEX builds_number (builder=?)"},
		"running of builder": {"SEARCH builds USING INDEX builds_result (result=?)"},
		"worker":             {"SEARCH builds USING INDEX builds_worker (worker=?)"},
		"request":            {"SEARCH builds USING INDEX builds_request (request=?)"},
		"last hour":          {"SCAN builds"},
		"far away":           {"SCAN builds"},
	}
	for _, p := range pages {
		st, err := buildTable.rows(&p.sel, "*", false)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, s, p.name, "builds", st, want[p.name])
	}
	hour := []Cond{{"started_at", Ge, []any{int64(1)}}, {"started_at", Lt, []any{int64(2)}}}
	newest := []Sort{{"buildid", true}}
	for _, tt := range []struct {
		name   string
		t      *table
		sel    Select
		narrow bool
		want   []string
	}{
		{"few in an hour", &buildTable, Select{Where: hour, Order: newest}, true, []string{"SEARCH builds USING INDEX builds_started (started>? AND started<?)", sorted}},
		{"many in an hour", &buildTable, Select{Where: hour, Order: newest}, false, []string{"SCAN builds"}},
		{"by start", &buildTable, Select{Where: hour, Order: []Sort{{"started_at", true}}}, false, []string{"SEARCH builds USING INDEX builds_started (started>? AND started<?)"}},
		{"failed, by end", &buildTable, Select{Where: []Cond{{"results", Eq, []any{int64(2)}}}, Order: []Sort{{"complete_at", true}}}, false, []string{"SCAN builds USING INDEX builds_completed"}},
		{"builder by name", &buildTable, Select{Where: []Cond{{"builder", Eq, []any{"b"}}}, Order: newest}, false, []string{"SEARCH builds USING INDEX builds_number (builder=?)"}},
		{"worker, before", &buildTable, Select{Where: []Cond{{"worker", Eq, []any{"w"}}, {"buildid", Lt, []any{int64(9)}}}, Order: newest}, false, []string{"SEARCH builds USING INDEX builds_worker (worker=? AND rowid<?)"}},
		{"open requests", &requestTable, Select{Where: []Cond{{"complete", Eq, []any{false}}}}, false, []string{"SCAN requests USING INDEX requests_open"}},
		{"unclaimed requests", &requestTable, Select{Where: []Cond{{"claimed", Eq, []any{false}}}}, false, []string{"SCAN requests USING INDEX requests_open"}},
		{"requests of a builder", &requestTable, Select{Where: []Cond{{"builderid", Eq, []any{int64(1)}}}, Order: []Sort{{"buildrequestid", true}}}, false, []string{"SEARCH requests USING INDEX requests_builder (builder=?)"}},
		{"a request", &requestTable, Select{Where: []Cond{{"bsid", Eq, []any{int64(1)}}}}, false, []string{"SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)"}},
		{"steps of a build", &stepTable, Select{Where: []Cond{{"buildid", Eq, []any{int64(1)}}, {"hidden", Eq, []any{false}}}}, false, []string{"SEARCH steps USING PRIMARY KEY (build=?)"}},
		{"a step", &stepTable, Select{Where: []Cond{{"stepid", Eq, []any{int64(1)}}}}, false, []string{"SEARCH steps USING PRIMARY KEY (build=? AND number=?)"}},
		{"two steps", &stepTable, Select{Where: []Cond{{"stepid", In, []any{int64(1), int64(2)}}}}, false, []string{"SEARCH steps USING PRIMARY KEY (build=? AND number=?)", sorted}},
		{"later steps", &stepTable, Select{Where: []Cond{{"stepid", Gt, []any{int64(1)}}}}, false, []string{"SEARCH steps USING PRIMARY KEY ((build,number)>(?,?))"}},
		{"logs of a step", &logTable, Select{Where: []Cond{{"stepid", Eq, []any{int64(1)}}}}, false, []string{"SEARCH logs USING INDEX logs_build (build=?)"}},
		{"logs of a build", &logTable, Select{Where: []Cond{{"buildid", Eq, []any{int64(1)}}}}, false, []string{"SEARCH logs USING INDEX logs_build (build=?)"}},
		{"waiting mails", &mailTable, Select{Where: []Cond{{"done", Eq, []any{false}}}}, false, []string{"SCAN mails USING INDEX mails_open"}},
		{"mails of a worker", &mailTable, Select{Where: []Cond{{"worker", Eq, []any{"w"}}}, Order: []Sort{{"mailid", true}}}, false, []string{"SEARCH mails USING INDEX mails_worker (worker=?)"}},
		{"a worker's journal", &journalTable, Select{Where: []Cond{{"kind", Eq, []any{"worker"}}, {"name", Eq, []any{"w"}}}, Order: []Sort{{"entryid", true}}}, false, []string{"SEARCH journal USING INDEX journal_name (name=?)"}},
		{"newest of the journal", &journalTable, Select{Order: []Sort{{"entryid", true}}}, false, []string{"SCAN journal"}},
	} {
		tt.sel.Limit = 100
		st, err := tt.t.rows(&tt.sel, "*", tt.narrow)
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, s, tt.name, tt.t.name, st, tt.want)
	}
	// Totals are not counted.
	for _, p := range pages {
		st, known, err := buildTable.known(&p.sel)
		if err != nil {
			t.Fatal(err)
		}
		if known {
			checkPlan(t, s, p.name, "builds", st, nil)
		}
	}
}

// checkPlan compares what a plan does with a table.
func checkPlan(t *testing.T, s *Store, name, table string, st clause, want []string) {
	t.Helper()
	plan := planOf(t, s, st.sql, st.args...)
	got := slices.DeleteFunc(slices.Clone(plan), func(d string) bool {
		words := strings.Fields(d)
		return words[1] != table && !strings.Contains(d, "TEMP B-TREE")
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q\nplan %q\n%s", name, got, want, plan, st.sql)
	}
}
