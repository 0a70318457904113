package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"bothy/runner/build"
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

	dropBuilds, dropRequests, dropLogs rows[int64, int64]

	unwritable []error // property values that cannot be stored
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

type metaRow struct {
	key   string
	value []byte // nil: deleted
}

// NewBatch returns an empty batch.
func NewBatch() *Batch { return &Batch{} }

// PutRequest records the state of a request.
func (b *Batch) PutRequest(r *Request) {
	row := requestRow{Request: *r, properties: b.encode("request", r.ID, r.Properties)}
	row.Properties = nil
	row.Spec = slices.Clone(r.Spec)
	b.requests.put(r.ID, row)
}

// PutBuild records the state of a build.
func (b *Batch) PutBuild(r *Build) {
	row := buildRow{Build: *r, properties: b.encode("build", r.ID, r.Properties), ended: encodeList(r.Ended)}
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

// DeleteBuilds removes builds with their steps and logs. In one batch removal
// wins over every put. Ids that do not exist are no error.
func (b *Batch) DeleteBuilds(ids ...int64) { putIDs(&b.dropBuilds, ids) }

// DeleteRequests removes requests. Those that are not Done stay.
func (b *Batch) DeleteRequests(ids ...int64) { putIDs(&b.dropRequests, ids) }

// DeleteLogs removes the rows of logs.
func (b *Batch) DeleteLogs(ids ...int64) { putIDs(&b.dropLogs, ids) }

// Merge puts everything of newer on top of b, as if it had been put into b.
// newer must not be used afterwards.
func (b *Batch) Merge(newer *Batch) {
	b.requests.merge(&newer.requests)
	b.builds.merge(&newer.builds)
	b.steps.merge(&newer.steps)
	b.logs.merge(&newer.logs)
	b.meta.merge(&newer.meta)
	b.dropBuilds.merge(&newer.dropBuilds)
	b.dropRequests.merge(&newer.dropRequests)
	b.dropLogs.merge(&newer.dropLogs)
	b.unwritable = append(b.unwritable, newer.unwritable...)
}

// Len returns how many rows the batch writes or removes.
func (b *Batch) Len() int {
	return len(b.requests.list) + len(b.builds.list) + len(b.steps.list) + len(b.logs.list) + len(b.meta.list) +
		len(b.dropBuilds.list) + len(b.dropRequests.list) + len(b.dropLogs.list)
}

// encode writes properties as they are stored. A value that JSON cannot write
// did not come from [build.Properties.Set]; it is left out, and said so by Commit.
func (b *Batch) encode(what string, id int64, p build.Properties) string {
	if len(p) == 0 {
		return ""
	}
	data, err := json.Marshal(p)
	if err == nil {
		return string(data)
	}
	rest := maps.Clone(p)
	for name, v := range p {
		if _, err := json.Marshal(v); err != nil {
			b.unwritable = append(b.unwritable, fmt.Errorf("%s %d: property %s: %w", what, id, name, err))
			delete(rest, name)
		}
	}
	if data, err = json.Marshal(rest); err != nil {
		b.unwritable = append(b.unwritable, fmt.Errorf("%s %d: properties: %w", what, id, err))
		return ""
	}
	return string(data)
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

// maxEncoded bounds what is decoded from one column. Far above what
// package build lets in: a thousand properties of the largest size.
const maxEncoded = 64 << 20

var errTooLong = errors.New("too long")

func decodeProperties(s string) (build.Properties, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode properties: %w", errTooLong)
	}
	var p build.Properties
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return nil, fmt.Errorf("decode properties: %w", err)
	}
	return p, nil
}

func encodeList(list []string) string {
	if len(list) == 0 {
		return ""
	}
	data, err := json.Marshal(list)
	if err != nil {
		return "" // strings can always be written
	}
	return string(data)
}

func decodeList(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxEncoded {
		return nil, fmt.Errorf("decode list: %w", errTooLong)
	}
	var list []string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("decode list: %w", err)
	}
	return list, nil
}
