package store

import (
	"time"

	"bothy/runner/build"
)

// reference says what the fields of a resource are, for a filter in Go: nil,
// int64, string, bool, []string, or time.Time: that orders to the nanosecond,
// and is compared with seconds.
type reference[R any] struct {
	fields map[string]func(r *R) any
	id     string
}

func orNever(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func orNil[T comparable](v, none T, said any) any {
	if v == none {
		return nil
	}
	return said
}

var buildReference = reference[ListedBuild]{id: "buildid", fields: map[string]func(*ListedBuild) any{
	"buildid":          func(r *ListedBuild) any { return r.ID },
	"number":           func(r *ListedBuild) any { return r.Number },
	"builderid":        func(r *ListedBuild) any { return orNil(r.BuilderID, 0, r.BuilderID) },
	"builder":          func(r *ListedBuild) any { return r.Builder },
	"buildrequestid":   func(r *ListedBuild) any { return r.Request },
	"workerid":         func(r *ListedBuild) any { return orNil(r.WorkerID, 0, r.WorkerID) },
	"worker":           func(r *ListedBuild) any { return r.Worker },
	"masterid":         func(*ListedBuild) any { return int64(1) },
	"attempt":          func(r *ListedBuild) any { return int64(r.Attempt) },
	"started_at":       func(r *ListedBuild) any { return orNever(r.Started) },
	"complete":         func(r *ListedBuild) any { return r.Result != build.None },
	"complete_at":      func(r *ListedBuild) any { return orNever(r.Completed) },
	"locks_duration_s": func(*ListedBuild) any { return int64(0) },
	"results":          func(r *ListedBuild) any { return orNil(r.Result, build.None, int64(r.Result)) },
	"state_string":     func(r *ListedBuild) any { return r.Text },
	"cause":            func(r *ListedBuild) any { return orNil(r.Cause, "", r.Cause) },
	"peak_memory":      func(r *ListedBuild) any { return orNil(r.PeakMemory, 0, r.PeakMemory) },
	"kept":             func(r *ListedBuild) any { return orNil(r.Kept, "", r.Kept) },
}}

var requestReference = reference[ListedRequest]{id: "buildrequestid", fields: map[string]func(*ListedRequest) any{
	"buildrequestid": func(r *ListedRequest) any { return r.ID },
	"buildsetid":     func(r *ListedRequest) any { return r.ID },
	"bsid":           func(r *ListedRequest) any { return r.ID },
	"builderid":      func(r *ListedRequest) any { return orNil(r.BuilderID, 0, r.BuilderID) },
	"builder":        func(r *ListedRequest) any { return r.Builder },
	"priority":       func(r *ListedRequest) any { return int64(r.Priority) },
	"claimed":        func(r *ListedRequest) any { return r.State != Pending },
	"complete":       func(r *ListedRequest) any { return r.State == Done },
	"results":        func(r *ListedRequest) any { return int64(r.Result) },
	"submitted_at":   func(r *ListedRequest) any { return orNever(r.Submitted) },
	"complete_at":    func(r *ListedRequest) any { return orNever(r.Completed) },
	"waited_for":     func(*ListedRequest) any { return false },
	"reason":         func(r *ListedRequest) any { return r.Reason },
	"worker":         func(r *ListedRequest) any { return orNil(r.Worker, "", r.Worker) },
	"attempts":       func(r *ListedRequest) any { return int64(r.Attempts) },
	"retries":        func(r *ListedRequest) any { return int64(r.Retries) },
	"replaced_by":    func(r *ListedRequest) any { return orNil(r.Replaced, 0, r.Replaced) },
	"state_string":   func(r *ListedRequest) any { return r.Text },
}}

var stepReference = reference[Step]{id: "stepid", fields: map[string]func(*Step) any{
	"stepid":            func(r *Step) any { return StepID(r.Build, r.Number) },
	"buildid":           func(r *Step) any { return r.Build },
	"number":            func(r *Step) any { return int64(r.Number) },
	"name":              func(r *Step) any { return r.Name },
	"started_at":        func(r *Step) any { return orNever(r.Started) },
	"locks_acquired_at": func(*Step) any { return nil },
	"complete":          func(r *Step) any { return r.Result != build.None },
	"complete_at":       func(r *Step) any { return orNever(r.Completed) },
	"results":           func(r *Step) any { return orNil(r.Result, build.None, int64(r.Result)) },
	"state_string":      func(r *Step) any { return r.Text },
	"hidden":            func(r *Step) any { return r.Hidden },
}}

var logReference = reference[Log]{id: "logid", fields: map[string]func(*Log) any{
	"logid":     func(r *Log) any { return r.ID },
	"buildid":   func(r *Log) any { return r.Build },
	"stepid":    func(r *Log) any { return StepID(r.Build, r.Step) },
	"name":      func(r *Log) any { return r.Name },
	"complete":  func(r *Log) any { return r.Complete },
	"num_lines": func(r *Log) any { return r.Lines },
	"bytes":     func(r *Log) any { return r.Bytes },
	"truncated": func(r *Log) any { return r.Truncated },
}}

var workerReference = reference[Worker]{id: "workerid", fields: map[string]func(*Worker) any{
	"workerid":      func(r *Worker) any { return r.ID },
	"name":          func(r *Worker) any { return r.Name },
	"kind":          func(r *Worker) any { return r.Kind },
	"configured_at": func(r *Worker) any { return orNever(r.Configured) },
	"removed_at":    func(r *Worker) any { return orNever(r.Removed) },
	"last_seen":     func(r *Worker) any { return orNever(r.LastSeen) },
}}

var builderReference = reference[Builder]{id: "builderid", fields: map[string]func(*Builder) any{
	"builderid":     func(r *Builder) any { return r.ID },
	"name":          func(r *Builder) any { return r.Name },
	"description":   func(r *Builder) any { return orNil(r.Description, "", r.Description) },
	"tags":          func(r *Builder) any { return r.Tags },
	"configured_at": func(r *Builder) any { return orNever(r.Configured) },
	"removed_at":    func(r *Builder) any { return orNever(r.Removed) },
}}

var schedulerReference = reference[Scheduler]{id: "schedulerid", fields: map[string]func(*Scheduler) any{
	"schedulerid": func(r *Scheduler) any { return r.ID },
	"name":        func(r *Scheduler) any { return r.Name },
	"enabled":     func(r *Scheduler) any { return r.Enabled },
}}

var mailReference = reference[Mail]{id: "mailid", fields: map[string]func(*Mail) any{
	"mailid":     func(r *Mail) any { return r.ID },
	"key":        func(r *Mail) any { return r.Key },
	"kind":       func(r *Mail) any { return r.Kind },
	"worker":     func(r *Mail) any { return orNil(r.Worker, "", r.Worker) },
	"buildid":    func(r *Mail) any { return orNil(r.Build, 0, r.Build) },
	"recipient":  func(r *Mail) any { return r.Recipient },
	"created_at": func(r *Mail) any { return orNever(r.Created) },
	"not_before": func(r *Mail) any { return orNever(r.NotBefore) },
	"next_try":   func(r *Mail) any { return orNever(r.NextTry) },
	"done":       func(r *Mail) any { return !r.Done.IsZero() },
	"done_at":    func(r *Mail) any { return orNever(r.Done) },
	"state":      func(r *Mail) any { return int64(r.State) },
	"attempts":   func(r *Mail) any { return int64(r.Attempts) },
	"message_id": func(r *Mail) any { return orNil(r.MessageID, "", r.MessageID) },
	"error":      func(r *Mail) any { return orNil(r.Error, "", r.Error) },
}}

var journalReference = reference[Entry]{id: "entryid", fields: map[string]func(*Entry) any{
	"entryid": func(r *Entry) any { return r.ID },
	"time":    func(r *Entry) any { return orNever(r.Time) },
	"kind":    func(r *Entry) any { return r.Kind },
	"name":    func(r *Entry) any { return r.Name },
	"ref":     func(r *Entry) any { return orNil(r.Ref, 0, r.Ref) },
	"buildid": func(r *Entry) any { return orNil(r.Build, 0, r.Build) },
	"what":    func(r *Entry) any { return r.What },
	"who":     func(r *Entry) any { return orNil(r.Who, "", r.Who) },
	"reason":  func(r *Entry) any { return orNil(r.Reason, "", r.Reason) },
}}
