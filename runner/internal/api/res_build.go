package api

import (
	"context"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/store"
)

// buildRow is a build with the ids of its names.
type buildRow struct{ store.ListedBuild }

func (n *names) build(b store.Build) buildRow {
	return buildRow{store.ListedBuild{Build: b, BuilderID: n.builderIDs[b.Builder], WorkerID: n.workerIDs[b.Worker]}}
}

func (b *buildRow) complete() bool { return b.Result != build.None }

// builds are the fields of a build. Buildbot: data/builds.py.
func buildsResource() *resource[buildRow] {
	return newResource(resource[buildRow]{
		schema: schema{name: "build", plural: "builds", properties: true},
		list:   listBuilds,
		fields: []field[buildRow]{
			{column: column{name: "buildid", kind: integer}, get: func(b *buildRow) value { return num(b.ID) }},
			{column: column{name: "number", kind: integer, doc: "counts within the builder, from 1"}, get: func(b *buildRow) value { return num(b.Number) }},
			{column: column{name: "builderid", kind: integer}, get: func(b *buildRow) value { return num(b.BuilderID) }},
			{column: column{name: "buildrequestid", kind: integer}, get: func(b *buildRow) value { return num(b.Request) }},
			{column: column{name: "workerid", kind: integer}, get: func(b *buildRow) value { return num(b.WorkerID) }},
			{column: column{name: "masterid", kind: integer}, get: func(*buildRow) value { return num(masterID) }},
			{column: column{name: "started_at", kind: stamp}, get: func(b *buildRow) value { return at(b.Started) }},
			{column: column{name: "complete", kind: boolean}, get: func(b *buildRow) value { return truth(b.complete()) }},
			{column: column{name: "complete_at", kind: stamp, null: true}, get: func(b *buildRow) value { return at(b.Completed) }},
			{column: column{name: "locks_duration_s", kind: integer}, get: func(*buildRow) value { return num(0) }},
			{column: column{name: "results", kind: integer, null: true, doc: "0 success, 1 warnings, 2 failure, 3 skipped, 4 exception, 5 retry, 6 cancelled"}, get: func(b *buildRow) value { return resultOrNull(b.Result) }},
			{column: column{name: "state_string", kind: text}, get: func(b *buildRow) value { return str(stateString(b.complete(), b.Text)) }},
			{column: column{name: "properties", kind: object, doc: "name → [value, source], of those the parameter property names"}, put: func(b []byte, r *buildRow, q *query) []byte {
				return appendProperties(b, r.Properties, q.properties...)
			}},

			{column: column{name: "attempt", kind: integer, new: true, doc: "at its request, from 1"}, get: func(b *buildRow) value { return num(b.Attempt) }},
			{column: column{name: "builder", kind: text, new: true, doc: "the builder's name"}, get: func(b *buildRow) value { return str(b.Builder) }},
			{column: column{name: "worker", kind: text, new: true, doc: "the worker's name"}, get: func(b *buildRow) value { return str(b.Worker) }},
			{column: column{name: "cause", kind: text, null: true, new: true, doc: "of an exception: worker, step, master, disk, retries, oom or config"}, get: func(b *buildRow) value { return orNull(b.Cause) }},
			{column: column{name: "kept", kind: text, null: true, new: true, doc: "where the directory of a failed build is kept"}, get: func(b *buildRow) value { return orNull(b.Kept) }},
			{column: column{name: "peak_memory", kind: integer, null: true, new: true, doc: "bytes"}, get: func(b *buildRow) value { return orNone(b.PeakMemory) }},
			{column: column{name: "cpu_s", kind: span, new: true, doc: "of CPU, user and system"}, get: func(b *buildRow) value { return num(b.CPU.Round(time.Millisecond).Milliseconds()) }},
			{column: column{name: "duration_s", kind: span, new: true, doc: "how long it took; while it runs, how long so far"}, get: func(b *buildRow) value { return between(b.Started, b.Completed) }},
		},
	})
}

// stateString is what Buildbot says of something that is under way.
func stateString(complete bool, words string) string {
	if words == "" && !complete {
		return "building"
	}
	return words
}

func resultOrNull(r build.Result) value {
	if r == build.None {
		return null
	}
	return num(r)
}

func listBuilds(ctx context.Context, c *call, q *query) (page[buildRow], error) {
	if c.ep.below { // of a change, or triggered: nothing makes such builds
		return page[buildRow]{}, c.parent(ctx)
	}
	if c.args.has("buildid", "build_number") {
		b, err := c.build(ctx)
		return page[buildRow]{rows: []buildRow{c.a.names().build(b)}}, err
	}
	if err := c.parent(ctx); err != nil {
		return page[buildRow]{}, err
	}
	var path []store.Cond
	if b, err := c.builder(); err == nil && b != nil {
		path = append(path, is("builderid", b.ID))
	}
	if w, err := c.worker(); err == nil && w != nil {
		path = append(path, is("workerid", w.ID))
	}
	if id, ok := c.args.number("buildrequestid"); ok {
		path = append(path, is("buildrequestid", id))
	}
	return selected(ctx, c.a.Store.SelectBuilds, q.selection(&c.a.data.builds.schema, path...), func(b store.ListedBuild) buildRow { return buildRow{b} })
}
