package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
)

// aged makes for each builder a and b ten builds with a request, two steps and
// two logs each; a build starts every hour and takes ten minutes; the last of b runs.
func aged(t *testing.T) *Store {
	t.Helper()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustStart(t, s)
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= 20; id++ {
			start := t0.Add(time.Duration(id) * time.Hour)
			r := Build{ID: id, Request: id, Builder: []string{"b", "a"}[id%2], Number: (id + 1) / 2, Started: start, Completed: start.Add(10 * time.Minute)}
			q := Request{ID: id, Builder: r.Builder, State: Done, Completed: r.Completed}
			if id == 20 {
				r.Result, r.Completed = build.None, time.Time{}
				q.State, q.Completed, q.Result = Running, time.Time{}, build.None
			}
			b.PutBuild(&r)
			b.PutRequest(&q)
			for n := range 2 {
				b.PutStep(&Step{Build: id, Number: n, Name: "s"})
				b.PutLog(&Log{ID: 2*id - 1 + int64(n), Build: id, Step: n, Name: "stdio", Ref: "r", Bytes: 10, Complete: true})
			}
		}
	})
	return s
}

func TestExpired(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		r        Retention
		builds   []int64
		requests []int64
		logs     []int64
	}{
		{"keep all", Retention{}, nil, nil, nil},
		{"more than there are", Retention{Builds: 10}, nil, nil, nil},
		{"eight builds", Retention{Builds: 8}, []int64{1, 3, 2, 4}, nil, []int64{1, 2, 5, 6, 3, 4, 7, 8}},
		{"one build, the running one stays", Retention{Builds: 9}, []int64{1, 2}, nil, []int64{1, 2, 3, 4}},
		{"old logs", Retention{LogsBefore: t0.Add(2*time.Hour + 11*time.Minute)}, nil, nil, []int64{1, 2, 3, 4}},
		{"the build ended after it", Retention{LogsBefore: t0.Add(2*time.Hour + 9*time.Minute)}, nil, nil, []int64{1, 2}},
		{"oldest logs first", Retention{LogsBefore: t0.Add(1000 * time.Hour), Limit: 3}, nil, nil, []int64{1, 2, 3}},
		{"both", Retention{Builds: 9, LogsBefore: t0.Add(3*time.Hour + 11*time.Minute)}, []int64{1, 2}, nil, []int64{1, 2, 3, 4, 5, 6}},
		{"limit", Retention{Builds: 1, Limit: 4}, []int64{1, 3}, nil, []int64{1, 2, 5, 6}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := aged(t).Expired(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			want := contentsOf{tt.builds, tt.requests, tt.logs}
			if d := cmp.Diff(want, contentsOf{e.Builds, e.Requests, ids(logID, e.Logs)}); d != "" {
				t.Error(d)
			}
			if e.Empty() != (len(tt.builds)+len(tt.requests)+len(tt.logs) == 0) {
				t.Errorf("empty: %v", e.Empty())
			}
		})
	}
}

type contentsOf struct{ Builds, Requests, Logs []int64 }

// In small batches all goes that should go, nothing else, and no id or number
// is given out again.
func TestExpiredToTheEnd(t *testing.T) {
	t.Parallel()
	s := aged(t)
	mustCommit(t, s, func(b *Batch) { // led to no build
		for id := int64(21); id <= 25; id++ {
			b.PutRequest(&Request{ID: id, Builder: "a", State: Done, Result: build.Skipped, Completed: t0})
		}
	})
	rounds := 0
	for {
		e, err := s.Expired(t.Context(), Retention{Builds: 2, LogsBefore: t0.Add(100 * time.Hour), Limit: 3})
		if err != nil {
			t.Fatal(err)
		}
		if e.Empty() {
			break
		}
		if err := s.Commit(e.Batch()); err != nil {
			t.Fatal(err)
		}
		if rounds++; rounds > 100 {
			t.Fatal("no end")
		}
	}
	if rounds < 5 {
		t.Errorf("%d rounds are not small ones", rounds)
	}
	c := dump(t, s)
	want := contentsOf{Builds: []int64{17, 18, 19, 20}, Requests: []int64{17, 18, 19, 20, 24, 25}, Logs: []int64{39, 40}}
	if d := cmp.Diff(want, contentsOf{ids(buildID, c.Builds), ids(requestID, c.Requests), ids(logID, c.Logs)}); d != "" {
		t.Error(d)
	}
	if len(c.Steps) != 8 {
		t.Errorf("%d steps are left of four builds", len(c.Steps))
	}
}

func TestIDsAreNotGivenOutAgain(t *testing.T) {
	s := aged(t)
	mustCommit(t, s, func(b *Batch) {
		for id := range int64(20) {
			b.PutRequest(&Request{ID: id + 1, Builder: []string{"b", "a"}[(id+1)%2], State: Done, Completed: t0.Add(time.Duration(id+1)*time.Hour + 10*time.Minute)})
			b.DeleteBuilds(id + 1)
			b.DeleteRequests(id + 1)
			b.DeleteLogs(2*id+1, 2*id+2)
		}
	})
	if c := dump(t, s); len(c.Builds) != 1 || len(c.Requests) != 0 || len(c.Logs) != 0 {
		t.Fatalf("left %d builds, %d requests, %d logs; want the running build", len(c.Builds), len(c.Requests), len(c.Logs))
	}
	r := mustStart(t, reopen(t, s))
	if r.NextRequest != 21 || r.NextBuild != 21 || r.NextLog != 41 || r.Numbers["a"] != 10 || r.Numbers["b"] != 10 {
		t.Errorf("%+v", r)
	}
}

// A log exists before its row does. After a crash its id is not used again,
// after a tidy end no id is wasted.
func TestLogIDsAfterACrash(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	first := mustStart(t, s).NextLog
	mustCommit(t, s, func(b *Batch) { b.PutLog(&Log{ID: first, Build: 1}) })
	made := first + 100 // files; no rows yet
	crashed := mustStart(t, mustOpen(t, snapshot(t, s.path))).NextLog
	if crashed <= made {
		t.Errorf("after a crash the next log is %d, but %d exists", crashed, made)
	}
	s = reopen(t, s)
	if tidy := mustStart(t, s).NextLog; tidy != first+1 {
		t.Errorf("after a tidy end the next log is %d, want %d", tidy, first+1)
	}
	// As many logs as were set aside, and more, make it set aside more.
	last := first
	for range 3 {
		last += logReserve/2 + 1
		mustCommit(t, s, func(b *Batch) { b.PutLog(&Log{ID: last, Build: 1}) })
		crashed := mustStart(t, mustOpen(t, snapshot(t, s.path))).NextLog
		if crashed < last+logReserve/2 {
			t.Errorf("log %d is committed; after a crash the next is %d", last, crashed)
		}
	}
}
