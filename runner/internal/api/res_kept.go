package api

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/store"
)

// artifactsResource are the fields of a file of a build that is kept.
func artifactsResource() *resource[store.Artifact] {
	return newResource(resource[store.Artifact]{
		schema: schema{name: "artifact", plural: "artifacts"},
		fields: []field[store.Artifact]{
			{column: column{name: "number", kind: integer, new: true, doc: "counts within the build, from 1"}, get: func(a *store.Artifact) value { return num(a.Number) }},
			{column: column{name: "buildid", kind: integer, new: true}, get: func(a *store.Artifact) value { return num(a.Build) }},
			{column: column{name: "stepid", kind: integer, new: true}, get: func(a *store.Artifact) value { return num(store.StepID(a.Build, a.Step)) }},
			{column: column{name: "name", kind: text, new: true, doc: "relative to the build's directory"}, get: func(a *store.Artifact) value { return str(a.Name) }},
			{column: column{name: "size", kind: integer, new: true, doc: "bytes"}, get: func(a *store.Artifact) value { return num(a.Size) }},
			{column: column{name: "sha256", kind: text, new: true, doc: "hexadecimal"}, get: func(a *store.Artifact) value { return str(a.SHA256) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[store.Artifact], error) {
			if c.args.has("artifact_number") {
				a, err := c.artifact(ctx)
				return page[store.Artifact]{rows: []store.Artifact{a}}, err
			}
			b, err := c.build(ctx)
			if err != nil {
				return page[store.Artifact]{}, err
			}
			rows, err := c.a.Store.Artifacts(ctx, b.ID)
			return page[store.Artifact]{rows: rows}, err
		},
	})
}

// artifact is the one that the path names.
func (c *call) artifact(ctx context.Context) (store.Artifact, error) {
	b, err := c.build(ctx)
	if err != nil {
		return store.Artifact{}, err
	}
	n, _ := c.args.number("artifact_number")
	if n != int64(int32(n)) {
		n = 0
	}
	a, err := c.a.Store.Artifact(ctx, b.ID, int(n))
	return a, notFoundAs(err, "build %d has no such artifact", b.ID)
}

// serveArtifact answers with the bytes of an artifact.
func serveArtifact(w http.ResponseWriter, r *http.Request, c *call) error {
	row, err := c.artifact(r.Context())
	if err != nil {
		return err
	}
	if c.a.Artifacts == nil {
		return notFound("artifacts are not kept here")
	}
	f, err := c.a.Artifacts.Open(row.Build, row.Step, row.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("artifact %d of build %d is no longer kept", row.Number, row.Build)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	artifacts.Serve(w, r, f, row.Name, row.SHA256)
	return nil
}

// testSetsResource are the fields of what the test reports of a step say in all.
// Buildbot: data/test_result_sets.py.
func testSetsResource() *resource[store.TestRun] {
	return newResource(resource[store.TestRun]{
		schema: schema{name: "test_result_set", plural: "test_result_sets"},
		fields: []field[store.TestRun]{
			{column: column{name: "buildid", kind: integer}, get: func(t *store.TestRun) value { return num(t.Build) }},
			{column: column{name: "stepid", kind: integer}, get: func(t *store.TestRun) value { return num(store.StepID(t.Build, t.Step)) }},
			{column: column{name: "tests_passed", kind: integer}, get: func(t *store.TestRun) value { return num(t.Passed()) }},
			{column: column{name: "tests_failed", kind: integer, doc: "broken ones too"}, get: func(t *store.TestRun) value { return num(t.Failures + t.Errors) }},
			{column: column{name: "tests_broken", kind: integer, new: true, doc: "ended by an error rather than failed"}, get: func(t *store.TestRun) value { return num(t.Errors) }},
			{column: column{name: "tests_skipped", kind: integer, new: true}, get: func(t *store.TestRun) value { return num(t.Skipped) }},
			{column: column{name: "tests", kind: integer, new: true, doc: "in all"}, get: func(t *store.TestRun) value { return num(t.Tests) }},
			{column: column{name: "reports", kind: integer, new: true, doc: "files that were read"}, get: func(t *store.TestRun) value { return num(t.Reports) }},
			{column: column{name: "duration_s", kind: span, new: true, doc: "of all tests together"}, get: func(t *store.TestRun) value { return length(t.Duration) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[store.TestRun], error) {
			b, err := c.build(ctx)
			if err != nil {
				return page[store.TestRun]{}, err
			}
			rows, err := c.a.Store.TestRuns(ctx, b.ID)
			return page[store.TestRun]{rows: rows}, err
		},
	})
}

func length(d time.Duration) value { return num(d.Round(time.Millisecond).Milliseconds()) }

// testResultsResource are the fields of a test that did not pass.
func testResultsResource() *resource[store.FailedTest] {
	return newResource(resource[store.FailedTest]{
		schema: schema{name: "test_result", plural: "test_results"},
		fields: []field[store.FailedTest]{
			{column: column{name: "number", kind: integer, new: true, doc: "counts the tests of the build that did not pass, from 1; the first ones are kept"}, get: func(t *store.FailedTest) value { return num(t.Number) }},
			{column: column{name: "buildid", kind: integer, new: true}, get: func(t *store.FailedTest) value { return num(t.Build) }},
			{column: column{name: "stepid", kind: integer, new: true}, get: func(t *store.FailedTest) value { return num(store.StepID(t.Build, t.Step)) }},
			{column: column{name: "name", kind: text, new: true}, get: func(t *store.FailedTest) value { return str(t.Name) }},
			{column: column{name: "class", kind: text, null: true, new: true}, get: func(t *store.FailedTest) value { return orNull(t.Class) }},
			{column: column{name: "file", kind: text, null: true, new: true}, get: func(t *store.FailedTest) value { return orNull(t.File) }},
			{column: column{name: "broken", kind: boolean, new: true, doc: "ended by an error rather than failed"}, get: func(t *store.FailedTest) value { return truth(t.Error) }},
			{column: column{name: "duration_s", kind: span, new: true}, get: func(t *store.FailedTest) value { return length(t.Duration) }},
			{column: column{name: "message", kind: text, null: true, new: true}, get: func(t *store.FailedTest) value { return orNull(t.Message) }},
			{column: column{name: "output", kind: text, null: true, new: true, doc: "cut to 8 KiB"}, get: func(t *store.FailedTest) value { return orNull(t.Output) }},
		},
		list: func(ctx context.Context, c *call, _ *query) (page[store.FailedTest], error) {
			b, err := c.build(ctx)
			if err != nil {
				return page[store.FailedTest]{}, err
			}
			rows, err := c.a.Store.FailedTests(ctx, b.ID)
			return page[store.FailedTest]{rows: rows}, err
		},
	})
}
