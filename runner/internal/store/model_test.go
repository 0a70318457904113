package store

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// model is the store as maps. It is told the same batches.
type model struct {
	requests map[int64]Request
	builds   map[int64]Build
	steps    map[stepKey]Step
	logs     map[int64]Log
	meta     map[string][]byte
	workers  map[int64]Worker
	mails    map[int64]Mail
	entries  map[int64]Entry
	numbers  map[string]int64 // highest ever
	maxReq   int64
	maxBuild int64
	maxLog   int64
	maxMail  int64
	maxEntry int64
	epoch    int64
}

func newModel() *model {
	return &model{
		requests: map[int64]Request{}, builds: map[int64]Build{}, steps: map[stepKey]Step{}, logs: map[int64]Log{},
		meta: map[string][]byte{}, workers: map[int64]Worker{}, mails: map[int64]Mail{}, entries: map[int64]Entry{}, numbers: map[string]int64{},
	}
}

// put is one row of a batch, for the batch and for the model; the model says
// whether the store takes it.
type put struct {
	key   any
	batch func(*Batch)
	model func(*model) bool
}

var (
	names   = []string{"alpha", "beta", "α \x00\xff"}
	results = []build.Result{build.None, build.Success, build.Warnings, build.Failure, build.Retry}
)

func drawTime(t *rapid.T, label string) time.Time {
	return fromNanos(rapid.SampledFrom([]int64{0, -5, 1, 1_700_000_000_123_456_789}).Draw(t, label))
}

// drawCompleted goes with a result: outcomes have a time.
func drawCompleted(t *rapid.T, r build.Result) time.Time {
	if r == build.None {
		return time.Time{}
	}
	return fromNanos(rapid.SampledFrom([]int64{7, 8}).Draw(t, "completed"))
}

func drawText(t *rapid.T, label string) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, label))
}

func drawProperties(t *rapid.T) build.Properties {
	p := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Int64(), func(v int64) any { return v }),
		rapid.Map(rapid.String(), func(v string) any { return v }), rapid.Map(rapid.Bool(), func(v bool) any { return v })), 0, 3).Draw(t, "properties")
	if len(p) == 0 {
		return nil
	}
	props := build.Properties{}
	for k, v := range p {
		if err := props.Set(k, v, "test"); err != nil {
			t.Fatal(err)
		}
	}
	return props
}

func drawPut(t *rapid.T) put {
	id := rapid.Int64Range(1, 6).Draw(t, "id")
	switch rapid.SampledFrom([]string{"request", "build", "step", "log", "meta", "worker", "mail", "entry"}).Draw(t, "kind") {
	case "request":
		r := Request{
			ID: id, Builder: names[id%3], Priority: rapid.IntRange(-2, 2).Draw(t, "priority"), Submitted: drawTime(t, "submitted"),
			Reason: drawText(t, "reason"), Properties: drawProperties(t), Session: drawText(t, "session"), Text: drawText(t, "text"),
			State: RequestState(rapid.IntRange(0, 2).Draw(t, "state")), Result: build.None, Memory: rapid.Int64().Draw(t, "memory"),
			Spec: rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "spec"),
		}
		if r.State == Done {
			r.Result = rapid.SampledFrom(results[1:]).Draw(t, "result")
			r.Completed = drawCompleted(t, r.Result)
		}
		return put{stepKey{-1, int(id)}, func(b *Batch) { b.PutRequest(&r) }, func(m *model) bool {
			if old, ok := m.requests[id]; ok && old.State == Done && (r.State != Done || r.Result != old.Result || !r.Completed.Equal(old.Completed)) {
				return false
			}
			m.requests[id] = r
			m.maxReq = max(m.maxReq, id)
			return true
		}}
	case "build":
		r := Build{
			ID: id, Request: id, Builder: names[id%3], Number: 10 + id, Worker: "w", Started: drawTime(t, "started"),
			Token:  worker.Token{Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"), Counter: rapid.Int64Range(1, 2).Draw(t, "counter")},
			Result: rapid.SampledFrom(results).Draw(t, "result"), Text: drawText(t, "text"), Properties: drawProperties(t),
			Ended: rapid.SampledFrom([][]string{nil, {"sleep"}, {"", "x"}}).Draw(t, "ended"), CPU: time.Duration(rapid.Int64().Draw(t, "cpu")),
		}
		r.Completed = drawCompleted(t, r.Result)
		return put{stepKey{-2, int(id)}, func(b *Batch) { b.PutBuild(&r) }, func(m *model) bool {
			if old, ok := m.builds[id]; ok {
				older := r.Token.Epoch < old.Token.Epoch || r.Token.Epoch == old.Token.Epoch && r.Token.Counter < old.Token.Counter
				if older || old.Result != build.None && (r.Result != old.Result || !r.Completed.Equal(old.Completed)) {
					return false
				}
			}
			m.builds[id] = r
			m.numbers[r.Builder] = max(m.numbers[r.Builder], r.Number)
			m.maxBuild = max(m.maxBuild, id)
			return true
		}}
	case "step":
		r := Step{Build: id, Number: rapid.IntRange(0, 2).Draw(t, "number"), Name: drawText(t, "name"), Result: rapid.SampledFrom(results).Draw(t, "result"), Hidden: rapid.Bool().Draw(t, "hidden")}
		r.Completed = drawCompleted(t, r.Result)
		k := stepKey{id, r.Number}
		return put{k, func(b *Batch) { b.PutStep(&r) }, func(m *model) bool {
			if old, ok := m.steps[k]; ok && old.Result != build.None && (r.Result != old.Result || !r.Completed.Equal(old.Completed)) {
				return false
			}
			m.steps[k] = r
			return true
		}}
	case "log":
		r := Log{ID: id, Build: 1 + id%2, Name: "stdio", Ref: drawText(t, "ref"), Lines: rapid.Int64().Draw(t, "lines"), Complete: rapid.Bool().Draw(t, "complete")}
		return put{stepKey{-3, int(id)}, func(b *Batch) { b.PutLog(&r) }, func(m *model) bool {
			if old, ok := m.logs[id]; ok && old.Complete && !r.Complete {
				return false
			}
			m.logs[id] = r
			m.maxLog = max(m.maxLog, id)
			return true
		}}
	case "worker":
		r := Worker{
			ID: id, Name: rapid.SampledFrom([]string{names[id%3], string(rune('a' + id))}).Draw(t, "name"), Kind: drawText(t, "kind"),
			LastSeen: drawTime(t, "seen"), State: rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "state"),
			Info: rapid.SampledFrom([]worker.Info{nil, {"os": "x"}, {"n": int64(1), "none": nil}}).Draw(t, "info"),
		}
		return put{stepKey{-4, int(id)}, func(b *Batch) { b.PutWorker(&r) }, func(m *model) bool {
			for _, old := range m.workers {
				if (old.ID == r.ID) != (old.Name == r.Name) {
					return false
				}
			}
			m.workers[id] = r
			return true
		}}
	case "mail":
		r := Mail{
			ID: id, Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"), Recipient: "r", State: MailState(rapid.IntRange(0, 4).Draw(t, "state")),
			NextTry: drawTime(t, "next"), Error: drawText(t, "error"), Payload: rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "payload"),
		}
		if r.State >= MailSent {
			r.Done = fromNanos(rapid.SampledFrom([]int64{7, 8}).Draw(t, "done"))
		}
		return put{stepKey{-5, int(id)}, func(b *Batch) { b.PutMail(&r) }, func(m *model) bool {
			for _, old := range m.mails {
				if (old.ID == r.ID) != (old.Key == r.Key) {
					return false
				}
			}
			if old, ok := m.mails[id]; ok && !old.Done.IsZero() && (!old.Done.Equal(r.Done) || old.State != r.State) {
				return false
			}
			m.mails[id] = r
			m.maxMail = max(m.maxMail, id)
			return true
		}}
	case "entry":
		r := Entry{ID: id, Time: drawTime(t, "time"), Kind: "worker", What: rapid.SampledFrom([]string{"lost", "back"}).Draw(t, "what")}
		return put{stepKey{-6, int(id)}, func(b *Batch) { b.PutEntry(&r) }, func(m *model) bool {
			if old, ok := m.entries[id]; ok && (!old.Time.Equal(r.Time) || old.What != r.What) {
				return false
			}
			m.entries[id] = r
			m.maxEntry = max(m.maxEntry, id)
			return true
		}}
	default:
		k := rapid.SampledFrom([]string{"a", "a/b", "b"}).Draw(t, "key")
		v := rapid.SampledFrom([][]byte{nil, {}, {0, 255}}).Draw(t, "value")
		return put{k, func(b *Batch) { b.PutMeta(k, v) }, func(m *model) bool {
			delete(m.meta, k)
			if v != nil {
				m.meta[k] = bytes.Clone(v)
			}
			return true
		}}
	}
}

// dropped are the ids that a batch removes.
type dropped struct{ builds, requests, logs, mails, entries []int64 }

func (m *model) remove(d dropped) {
	for _, id := range d.builds {
		if b, ok := m.builds[id]; !ok || b.Result == build.None {
			continue
		}
		delete(m.builds, id)
		maps.DeleteFunc(m.steps, func(k stepKey, _ Step) bool { return k.build == id })
		maps.DeleteFunc(m.logs, func(_ int64, l Log) bool { return l.Build == id })
	}
	for _, id := range d.requests {
		if m.requests[id].State == Done {
			delete(m.requests, id)
		}
	}
	for _, id := range d.logs {
		delete(m.logs, id)
	}
	for _, id := range d.mails {
		if !m.mails[id].Done.IsZero() {
			delete(m.mails, id)
		}
	}
	for _, id := range d.entries {
		delete(m.entries, id)
	}
}

func values[K comparable, V any](m map[K]V, less func(a, b V) int) []V {
	return slices.SortedFunc(maps.Values(m), less)
}

// contents is what dump should return.
func (m *model) contents() contents {
	return contents{
		Requests: values(m.requests, func(a, b Request) int { return int(a.ID - b.ID) }),
		Builds:   values(m.builds, func(a, b Build) int { return int(a.ID - b.ID) }),
		Steps:    values(m.steps, func(a, b Step) int { return int(1000*(a.Build-b.Build)) + a.Number - b.Number }),
		Logs:     values(m.logs, func(a, b Log) int { return int(a.ID - b.ID) }),
		Meta:     m.meta,
		Workers:  values(m.workers, func(a, b Worker) int { return int(a.ID - b.ID) }),
		Mails:    values(m.mails, func(a, b Mail) int { return int(a.ID - b.ID) }),
		Entries:  values(m.entries, func(a, b Entry) int { return int(a.ID - b.ID) }),
	}
}

// recovered is what Start should return, but for ids.
func (m *model) recovered() (requests []Request, unfinished []Unfinished, logs []Log) {
	c := m.contents()
	requests = slices.DeleteFunc(c.Requests, func(r Request) bool { return r.State == Done })
	for _, b := range c.Builds {
		if b.Result != build.None {
			continue
		}
		u := Unfinished{Build: b}
		for _, s := range c.Steps {
			if s.Build == b.ID && s.Result == build.None {
				u.Steps = append(u.Steps, s)
			}
		}
		unfinished = append(unfinished, u)
	}
	return requests, unfinished, slices.DeleteFunc(c.Logs, func(l Log) bool { return l.Complete })
}

// Whatever is put, merged, committed twice, removed, in whatever order, with
// restarts between: the store is what a few maps would be, and gives out no id
// and no number twice.
func TestStoreIsAMap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		d, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(filepath.Join(d, "state.db"), quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(s.Close(), os.RemoveAll(d)); err != nil {
				t.Fatal(err)
			}
		}()
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) { commitDrawn(t, s, m) },
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(s.path, quiet()); err != nil {
					t.Fatal(err)
				}
				restart(t, s, m)
				checkTotals(t, s)
			},
			"": func(t *rapid.T) {
				if d := cmp.Diff(m.contents(), dump(t, s), cmpopts.EquateEmpty()); d != "" {
					t.Fatal(d)
				}
			},
		})
		checkTotals(t, s)
	})
}

func commitDrawn(t *rapid.T, s *Store, m *model) {
	b := NewBatch()
	last := map[any]put{} // of each row, what is put last
	var keys []any        // in the order in which rows are first put
	for range rapid.IntRange(1, 3).Draw(t, "batches") {
		part := NewBatch()
		for range rapid.IntRange(0, 6).Draw(t, "puts") {
			p := drawPut(t)
			p.batch(part)
			if _, ok := last[p.key]; !ok {
				keys = append(keys, p.key)
			}
			last[p.key] = p
		}
		b.Merge(part)
	}
	ids := rapid.SliceOfN(rapid.Int64Range(1, 7), 0, 2)
	d := dropped{ids.Draw(t, "drop builds"), ids.Draw(t, "drop requests"), ids.Draw(t, "drop logs"), ids.Draw(t, "drop mails"), ids.Draw(t, "drop entries")}
	b.DeleteBuilds(d.builds...)
	b.DeleteRequests(d.requests...)
	b.DeleteLogs(d.logs...)
	b.DeleteMails(d.mails...)
	b.DeleteEntries(d.entries...)

	for range rapid.IntRange(1, 2).Draw(t, "commits") {
		refused := 0
		for _, k := range keys {
			if !last[k].model(m) {
				refused++
			}
		}
		m.remove(d)
		err := s.Commit(b)
		e, _ := errors.AsType[*RefusedError](err)
		if err != nil && e == nil {
			t.Fatal(err)
		}
		if got := len(rowsOf(e)); got != refused {
			t.Fatalf("%d rows refused, want %d: %v", got, refused, err)
		}
	}
}

func rowsOf(e *RefusedError) []Refused {
	if e == nil {
		return nil
	}
	return e.Rows
}

func restart(t *rapid.T, s *Store, m *model) {
	r, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	m.epoch++
	if r.Epoch != m.epoch {
		t.Fatalf("epoch %d, want %d", r.Epoch, m.epoch)
	}
	requests, unfinished, logs := m.recovered()
	if d := cmp.Diff(requests, r.Requests, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(unfinished, r.Unfinished, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(logs, r.Logs, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(m.numbers, r.Numbers); d != "" {
		t.Fatal(d)
	}
	if r.NextRequest != m.maxReq+1 || r.NextBuild != m.maxBuild+1 {
		t.Fatalf("next request %d, build %d; the highest were %d, %d", r.NextRequest, r.NextBuild, m.maxReq, m.maxBuild)
	}
	c := m.contents()
	if d := cmp.Diff(c.Workers, r.Workers, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	waiting := slices.DeleteFunc(c.Mails, func(m Mail) bool { return !m.Done.IsZero() })
	if d := cmp.Diff(waiting, r.Mails, cmpopts.EquateEmpty()); d != "" {
		t.Fatal(d)
	}
	if r.NextMail != m.maxMail+1 || r.NextEntry != m.maxEntry+1 {
		t.Fatalf("next mail %d, entry %d; the highest were %d, %d", r.NextMail, r.NextEntry, m.maxMail, m.maxEntry)
	}
	if r.NextLog <= m.maxLog {
		t.Fatalf("next log %d; %d was used", r.NextLog, m.maxLog)
	}
}
