package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// populate makes 40 builds, ids 1–40, of builders a (odd) and b (even), worker
// w0–w3, result id%3, the last four running; request id/2.
func populate(t *testing.T) *Store {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= 40; id++ {
			r := Build{
				ID: id, Request: id / 2, Builder: []string{"b", "a"}[id%2], Number: (id + 1) / 2, Worker: fmt.Sprint("w", id%4),
				Token: worker.Token{Epoch: 1, Counter: id}, Started: t0.Add(time.Duration(id) * time.Minute), Result: build.Result(id % 3),
			}
			r.Completed = r.Started.Add(time.Duration(id) * time.Second)
			if id > 36 {
				r.Result, r.Completed = build.None, time.Time{}
			}
			b.PutBuild(&r)
			req := Request{ID: id, Builder: r.Builder, State: Done, Completed: t0}
			if id > 36 {
				req.State, req.Completed, req.Result = Pending, time.Time{}, build.None
			}
			b.PutRequest(&req)
		}
	})
	return s
}

func ids[T any](id func(T) int64, list []T) []int64 {
	var l []int64
	for _, v := range list {
		l = append(l, id(v))
	}
	return l
}

func buildID(b Build) int64     { return b.ID }
func requestID(r Request) int64 { return r.ID }
func logID(l Log) int64         { return l.ID }

func TestBuilds(t *testing.T) {
	s := populate(t)
	for _, tt := range []struct {
		name string
		f    Filter
		want []int64
	}{
		{"limit", Filter{Limit: 3}, []int64{40, 39, 38}},
		{"next page", Filter{Limit: 3, Before: 38}, []int64{37, 36, 35}},
		{"builder", Filter{Builder: "a", Limit: 3}, []int64{39, 37, 35}},
		{"builder, next page", Filter{Builder: "a", Limit: 3, Before: 35}, []int64{33, 31, 29}},
		{"worker", Filter{Worker: "w2", Limit: 2}, []int64{38, 34}},
		{"request", Filter{Request: 7}, []int64{15, 14}},
		{"running", Filter{Running: true}, []int64{40, 39, 38, 37}},
		{"running of a builder", Filter{Running: true, Builder: "b"}, []int64{40, 38}},
		{"results", Filter{Results: []build.Result{build.Warnings, build.Failure}, Limit: 3}, []int64{35, 34, 32}},
		{"all at once", Filter{Builder: "b", Worker: "w2", Request: 15, Results: []build.Result{build.Success}, Before: 40}, []int64{30}},
		{"none", Filter{Builder: "c"}, nil},
		{"not SQL", Filter{Builder: "a' OR 1=1 --"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Builds(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, ids(buildID, got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	s := populate(t)
	for _, tt := range []struct {
		f    RequestFilter
		want []int64
	}{
		{RequestFilter{Limit: 2}, []int64{40, 39}},
		{RequestFilter{Open: true}, []int64{40, 39, 38, 37}},
		{RequestFilter{Builder: "a", Limit: 2, Before: 37}, []int64{35, 33}},
		{RequestFilter{Builder: "a", Open: true}, []int64{39, 37}},
	} {
		got, err := s.Requests(t.Context(), tt.f)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, ids(requestID, got)); d != "" {
			t.Errorf("%+v: %s", tt.f, d)
		}
	}
}

func TestQueriesEndWithTheirContext(t *testing.T) {
	s := populate(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Builds(ctx, Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("builds: %v", err)
	}
}

// Nothing that runs at a start or for a page reads a whole table.
func TestPlansUseIndexes(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	for name, q := range map[string]string{
		"open requests":      "SELECT * FROM requests WHERE state < 2 ORDER BY id",
		"unfinished builds":  "SELECT * FROM builds WHERE result = -1 ORDER BY id",
		"unfinished steps":   "SELECT * FROM steps WHERE build = 1 AND result < 0 ORDER BY number",
		"open logs":          "SELECT * FROM logs " + openLogs,
		"builder":            "SELECT * FROM builds WHERE builder = 'a' AND id < 9 ORDER BY number DESC LIMIT 9",
		"worker":             "SELECT * FROM builds WHERE worker = 'a' AND id < 9 ORDER BY id DESC LIMIT 9",
		"request":            "SELECT * FROM builds WHERE request = 1 ORDER BY id DESC LIMIT 9",
		"running":            "SELECT * FROM builds WHERE result = -1 ORDER BY id DESC LIMIT 9",
		"requests":           "SELECT * FROM requests WHERE builder = 'a' ORDER BY id DESC LIMIT 9",
		"good builds":        "SELECT * FROM builds WHERE builder = 'a' AND result IN (0, 1) ORDER BY number DESC LIMIT 9",
		"mails":              "SELECT * FROM mails WHERE done = 0 ORDER BY id",
		"what is too many":   expiredBuilds,
		"requests too many":  expiredRequests,
		"last build numbers": lastNumbers,
	} {
		plan := planOf(t, s, q, make([]any, strings.Count(q, "?"))...)
		bad := slices.ContainsFunc(plan, func(d string) bool {
			for _, table := range []string{"requests", "builds", "steps", "logs", "b", "r"} {
				if d == "SCAN "+table {
					return true
				}
			}
			return strings.Contains(d, "TEMP B-TREE")
		})
		if bad {
			t.Errorf("%s:\n  %s", name, strings.Join(plan, "\n  "))
		}
	}
}

func TestHistory(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	empty, err := s.History(t.Context(), "a", "h")
	if err != nil || empty.Build != 0 || len(empty.Steps)+len(empty.Memory) != 0 {
		t.Fatalf("without builds: %+v, %v", empty, err)
	}
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= 60; id++ {
			r := Build{ID: id, Builder: "a", Number: id, Started: t0, Completed: t0.Add(time.Duration(id) * time.Second), StepsHash: "h", PeakMemory: id << 20}
			switch {
			case id == 60: // runs
				r.Result, r.Completed = build.None, time.Time{}
			case id%3 == 0:
				r.Result, r.PeakMemory = build.Failure, 1<<40
			case id%3 == 1:
				r.Result = build.Warnings
			}
			if id == 50 {
				r.StepsHash = "other"
			}
			if id == 49 {
				r.PeakMemory = 0
			}
			b.PutBuild(&r)
			b.PutStep(&Step{Build: id, Number: 0, Name: "compile", Started: t0, Completed: t0.Add(time.Duration(id) * time.Millisecond)})
			b.PutStep(&Step{Build: id, Number: 1, Name: "skipped", Started: t0, Completed: t0, Result: build.Skipped})
		}
		b.PutBuild(&Build{ID: 61, Builder: "b", Number: 1, Started: t0, Completed: t0.Add(time.Hour), StepsHash: "h", PeakMemory: 1})
	})
	// Good ones: 59 58 56 55 53 52 50 49 47 46 44 43 41 40 38 37 35 34 32 31 (29 28): 20, the middle two are 46 and 44.
	want := History{
		Build: 45 * time.Second, Steps: map[string]time.Duration{"compile": 45 * time.Millisecond},
	}
	for _, id := range []int64{59, 58, 56, 55, 53, 52, 47, 46, 44, 43, 41, 40, 38, 37, 35, 34, 32, 31, 29, 28} {
		want.Memory = append(want.Memory, id<<20)
	}
	got, err := s.History(t.Context(), "a", "h")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got, err = s.History(t.Context(), "a", "other")
	if err != nil || !slices.Equal(got.Memory, []int64{50 << 20}) || got.Build != want.Build {
		t.Errorf("other steps: %+v, %v", got, err)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []time.Duration
		want time.Duration
	}{{[]time.Duration{5}, 5}, {[]time.Duration{9, 1}, 5}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{4, 100, 1, 2}, 3}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.in, got, tt.want)
		}
	}
}
