package store

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// t0 is a time with nanoseconds.
var t0 = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustStart(t testing.TB, s *Store) Recovered {
	t.Helper()
	r, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustCommit(t testing.TB, s *Store, f func(b *Batch)) {
	t.Helper()
	b := NewBatch()
	f(b)
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, s.path)
}

// Full rows: every field has a value of its own, so that a column that is
// forgotten or swapped shows.
func fullRequest(id int64) Request {
	return Request{
		ID: id, Builder: "b", Priority: -3, Submitted: t0, Reason: "because \x00 of", Properties: build.Properties{
			"n": {Value: int64(9007199254740993), Source: "cli"}, "null": {Value: nil, Source: ""}, "big": {Value: strings.Repeat("x", 64<<10), Source: "s"},
		}, CollapseKey: "k", Worker: "w", Session: "s", Spec: []byte{0, 1, 255}, State: Done, Result: build.Cancelled,
		Completed: t0.Add(time.Hour), Attempts: 4, Retries: 2, Memory: 1 << 40, Replaced: 77, Text: "téxt \xff",
	}
}

func fullBuild(id int64) Build {
	return Build{
		ID: id, Request: 5, Builder: "b", Number: id + 100, Worker: "w", Token: worker.Token{Epoch: 3, Counter: 9}, Attempt: 2,
		Started: t0, Completed: t0.Add(time.Second), Result: build.Exception, Text: "broke", Cause: "worker", Dir: "/d", Kept: "/k",
		Properties: build.Properties{"p": {Value: []any{int64(1), 2.5, "x"}, Source: "q"}}, StepsHash: "h", PeakMemory: 123,
		CPU: 456, Ended: []string{"sleep 1000", `a "quoted" one`},
	}
}

func fullStep(b int64, n int) Step {
	return Step{Build: b, Number: n, Name: "compile", Started: t0, Completed: t0.Add(time.Minute), Result: build.Warnings, Text: "2 warnings", Hidden: true}
}

func fullLog(id, b int64) Log {
	return Log{ID: id, Build: b, Step: 3, Name: "stdio", Ref: "seg:1:2:3", Lines: 10, Bytes: 1000, Truncated: true, Complete: true}
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	r, b, st, l := fullRequest(5), fullBuild(8), fullStep(8, 2), fullLog(11, 8)
	mustCommit(t, s, func(x *Batch) {
		x.PutRequest(&r)
		x.PutBuild(&b)
		x.PutStep(&st)
		x.PutLog(&l)
		x.PutMeta("worker/w", []byte("paused"))
	})
	s = reopen(t, s)
	ctx := t.Context()
	check := func(got, want any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	gotR, err := s.Request(ctx, 5)
	check(gotR, r, err)
	gotB, err := s.Build(ctx, "b", 108)
	check(gotB, b, err)
	gotB, err = s.BuildByID(ctx, 8)
	check(gotB, b, err)
	gotS, err := s.Steps(ctx, 8)
	check(gotS, []Step{st}, err)
	gotLs, err := s.Logs(ctx, 8)
	check(gotLs, []Log{l}, err)
	gotL, err := s.Log(ctx, 11)
	check(gotL, l, err)
	gotM, err := s.Meta(ctx, "worker/w")
	check(string(gotM), "paused", err)
	gotP, err := s.MetaPrefix(ctx, "worker/")
	check(gotP, map[string][]byte{"worker/w": []byte("paused")}, err)
	all, err := s.MetaPrefix(ctx, "")
	check(all, map[string][]byte{"worker/w": []byte("paused")}, err)

	for what, err := range map[string]error{
		"request": second(s.Request(ctx, 6)), "build": second(s.Build(ctx, "b", 1)),
		"log": second(s.Log(ctx, 1)), "meta": second(s.Meta(ctx, "x")),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("missing %s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhatIsPutIsCopied(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	r := fullRequest(5)
	want := r
	want.Properties, want.Spec = r.Properties.Clone(), []byte{0, 1, 255}
	b := NewBatch()
	b.PutRequest(&r)
	r.Properties["n"] = build.Property{Value: "changed"}
	r.Spec[0] = 9
	r.Text = "changed"
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
	got, err := s.Request(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	first := mustStart(t, s)
	if first.Epoch != 1 || first.NextRequest != 1 || first.NextBuild != 1 || first.NextLog != 1 || len(first.Numbers) != 0 || first.ID == "" {
		t.Fatalf("new database: %+v", first)
	}
	open := fullRequest(4)
	open.State, open.Result, open.Completed = Pending, build.None, time.Time{}
	running := open
	running.ID, running.State = 6, Running
	done := fullRequest(5)
	building := fullBuild(9)
	building.Request, building.Result, building.Completed = 6, build.None, time.Time{}
	stepOpen := fullStep(9, 1)
	stepOpen.Result, stepOpen.Completed = build.None, time.Time{}
	logOpen := fullLog(21, 9)
	logOpen.Complete = false
	ended, stepDone, logDone, stepOther, logOther := fullBuild(8), fullStep(9, 0), fullLog(20, 9), fullStep(8, 0), fullLog(19, 8)
	logGivenUp := fullLog(18, 8) // its build is over
	logGivenUp.Complete = false
	mustCommit(t, s, func(b *Batch) {
		for _, r := range []*Request{&open, &done, &running} {
			b.PutRequest(r)
		}
		b.PutBuild(&ended)
		b.PutBuild(&building)
		for _, st := range []*Step{&stepDone, &stepOpen, &stepOther} {
			b.PutStep(st)
		}
		for _, l := range []*Log{&logDone, &logOpen, &logOther, &logGivenUp} {
			b.PutLog(l)
		}
	})
	s = reopen(t, s)
	want := Recovered{
		ID: first.ID, Epoch: 2, NextRequest: 7, NextBuild: 10, NextLog: 22,
		NextWorker: 1, NextBuilder: 1, NextScheduler: 1, NextMail: 1, NextEntry: 1, Numbers: map[string]int64{"b": 109},
		Requests:   []Request{open, running},
		Unfinished: []Unfinished{{Build: building, Steps: []Step{stepOpen}}},
		Logs:       []Log{logGivenUp, logOpen},
	}
	if d := cmp.Diff(want, mustStart(t, s)); d != "" {
		t.Error(d)
	}
}

func TestEpochIsOnDiskBeforeStartReturns(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	for want := int64(1); want < 4; want++ {
		if r := mustStart(t, s); r.Epoch != want {
			t.Fatalf("epoch %d, want %d", r.Epoch, want)
		}
		copied := snapshot(t, s.path) // what kill -9 would leave
		if r := mustStart(t, mustOpen(t, copied)); r.Epoch != want+1 {
			t.Errorf("after a crash epoch %d, want %d", r.Epoch, want+1)
		}
	}
}

// snapshot copies the database as it is on disk, without closing it.
func snapshot(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "state.db")
	for _, suffix := range []string{"-wal", ""} {
		data, err := os.ReadFile(path + suffix)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestCloseIsTidyAndFinal(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustStart(t, s)
	if _, err := s.Builds(t.Context(), Filter{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(s.path + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, %v; want the database alone", left, err)
	}
	// The file alone is the whole database.
	alone := filepath.Join(t.TempDir(), "state.db")
	data, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := mustStart(t, mustOpen(t, alone)); r.Epoch != 2 {
		t.Errorf("epoch %d in a copy", r.Epoch)
	}
	b := NewBatch()
	b.PutMeta("k", nil)
	_, serr := s.Start()
	for _, err := range []error{s.Commit(b), serr, second(s.Builds(context.Background(), Filter{}))} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
