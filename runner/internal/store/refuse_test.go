package store

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// What is settled does not change; the rest of the batch is written.
func TestSettledRowsDoNotChange(t *testing.T) {
	t.Parallel()
	done, ended, step, log := fullRequest(1), fullBuild(1), fullStep(1, 1), fullLog(1, 1)
	building := fullBuild(2)
	building.Result, building.Completed = build.None, time.Time{}
	tests := []struct {
		name string
		put  func(b *Batch)
		want string // "": it is written
	}{
		{"the same again", func(b *Batch) { b.PutRequest(&done); b.PutBuild(&ended); b.PutStep(&step); b.PutLog(&log) }, ""},
		{"other result of a request", func(b *Batch) { r := done; r.Result = build.Success; b.PutRequest(&r) }, "request 1 (is of builder b, done with result 6)"},
		{"second completion with the same result", func(b *Batch) { r := done; r.Completed = t0.Add(time.Minute); b.PutRequest(&r) }, "request 1"},
		{"done to running", func(b *Batch) {
			r := done
			r.State, r.Result, r.Completed = Running, build.None, time.Time{}
			b.PutRequest(&r)
		}, "request 1"},
		{"other text of a done request", func(b *Batch) { r := done; r.Text = "more"; b.PutRequest(&r) }, ""},
		{"other builder of a request", func(b *Batch) { r := done; r.Builder = "x"; b.PutRequest(&r) }, "request 1 (is of builder b"},
		{"other result of a build", func(b *Batch) { r := ended; r.Result = build.Success; b.PutBuild(&r) }, "build 1 (build 1 is b 101 of request 5 on worker w, attempt 3.9, ended with result 4)"},
		{"ended build runs again", func(b *Batch) { r := ended; r.Result, r.Completed = build.None, time.Time{}; b.PutBuild(&r) }, "build 1"},
		{"directory of an ended build is gone", func(b *Batch) { r := ended; r.Kept = ""; b.PutBuild(&r) }, ""},
		{"older epoch", func(b *Batch) { r := building; r.Token = worker.Token{Epoch: 2, Counter: 99}; b.PutBuild(&r) }, "build 2 (build 2 is b 102 of request 5 on worker w, attempt 3.9)"},
		{"older counter", func(b *Batch) { r := building; r.Token.Counter--; b.PutBuild(&r) }, "build 2"},
		{"newer counter", func(b *Batch) { r := building; r.Token.Counter++; b.PutBuild(&r) }, ""},
		{"newer epoch", func(b *Batch) { r := building; r.Token = worker.Token{Epoch: 4, Counter: 1}; b.PutBuild(&r) }, ""},
		{"number of another build", func(b *Batch) { r := building; r.ID = 3; b.PutBuild(&r) }, "build 3 (build 2 is b 102"},
		{"id of another build", func(b *Batch) { r := building; r.Number = 7; b.PutBuild(&r) }, "build 2"},
		{"other result of a step", func(b *Batch) { r := step; r.Result = build.Success; b.PutStep(&r) }, "step 1 of build 1 (ended with result 1)"},
		{"other text of an ended step", func(b *Batch) { r := step; r.Text = "x"; b.PutStep(&r) }, ""},
		{"complete log grows", func(b *Batch) { r := log; r.Complete = false; b.PutLog(&r) }, "log 1 (is of build 1, complete)"},
		{"complete log moves", func(b *Batch) { r := log; r.Ref = "file:1"; b.PutLog(&r) }, ""},
		{"log of another build", func(b *Batch) { r := log; r.Build = 2; b.PutLog(&r) }, "log 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
			mustCommit(t, s, func(b *Batch) {
				b.PutRequest(&done)
				b.PutBuild(&ended)
				b.PutBuild(&building)
				b.PutStep(&step)
				b.PutLog(&log)
			})
			before := dump(t, s)
			b := NewBatch()
			tt.put(b)
			for range 2 { // the engine may commit a batch again
				err := s.Commit(b)
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				e, ok := errors.AsType[*RefusedError](err)
				if !ok || len(e.Rows) != 1 || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want %q refused", err, tt.want)
				}
			}
			after := dump(t, s)
			if same := cmp.Equal(before, after); same != (tt.want != "" || tt.name == "the same again") {
				t.Errorf("changed: %v\n%s", !same, cmp.Diff(before, after))
			}

			b.PutMeta("rest", []byte("written"))
			if err := s.Commit(b); (err == nil) != (tt.want == "") {
				t.Fatal(err)
			}
			s = reopen(t, s)
			if v, err := s.Meta(t.Context(), "rest"); string(v) != "written" {
				t.Errorf("the rest of the batch: %q, %v", v, err)
			}
		})
	}
}

// contents is everything in a database.
type contents struct {
	Requests []Request
	Builds   []Build
	Steps    []Step
	Logs     []Log
	Meta     map[string][]byte

	Workers    []Worker
	Builders   []Builder
	Schedulers []Scheduler
	Mails      []Mail
	Entries    []Entry
}

func dump(t interface {
	Helper()
	Fatal(...any)
}, s *Store) (c contents) {
	t.Helper()
	ctx := context.Background()
	q, rerr := s.reader()
	if rerr != nil {
		t.Fatal(rerr)
	}
	var err [10]error
	c.Requests, err[0] = s.requests(ctx, q, "ORDER BY id")
	c.Builds, err[1] = s.builds(ctx, q, "ORDER BY id")
	c.Steps, err[2] = stepRows.list(ctx, s, q, "ORDER BY build, number")
	c.Logs, err[3] = logRows.list(ctx, s, q, "ORDER BY id")
	c.Meta, err[4] = s.MetaPrefix(ctx, "")
	c.Workers, err[5] = workerRows.list(ctx, s, q, "ORDER BY id")
	c.Builders, err[6] = builderRows.list(ctx, s, q, "ORDER BY id")
	c.Schedulers, err[7] = schedulerRows.list(ctx, s, q, "ORDER BY id")
	c.Mails, err[8] = mailRows.list(ctx, s, q, "ORDER BY id")
	c.Entries, err[9] = entryRows.list(ctx, s, q, "ORDER BY id")
	if err := errors.Join(err[:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRefusedErrorNamesAFew(t *testing.T) {
	e := &RefusedError{}
	for _, what := range []string{"build 1", "build 2", "build 3", "build 4", "build 5"} {
		e.Rows = append(e.Rows, Refused{what, "why"})
	}
	want := "refused to change what is settled: build 1 (why), build 2 (why), build 3 (why) and 2 more"
	if e.Error() != want {
		t.Errorf("%q", e.Error())
	}
}
