package store

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
)

func TestBatchKeepsTheLastOfEachKey(t *testing.T) {
	b, newer := NewBatch(), NewBatch()
	for _, text := range []string{"1", "2"} {
		b.PutRequest(&Request{ID: 1, Text: text})
		b.PutBuild(&Build{ID: 1, Text: text})
		b.PutStep(&Step{Build: 1, Number: 1, Text: text})
		b.PutLog(&Log{ID: 1, Name: text})
		b.PutMeta("k", []byte(text))
		b.DeleteBuilds(7, 8)
	}
	for _, text := range []string{"1", "2"} {
		b.PutWorker(&Worker{ID: 1, Kind: text})
		b.PutBuilder(&Builder{ID: 1, Description: text})
		b.PutScheduler(&Scheduler{ID: 1, Who: text})
		b.PutMail(&Mail{ID: 1, Error: text})
		b.PutEntry(&Entry{ID: 1, What: text})
		b.DeleteMails(7)
		b.DeleteEntries(7)
	}
	b.PutStep(&Step{Build: 1, Number: 2, Text: "other"})
	b.PutStep(&Step{Build: 2, Number: 1, Text: "other"})
	if b.Len() != 16 {
		t.Errorf("%d rows, want 16", b.Len())
	}
	newer.PutStep(&Step{Build: 1, Number: 1, Text: "3"})
	newer.PutRequest(&Request{ID: 2, Text: "new"})
	newer.DeleteRequests(8)
	newer.DeleteLogs(8)
	newer.PutWorker(&Worker{ID: 1, Kind: "3"})
	newer.PutBuilder(&Builder{ID: 1, Description: "3"})
	newer.PutScheduler(&Scheduler{ID: 1, Who: "3"})
	newer.PutMail(&Mail{ID: 1, Error: "3"})
	newer.PutEntry(&Entry{ID: 1, What: "3"})
	newer.DeleteMails(8)
	newer.DeleteEntries(8)
	b.Merge(newer)
	if b.Len() != 21 {
		t.Errorf("%d rows, want 21", b.Len())
	}
	if got := b.steps.list[b.steps.index[stepKey{1, 1}]].Text; got != "3" {
		t.Errorf("step is that of batch %s", got)
	}
	if got := b.builds.list[0].Text; got != "2" {
		t.Errorf("build is that of put %s", got)
	}
	if got := b.requests.list[1].Text; got != "new" {
		t.Errorf("second request is %q", got)
	}
	last := b.workers.list[0].Kind + b.builders.list[0].Description + b.schedulers.list[0].Who + b.mails.list[0].Error + b.entries.list[0].What
	if last != "33333" {
		t.Errorf("of batches %s", last)
	}
	empty := NewBatch()
	empty.Merge(b)
	empty.Merge(NewBatch())
	if empty.Len() != 21 {
		t.Errorf("merged into an empty one: %d rows", empty.Len())
	}
}

// Properties that no property can have are not stored, and not in silence.
func TestUnwritableProperties(t *testing.T) {
	var log bytes.Buffer
	s, err := Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := NewBatch()
	b.PutRequest(&Request{ID: 1, Builder: "b", Properties: build.Properties{"good": {Value: "x"}, "bad": {Value: func() {}}}})
	for range 2 {
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Request(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(build.Properties{"good": {Value: "x"}}, r.Properties); d != "" {
		t.Error(d)
	}
	if n := strings.Count(log.String(), "value bad"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
}

// One row whose properties were damaged does not keep a master from starting.
func TestDamagedPropertiesAreSaid(t *testing.T) {
	path := existing(t)
	s := mustOpen(t, path)
	mustCommit(t, s, func(b *Batch) {
		b.PutRequest(&Request{ID: 1, Builder: "b", Result: build.None})
		b.PutBuild(&Build{ID: 1, Builder: "b", Number: 1, Result: build.None})
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, "UPDATE requests SET properties = '{'", "UPDATE builds SET properties = '[]', ended = 'x'")
	var log bytes.Buffer
	s, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := mustStart(t, s)
	if len(r.Requests) != 1 || len(r.Unfinished) != 1 {
		t.Errorf("%d requests, %d builds", len(r.Requests), len(r.Unfinished))
	}
	for _, want := range []string{"request is read without", "build is read without its properties", "build is read without its list"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log does not say %q: %s", want, &log)
		}
	}
}

func TestTooLongColumns(t *testing.T) {
	long := strings.Repeat(" ", maxEncoded+1)
	if _, err := decodeProperties(long); err == nil {
		t.Error("properties: no error")
	}
	if _, err := decodeList(long); err == nil {
		t.Error("list: no error")
	}
}

func FuzzDecodeProperties(f *testing.F) {
	for _, seed := range []string{"", "{", "null", "[]", `{"a":["x","s"]}`, `{"a":[1,"s"],"b":[null,""]}`, `{"a":[9007199254740993,"s"]}`, `{"a":["x"]}`, `{"":[1,""]}`, `{"a":[{"b":[1.5,true]},"s"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := decodeProperties(s)
		if err != nil {
			return
		}
		b := NewBatch()
		again, err := decodeProperties(encodeMap(b, "request", 1, p))
		if err != nil || len(b.unwritable) > 0 {
			t.Fatalf("cannot be stored again: %v, %v", err, b.unwritable)
		}
		if len(p)+len(again) > 0 && !cmp.Equal(p, again) {
			t.Fatal(cmp.Diff(p, again))
		}
		for name, want := range p {
			some, err := decodeSome(s, []string{name, "\x00"})
			if err != nil || len(some) != 1 || !cmp.Equal(want, some[name]) {
				t.Fatalf("property %q alone is %v, %v", name, some, err)
			}
		}
	})
}

func FuzzDecodeList(f *testing.F) {
	for _, seed := range []string{"", "[", "[]", `["a","b"]`, `[1]`, `["\ud800"]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := decodeList(s)
		if err != nil {
			return
		}
		again, err := decodeList(encodeList(list))
		if err != nil || len(list)+len(again) > 0 && !cmp.Equal(list, again) {
			t.Fatalf("%q became %q, %v", list, again, err)
		}
		if _, err := json.Marshal(list); err != nil {
			t.Fatal(err)
		}
	})
}
