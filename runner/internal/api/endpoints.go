package api

import (
	"context"
	"net/http"
	"slices"

	"bothy/runner/internal/store"
)

// endpoint is what answers at a path. The variable parts of the path are
// conditions on the rows.
type endpoint struct {
	of         served
	collection bool
	// cached answers are given again as long as nothing has changed.
	cached bool
	// below: of a collection that is always empty below its parent.
	below    bool
	controls []control
	// serve answers by itself, where there are no rows.
	serve    func(w http.ResponseWriter, r *http.Request, c *call) error
	patterns []string
}

// resources are all that the interface shows.
type resources struct {
	masters       *resource[masterRow]
	workers       *resource[workerRow]
	builders      *resource[builderRow]
	requests      *resource[requestRow]
	buildsets     *resource[requestRow]
	sourcestamps  *resource[requestRow]
	builds        *resource[buildRow]
	steps         *resource[store.Step]
	logs          *resource[logRow]
	schedulers    *resource[schedulerRow]
	force         *resource[forceRow]
	mails         *resource[store.Mail]
	journal       *resource[store.Entry]
	artifacts     *resource[store.Artifact]
	testSets      *resource[store.TestRun]
	testResults   *resource[store.FailedTest]
	reasons       served
	changes       served
	changesources served
	projects      served
	properties    served
	propertyList  served
	logchunks     served
	rootlinks     served
	specs         served
}

// below returns each prefix with each suffix behind it.
func below(prefixes []string, suffixes ...string) []string {
	var all []string
	for _, p := range prefixes {
		for _, s := range suffixes {
			all = append(all, p+s)
		}
	}
	return all
}

// endpoints is the table of all paths below /api/v2/. Unless said otherwise they
// are Buildbot's; element names are those of fields or of [call]'s methods.
func endpoints(d *resources) []*endpoint {
	builders := []string{"builders/n:builderid", "builders/s:buildername"}
	builds := append([]string{"builds/n:buildid"}, below(builders, "/builds/n:build_number")...)
	steps := append([]string{"steps/n:stepid"}, below(builds, "/steps/n:step_number", "/steps/s:step_name")...)
	logs := append([]string{"logs/n:logid"}, below(steps, "/logs/i:log_slug")...)
	masters := []string{"masters/n:masterid"}
	workers := []string{"workers/n:workerid", "workers/i:name"}
	workersAt := append([]string{"workers"}, below(slices.Concat(masters, builders, below(masters, "/builders/n:builderid")), "/workers")...)

	list := func(of served, patterns ...string) *endpoint {
		return &endpoint{of: of, collection: true, cached: true, patterns: patterns}
	}
	item := func(of served, controls []control, patterns ...string) *endpoint {
		return &endpoint{of: of, cached: true, controls: controls, patterns: patterns}
	}
	live := func(e *endpoint) *endpoint { e.cached = false; return e }
	empty := func(e *endpoint) *endpoint { e.below = true; return e }
	served := func(of served, f func(http.ResponseWriter, *http.Request, *call) error, patterns ...string) *endpoint {
		return &endpoint{of: of, serve: f, patterns: patterns}
	}

	return []*endpoint{
		live(list(d.rootlinks, "")),
		live(list(d.specs, "application.spec")),

		live(list(d.masters, append([]string{"masters"}, below(builders, "/masters")...)...)),
		live(item(d.masters, nil, append(masters, below(builders, "/masters/n:masterid")...)...)),

		list(d.workers, workersAt...),
		item(d.workers, workerControls(), below(workersAt, "/n:workerid", "/i:name")...),

		list(d.builders, append([]string{"builders"}, below(slices.Concat(masters, workers), "/builders")...)...),
		item(d.builders, builderControls(), append(builders, below(masters, "/builders/n:builderid")...)...),

		list(d.requests, append([]string{"buildrequests"}, below(builders, "/buildrequests")...)...),
		item(d.requests, requestControls(), "buildrequests/n:buildrequestid"),
		live(list(d.reasons, "buildrequests/n:buildrequestid/why")), // not in Buildbot

		list(d.buildsets, "buildsets"),
		item(d.buildsets, nil, "buildsets/n:bsid"),
		list(d.sourcestamps, "sourcestamps"),
		item(d.sourcestamps, nil, "sourcestamps/n:ssid"),
		list(d.sourcestamps, "buildsets/n:bsid/sourcestamps"),

		list(d.builds, slices.Concat([]string{"builds", "buildrequests/n:buildrequestid/builds"}, below(slices.Concat(builders, workers), "/builds"))...),
		item(d.builds, buildControls(), builds...),
		empty(list(d.builds, "changes/n:changeid/builds", "builds/n:buildid/triggered_builds")),

		list(d.steps, below(builds, "/steps")...),
		item(d.steps, nil, steps...),

		live(list(d.logs, below(steps, "/logs")...)),
		live(item(d.logs, nil, logs...)),
		served(d.logchunks, serveContents, append([]string{"logchunks"}, below(logs, "/contents")...)...),
		served(d.logchunks, serveRaw, below(logs, "/raw")...),
		served(d.logchunks, serveRawInline, below(logs, "/raw_inline")...),

		item(d.properties, nil, append(below(builds, "/properties"), "buildsets/n:bsid/properties")...),
		list(d.propertyList, append(below(builds, "/property_list"), "buildsets/n:bsid/properties_list")...),
		empty(list(d.propertyList, "changes/n:changeid/properties_list")),

		list(d.changes, slices.Concat([]string{"changes", "sourcestamps/n:ssid/changes"}, below(builds, "/changes"))...),
		item(d.changes, nil, "changes/n:changeid"),
		list(d.changesources, append([]string{"changesources"}, below(masters, "/changesources")...)...),
		item(d.changesources, nil, append([]string{"changesources/n:changesourceid"}, below(masters, "/changesources/n:changesourceid")...)...),
		list(d.projects, "projects"),
		item(d.projects, nil, "projects/n:projectid"),

		list(d.schedulers, append([]string{"schedulers"}, below(masters, "/schedulers")...)...),
		item(d.schedulers, schedulerControls(), append([]string{"schedulers/n:schedulerid"}, below(masters, "/schedulers/n:schedulerid")...)...),
		list(d.force, append([]string{"forceschedulers"}, below(builders, "/forceschedulers")...)...),
		item(d.force, forceControls(), "forceschedulers/s:schedulername"),

		list(d.testSets, below(builds, "/test_result_sets")...),

		// Not in Buildbot:
		list(d.testResults, below(builds, "/test_results")...),
		list(d.artifacts, below(builds, "/artifacts")...),
		item(d.artifacts, nil, below(builds, "/artifacts/n:artifact_number")...),
		served(d.artifacts, serveArtifact, below(builds, "/artifacts/n:artifact_number/raw")...),
		list(d.mails, append([]string{"mails"}, below(workers, "/mails")...)...),
		item(d.mails, nil, "mails/n:mailid"),
		list(d.journal, append([]string{"journal"}, below(workers, "/journal")...)...),
		item(d.journal, nil, "journal/n:entryid"),
	}
}

// rootLinks are the collections a client can begin with.
var rootLinks = []string{
	"builders", "buildrequests", "builds", "buildsets", "changes", "changesources", "forceschedulers", "journal", "mails",
	"masters", "projects", "schedulers", "sourcestamps", "workers",
}

func rootlinksResource() *resource[string] {
	return newResource(resource[string]{
		schema: schema{name: "rootlink", plural: "rootlinks"},
		fields: []field[string]{{column: column{name: "name", kind: text}, get: func(s *string) value { return str(*s) }}},
		list:   func(context.Context, *call, *query) (page[string], error) { return page[string]{rows: rootLinks}, nil },
	})
}
