package store

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What steps leave behind is read as it was put, also after the database was
// opened anew, and goes with its build.
func TestKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, file)
	mustStart(t, s)
	files := []Artifact{{Build: 1, Number: 1, Step: 2, Name: "dist/a", Size: 5, SHA256: "ab"}, {Build: 1, Number: 2, Step: 3, Name: "b", SHA256: "cd"}}
	runs := []TestRun{{Build: 1, Step: 2, Reports: 2, Tests: 9, Failures: 1, Errors: 2, Skipped: 3, Duration: time.Minute}}
	failed := []FailedTest{
		{Build: 1, Number: 1, Step: 2, Duration: time.Second, Name: "n", Class: "c", File: "f", Message: "m", Output: "o"},
		{Build: 1, Number: 2, Step: 2, Error: true, Name: "x"},
	}
	put := func(b *Batch) {
		b.PutBuild(&Build{ID: 1, Request: 1, Builder: "b", Number: 1, Started: t0, Completed: t0})
		for i := range files {
			b.PutArtifact(&files[i])
			b.PutFailedTest(&failed[i])
		}
		b.PutTestRun(&runs[0])
		b.PutArtifact(&Artifact{Build: 2, Number: 1, Name: "other"})
	}
	mustCommit(t, s, put)
	mustCommit(t, s, put) // as after a commit whose end was not heard of
	check := func(id int64, wantFiles []Artifact, wantRuns []TestRun, wantFailed []FailedTest) {
		t.Helper()
		a, err1 := s.Artifacts(t.Context(), id)
		r, err2 := s.TestRuns(t.Context(), id)
		f, err3 := s.FailedTests(t.Context(), id)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]any{wantFiles, wantRuns, wantFailed}, []any{a, r, f}); d != "" {
			t.Errorf("build %d (-want +got):\n%s", id, d)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, file)
	check(1, files, runs, failed)
	check(3, nil, nil, nil)
	if a, err := s.Artifact(t.Context(), 1, 2); err != nil || a != files[1] {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := s.Artifact(t.Context(), 1, 3); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if runs[0].Passed() != 3 {
		t.Errorf("%d passed", runs[0].Passed())
	}
	mustStart(t, s)
	mustCommit(t, s, func(b *Batch) { b.DeleteArtifacts(2) })
	check(2, nil, nil, nil)
	check(1, files, runs, failed)
	mustCommit(t, s, func(b *Batch) { b.DeleteBuilds(1) })
	check(1, nil, nil, nil)
}

// Artifacts go by age, beside logs that are as old; never those of a build that
// runs.
func TestExpiredArtifacts(t *testing.T) {
	t.Parallel()
	s := aged(t)
	mustCommit(t, s, func(b *Batch) {
		for _, id := range []int64{2, 5, 9, 20} {
			b.PutArtifact(&Artifact{Build: id, Number: 1, Name: "a", Size: id})
			b.PutArtifact(&Artifact{Build: id, Number: 2, Name: "b", Size: 1})
		}
	})
	late := t0.Add(1000 * time.Hour)
	for _, tt := range []struct {
		name string
		r    Retention
		want []KeptFiles
	}{
		{"not asked for", Retention{LogsBefore: late}, nil},
		{"all", Retention{ArtifactsBefore: late}, []KeptFiles{{2, 3}, {5, 6}, {9, 10}}},
		{"a few", Retention{ArtifactsBefore: late, Limit: 1}, []KeptFiles{{2, 3}}},
		{"old ones", Retention{ArtifactsBefore: t0.Add(5*time.Hour + 9*time.Minute)}, []KeptFiles{{2, 3}}},
		{"no younger than the logs", Retention{ArtifactsBefore: late, LogsBefore: late, Limit: 10}, []KeptFiles{{2, 3}, {5, 6}}},
	} {
		e, err := s.Expired(t.Context(), tt.r)
		if err != nil || !slices.Equal(e.Artifacts, tt.want) || e.Empty() {
			t.Errorf("%s: %v, %v", tt.name, e.Artifacts, err)
		}
	}
	for range 3 {
		e, err := s.Expired(t.Context(), Retention{ArtifactsBefore: late, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(e.Batch()); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := s.Expired(t.Context(), Retention{ArtifactsBefore: late}); err != nil || !e.Empty() {
		t.Errorf("left: %+v, %v", e, err)
	}
}
