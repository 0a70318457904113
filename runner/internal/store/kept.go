package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"
)

// Artifact is a file of a build that is kept, keyed by Build and Number. Its
// bytes are never in the database.
type Artifact struct {
	Build  int64
	Number int // counts within the build, from 1
	Step   int
	Name   string // relative to the build's directory, with slashes
	Size   int64  // bytes
	SHA256 string // hexadecimal
}

// TestRun is what the test reports of a step say in all, keyed by Build and Step.
type TestRun struct {
	Build                            int64
	Step                             int
	Reports                          int
	Tests, Failures, Errors, Skipped int64
	Duration                         time.Duration // of all tests together
}

// Passed is how many tests neither failed nor were skipped.
func (t *TestRun) Passed() int64 { return t.Tests - t.Failures - t.Errors - t.Skipped }

// FailedTest is a test that did not pass, keyed by Build and Number.
type FailedTest struct {
	Build    int64
	Number   int // counts within the build, from 1
	Step     int
	Error    bool // it broke, rather than failed
	Duration time.Duration
	Name     string
	Class    string
	File     string
	Message  string
	Output   string
}

// numberedKey identifies one of several things of a build.
type numberedKey struct {
	build  int64
	number int
}

// PutArtifact records a file that is kept.
func (b *Batch) PutArtifact(r *Artifact) { b.artifacts.put(numberedKey{r.Build, r.Number}, *r) }

// PutTestRun records what the test reports of a step say.
func (b *Batch) PutTestRun(r *TestRun) { b.testRuns.put(numberedKey{r.Build, r.Step}, *r) }

// PutFailedTest records a test that did not pass.
func (b *Batch) PutFailedTest(r *FailedTest) { b.failedTests.put(numberedKey{r.Build, r.Number}, *r) }

// DeleteArtifacts removes the rows of all files of the builds.
func (b *Batch) DeleteArtifacts(builds ...int64) { putIDs(&b.dropArtifacts, builds) }

func (w *writer) artifact(r *Artifact) error {
	err := w.s.run(w.ctx, `INSERT OR REPLACE INTO artifacts (build, number, step, name, size, sha256) VALUES (?, ?, ?, ?, ?, ?)`,
		r.Build, r.Number, r.Step, r.Name, r.Size, r.SHA256)
	if err != nil {
		return fmt.Errorf("artifact %d of build %d: %w", r.Number, r.Build, err)
	}
	return nil
}

func (w *writer) testRun(r *TestRun) error {
	err := w.s.run(w.ctx, `INSERT OR REPLACE INTO test_runs (build, step, reports, tests, failures, errors, skipped, duration)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, r.Build, r.Step, r.Reports, r.Tests, r.Failures, r.Errors, r.Skipped, int64(r.Duration))
	if err != nil {
		return fmt.Errorf("tests of step %d of build %d: %w", r.Step, r.Build, err)
	}
	return nil
}

func (w *writer) failedTest(r *FailedTest) error {
	err := w.s.run(w.ctx, `INSERT OR REPLACE INTO failed_tests (build, number, step, error, duration, name, class, file, message, output)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Build, r.Number, r.Step, r.Error, int64(r.Duration), r.Name, r.Class, r.File, r.Message, r.Output)
	if err != nil {
		return fmt.Errorf("failed test %d of build %d: %w", r.Number, r.Build, err)
	}
	return nil
}

// removeKept removes what a build has in the tables of this file.
func (w *writer) removeKept(build int64) error {
	for _, query := range []string{
		`DELETE FROM artifacts WHERE build = ?`, `DELETE FROM test_runs WHERE build = ?`, `DELETE FROM failed_tests WHERE build = ?`,
	} {
		if err := w.s.run(w.ctx, query, build); err != nil {
			return err
		}
	}
	return nil
}

// Artifacts returns the files that are kept of a build, in the order of their
// numbers.
func (s *Store) Artifacts(ctx context.Context, buildID int64) ([]Artifact, error) {
	return read(s, func(q querier) ([]Artifact, error) {
		return artifacts(ctx, q, `WHERE build = ? ORDER BY number`, buildID)
	}, "read artifacts of build %d", buildID)
}

// Artifact returns one of them, or [ErrNotFound].
func (s *Store) Artifact(ctx context.Context, buildID int64, number int) (Artifact, error) {
	return one(read(s, func(q querier) ([]Artifact, error) {
		return artifacts(ctx, q, `WHERE build = ? AND number = ?`, buildID, number)
	}, "read artifact %d of build %d", number, buildID))
}

func artifacts(ctx context.Context, q querier, what string, args ...any) (list []Artifact, err error) {
	err = scan(ctx, q, func(rows *sql.Rows) error {
		var a Artifact
		err := rows.Scan(&a.Build, &a.Number, &a.Step, &a.Name, &a.Size, &a.SHA256)
		list = append(list, a)
		return err
	}, `SELECT build, number, step, name, size, sha256 FROM artifacts `+what, args...)
	return list, err
}

// TestRuns returns what the test reports of a build's steps say, by step.
func (s *Store) TestRuns(ctx context.Context, buildID int64) ([]TestRun, error) {
	return read(s, func(q querier) (list []TestRun, err error) {
		err = scan(ctx, q, func(rows *sql.Rows) error {
			var t TestRun
			err := rows.Scan(&t.Build, &t.Step, &t.Reports, &t.Tests, &t.Failures, &t.Errors, &t.Skipped, &t.Duration)
			list = append(list, t)
			return err
		}, `SELECT build, step, reports, tests, failures, errors, skipped, duration FROM test_runs WHERE build = ? ORDER BY step`, buildID)
		return list, err
	}, "read tests of build %d", buildID)
}

// FailedTests returns the tests of a build that did not pass, as far as they were
// recorded.
func (s *Store) FailedTests(ctx context.Context, buildID int64) ([]FailedTest, error) {
	return read(s, func(q querier) (list []FailedTest, err error) {
		err = scan(ctx, q, func(rows *sql.Rows) error {
			var t FailedTest
			err := rows.Scan(&t.Build, &t.Number, &t.Step, &t.Error, &t.Duration, &t.Name, &t.Class, &t.File, &t.Message, &t.Output)
			list = append(list, t)
			return err
		}, `SELECT build, number, step, error, duration, name, class, file, message, output FROM failed_tests
			WHERE build = ? ORDER BY number`, buildID)
		return list, err
	}, "read failed tests of build %d", buildID)
}

// KeptFiles is what is kept of one build.
type KeptFiles struct {
	Build int64
	Bytes int64
}

// oldArtifacts are those of builds that ended before r.ArtifactsBefore, oldest
// first: none younger than the logs that go with them, so that both go by age.
func oldArtifacts(ctx context.Context, q querier, r Retention, logs []Log) (list []KeptFiles, err error) {
	last := int64(math.MaxInt64)
	if len(logs) > 0 {
		last = logs[len(logs)-1].Build
	}
	err = scan(ctx, q, func(rows *sql.Rows) error {
		var k KeptFiles
		err := rows.Scan(&k.Build, &k.Bytes)
		list = append(list, k)
		return err
	}, `SELECT build, sum(size) FROM artifacts JOIN builds ON builds.id = artifacts.build
		WHERE build <= ? AND result >= 0 AND completed < ? GROUP BY build ORDER BY build LIMIT ?`,
		last, nanos(r.ArtifactsBefore), r.Limit)
	return list, err
}
