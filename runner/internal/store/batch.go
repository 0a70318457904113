package store

import (
	"slices"
)

// Batch gathers rows for one transaction. A row put again replaces the earlier
// one. Rows are copied: the caller may go on using what it put. A Batch is not
// safe for concurrent use; [Store.Commit] does not change it.
type Batch struct {
	requests rows[int64, requestRow]
	builds   rows[int64, buildRow]
	steps    rows[stepKey, Step]
	logs     rows[int64, Log]
	meta     rows[string, metaRow]

	workers    rows[int64, workerRow]
	builders   rows[int64, builderRow]
	schedulers rows[int64, Scheduler]
	mails      rows[int64, Mail]
	entries    rows[int64, Entry]

	artifacts   rows[numberedKey, Artifact]
	testRuns    rows[numberedKey, TestRun]
	failedTests rows[numberedKey, FailedTest]

	dropBuilds, dropRequests, dropLogs, dropMails, dropEntries, dropArtifacts rows[int64, int64]

	unwritable []error // values that cannot be stored
}

type stepKey struct {
	build  int64
	number int
}

// requestRow and buildRow hold properties as the JSON that is stored, since
// the caller may change its map while a commit runs.
type requestRow struct {
	Request
	properties string
}

type buildRow struct {
	Build
	properties string
	ended      string
}

type workerRow struct {
	Worker
	info string
}

type builderRow struct {
	Builder
	tags string
}

type metaRow struct {
	key   string
	value []byte // nil: deleted
}

// NewBatch returns an empty batch.
func NewBatch() *Batch { return &Batch{} }

// PutRequest records the state of a request.
func (b *Batch) PutRequest(r *Request) {
	row := requestRow{Request: *r, properties: encodeMap(b, "request", r.ID, r.Properties)}
	row.Properties = nil
	row.Spec = slices.Clone(r.Spec)
	b.requests.put(r.ID, row)
}

// PutBuild records the state of a build.
func (b *Batch) PutBuild(r *Build) {
	row := buildRow{Build: *r, properties: encodeMap(b, "build", r.ID, r.Properties), ended: encodeList(r.Ended)}
	row.Properties, row.Ended = nil, nil
	b.builds.put(r.ID, row)
}

// PutStep records the state of a step.
func (b *Batch) PutStep(r *Step) { b.steps.put(stepKey{r.Build, r.Number}, *r) }

// PutLog records the whereabouts of a log.
func (b *Batch) PutLog(r *Log) { b.logs.put(r.ID, *r) }

// PutMeta records a small value under a key of the caller's; nil removes it.
func (b *Batch) PutMeta(key string, value []byte) {
	b.meta.put(key, metaRow{key, slices.Clone(value)})
}

// PutWorker records a worker. Its id and name belong together for ever.
func (b *Batch) PutWorker(r *Worker) {
	row := workerRow{Worker: *r, info: encodeMap(b, "worker", r.ID, r.Info)}
	row.Info, row.State = nil, slices.Clone(r.State)
	b.workers.put(r.ID, row)
}

// PutBuilder records a builder. Its id and name belong together for ever.
func (b *Batch) PutBuilder(r *Builder) {
	row := builderRow{Builder: *r, tags: encodeList(r.Tags)}
	row.Tags = nil
	b.builders.put(r.ID, row)
}

// PutScheduler records a scheduler. Its id and name belong together for ever.
func (b *Batch) PutScheduler(r *Scheduler) { b.schedulers.put(r.ID, *r) }

// PutMail records the state of a mail. A second one with the same key is
// refused; so is a change of what identifies one, or of one that is Done.
func (b *Batch) PutMail(r *Mail) {
	row := *r
	row.Payload = slices.Clone(r.Payload)
	b.mails.put(r.ID, row)
}

// PutEntry adds a line to the journal.
func (b *Batch) PutEntry(r *Entry) {
	row := *r
	row.Detail = slices.Clone(r.Detail)
	b.entries.put(r.ID, row)
}

// DeleteBuilds removes builds with their steps, logs, artifacts and tests. In one batch removal
// wins over every put. Ids that do not exist are no error.
func (b *Batch) DeleteBuilds(ids ...int64) { putIDs(&b.dropBuilds, ids) }

// DeleteRequests removes requests. Those that are not Done stay.
func (b *Batch) DeleteRequests(ids ...int64) { putIDs(&b.dropRequests, ids) }

// DeleteLogs removes the rows of logs.
func (b *Batch) DeleteLogs(ids ...int64) { putIDs(&b.dropLogs, ids) }

// DeleteMails removes mails. Those that are not Done stay.
func (b *Batch) DeleteMails(ids ...int64) { putIDs(&b.dropMails, ids) }

// DeleteEntries removes lines of the journal.
func (b *Batch) DeleteEntries(ids ...int64) { putIDs(&b.dropEntries, ids) }

// Merge puts everything of newer on top of b, as if it had been put into b.
// newer must not be used afterwards.
func (b *Batch) Merge(newer *Batch) {
	b.requests.merge(&newer.requests)
	b.builds.merge(&newer.builds)
	b.steps.merge(&newer.steps)
	b.logs.merge(&newer.logs)
	b.meta.merge(&newer.meta)
	b.workers.merge(&newer.workers)
	b.builders.merge(&newer.builders)
	b.schedulers.merge(&newer.schedulers)
	b.mails.merge(&newer.mails)
	b.entries.merge(&newer.entries)
	b.artifacts.merge(&newer.artifacts)
	b.testRuns.merge(&newer.testRuns)
	b.failedTests.merge(&newer.failedTests)
	b.dropBuilds.merge(&newer.dropBuilds)
	b.dropRequests.merge(&newer.dropRequests)
	b.dropLogs.merge(&newer.dropLogs)
	b.dropMails.merge(&newer.dropMails)
	b.dropEntries.merge(&newer.dropEntries)
	b.dropArtifacts.merge(&newer.dropArtifacts)
	b.unwritable = append(b.unwritable, newer.unwritable...)
}

// Len returns how many rows the batch writes or removes.
func (b *Batch) Len() int {
	return len(b.requests.list) + len(b.builds.list) + len(b.steps.list) + len(b.logs.list) + len(b.meta.list) +
		len(b.workers.list) + len(b.builders.list) + len(b.schedulers.list) + len(b.mails.list) + len(b.entries.list) +
		len(b.artifacts.list) + len(b.testRuns.list) + len(b.failedTests.list) + len(b.dropArtifacts.list) +
		len(b.dropBuilds.list) + len(b.dropRequests.list) + len(b.dropLogs.list) + len(b.dropMails.list) + len(b.dropEntries.list)
}

// rows is a list with one entry per key, in the order of the first put: rows
// of ascending ids then go to the end of their table.
type rows[K comparable, R any] struct {
	index map[K]int
	keys  []K
	list  []R
}

func (r *rows[K, R]) put(k K, row R) {
	if i, ok := r.index[k]; ok {
		r.list[i] = row
		return
	}
	if r.index == nil {
		r.index = map[K]int{}
	}
	r.index[k] = len(r.list)
	r.keys = append(r.keys, k)
	r.list = append(r.list, row)
}

func putIDs(r *rows[int64, int64], ids []int64) {
	for _, id := range ids {
		r.put(id, id)
	}
}

func (r *rows[K, R]) merge(newer *rows[K, R]) {
	if len(r.list) == 0 {
		*r = *newer
		return
	}
	for i, k := range newer.keys {
		r.put(k, newer.list[i])
	}
}
