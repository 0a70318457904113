package store

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/worker"
)

// Full rows, see fullRequest.

func fullWorker(id int64) Worker {
	return Worker{
		ID: id, Name: "bot", Kind: "remote", Configured: t0, Removed: t0.Add(time.Hour), LastSeen: t0.Add(time.Minute),
		State: []byte(`{"paused":true}`), Info: worker.Info{"os": "téxt", "numcpus": int64(4), "none": nil, "load": 0.5, "big": []any{int64(9007199254740993)}},
	}
}

func fullBuilder(id int64) Builder {
	return Builder{ID: id, Name: "unit tests", Configured: t0, Removed: t0.Add(time.Hour), Description: "d\x00", Tags: []string{"a", `"b"`}}
}

func fullScheduler(id int64) Scheduler {
	return Scheduler{ID: id, Name: "nightly", Enabled: true, Changed: t0, Who: "me", Reason: "because"}
}

func fullMail(id int64) Mail {
	return Mail{
		ID: id, Key: "missing/bot/1/a@b", Kind: "missing", Worker: "bot", Build: 7, Recipient: "a@b", Created: t0,
		NotBefore: t0.Add(time.Minute), NextTry: t0.Add(2 * time.Minute), Done: t0.Add(time.Hour), State: MailFailed, Attempts: 3,
		MessageID: "<x@y>", Error: "550 no", Payload: []byte(`{"a":1}`),
	}
}

func fullEntry(id int64) Entry {
	return Entry{ID: id, Time: t0, Kind: "worker", Name: "bot", Ref: 3, What: "paused", Who: "me", Reason: "disk", Build: 9, Detail: []byte(`{}`)}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	w, bl, sch, m, e := fullWorker(3), fullBuilder(4), fullScheduler(5), fullMail(6), fullEntry(7)
	waiting := fullMail(8)
	waiting.Key, waiting.Done, waiting.State = "other", time.Time{}, MailUncertain
	mustCommit(t, s, func(b *Batch) {
		b.PutWorker(&w)
		b.PutBuilder(&bl)
		b.PutScheduler(&sch)
		b.PutMail(&m)
		b.PutMail(&waiting)
		b.PutEntry(&e)
		w.State[2] = 'X' // what is put is copied
		m.Payload[0], e.Detail[0] = 'X', 'X'
	})
	want := contents{
		Workers: []Worker{fullWorker(3)}, Builders: []Builder{bl}, Schedulers: []Scheduler{sch},
		Mails: []Mail{fullMail(6), waiting}, Entries: []Entry{fullEntry(7)}, Meta: map[string][]byte{},
	}
	s = reopen(t, s)
	if d := cmp.Diff(want, dump(t, s)); d != "" {
		t.Error(d)
	}
	r := mustStart(t, s)
	if d := cmp.Diff([]Mail{waiting}, r.Mails); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Workers, r.Workers); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Builders, r.Builders); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want.Schedulers, r.Schedulers); d != "" {
		t.Error(d)
	}
	next := []int64{r.NextWorker, r.NextBuilder, r.NextScheduler, r.NextMail, r.NextEntry}
	if !slices.Equal(next, []int64{4, 5, 6, 9, 8}) {
		t.Errorf("next ids %d", next)
	}
}

func TestSettledRecordsDoNotChange(t *testing.T) {
	t.Parallel()
	w, bl, sch, m, e := fullWorker(1), fullBuilder(1), fullScheduler(1), fullMail(1), fullEntry(1)
	open := fullMail(2)
	open.Key, open.State, open.Done = "open", MailQueued, time.Time{}
	for _, tt := range []struct {
		name string
		put  func(b *Batch)
		want string // "": it is written
	}{
		{"the same again", func(b *Batch) {
			b.PutWorker(&w)
			b.PutBuilder(&bl)
			b.PutScheduler(&sch)
			b.PutMail(&m)
			b.PutEntry(&e)
		}, ""},
		{"other state of a worker", func(b *Batch) { r := w; r.State, r.Info = nil, nil; b.PutWorker(&r) }, ""},
		{"other name of a worker", func(b *Batch) { r := w; r.Name = "x"; b.PutWorker(&r) }, "worker 1 (worker 1 is bot)"},
		{"other id of a worker", func(b *Batch) { r := w; r.ID = 2; b.PutWorker(&r) }, "worker 2 (worker 1 is bot)"},
		{"other id of a builder", func(b *Batch) { r := bl; r.ID = 2; b.PutBuilder(&r) }, "builder 2 (builder 1 is unit tests)"},
		{"other name of a builder", func(b *Batch) { r := bl; r.Name = "x"; b.PutBuilder(&r) }, "builder 1 (builder 1 is unit tests)"},
		{"other id of a scheduler", func(b *Batch) { r := sch; r.ID = 2; b.PutScheduler(&r) }, "scheduler 2 (scheduler 1 is nightly)"},
		{"disabled scheduler", func(b *Batch) { r := sch; r.Enabled = false; b.PutScheduler(&r) }, ""},
		{"second mail of a key", func(b *Batch) { r := m; r.ID = 9; b.PutMail(&r) }, "mail 9 (mail 1 is missing/bot/1/a@b to a@b, settled as 4)"},
		{"other recipient", func(b *Batch) { r := open; r.Recipient = "x"; b.PutMail(&r) }, "mail 2"},
		{"settled mail is queued", func(b *Batch) { r := m; r.State, r.Done = MailQueued, time.Time{}; b.PutMail(&r) }, "mail 1"},
		{"failed mail was sent", func(b *Batch) { r := m; r.State = MailSent; b.PutMail(&r) }, "mail 1"},
		{"mail is tried", func(b *Batch) { r := open; r.State, r.Attempts = MailSending, 4; b.PutMail(&r) }, ""},
		{"mail is sent", func(b *Batch) { r := open; r.State, r.Done = MailSent, t0; b.PutMail(&r) }, ""},
		{"other entry", func(b *Batch) { r := e; r.What = "unpaused"; b.PutEntry(&r) }, "journal entry 1 (is of worker bot: paused)"},
		{"other detail", func(b *Batch) { r := e; r.Detail = nil; b.PutEntry(&r) }, "journal entry 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
			mustCommit(t, s, func(b *Batch) {
				b.PutWorker(&w)
				b.PutBuilder(&bl)
				b.PutScheduler(&sch)
				b.PutMail(&m)
				b.PutMail(&open)
				b.PutEntry(&e)
			})
			before, version := dump(t, s), s.Version()
			b := NewBatch()
			tt.put(b)
			for range 2 {
				err := s.Commit(b)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Fatalf("got %v, want %q refused", err, tt.want)
				}
			}
			if same := cmp.Equal(before, dump(t, s)); same != (tt.want != "" || tt.name == "the same again") {
				t.Errorf("changed: %v", !same)
			}
			if s.Version() == version {
				t.Error("the version is still the same")
			}
		})
	}
}

// Records go by age, but the newest stay, and what is not settled.
func TestRecordsExpire(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	const n = recordsKept + 20
	mustCommit(t, s, func(b *Batch) {
		for id := int64(1); id <= n; id++ {
			at := t0.Add(time.Duration(id) * time.Hour)
			m := Mail{ID: id, Key: at.String(), Created: at, Done: at.Add(time.Minute), State: MailSent}
			if id == 3 {
				m.Done, m.State = time.Time{}, MailQueued
			}
			if id == 5 {
				m.Done = t0.Add(n * time.Hour) // was tried for long
			}
			b.PutMail(&m)
			b.PutEntry(&Entry{ID: id, Time: at, Kind: "worker", Name: "w", What: "lost"})
		}
	})
	for _, tt := range []struct {
		name           string
		r              Retention
		mails, entries []int64
	}{
		{"none", Retention{}, nil, nil},
		{"by age", Retention{RecordsBefore: t0.Add(6*time.Hour + time.Second)}, []int64{1, 2, 4}, []int64{1, 2, 3, 4, 5, 6}},
		{"limit", Retention{RecordsBefore: t0.Add(6*time.Hour + time.Second), Limit: 2}, []int64{1, 2}, []int64{1, 2}},
		{
			"the newest stay", Retention{RecordsBefore: t0.Add(2 * n * time.Hour)},
			[]int64{1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
			[]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := s.Expired(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(e.Mails, tt.mails) || !slices.Equal(e.Entries, tt.entries) {
				t.Errorf("mails %d, entries %d", e.Mails, e.Entries)
			}
			if e.Len() != len(tt.mails)+len(tt.entries) {
				t.Errorf("length %d", e.Len())
			}
		})
	}
	e, err := s.Expired(t.Context(), Retention{RecordsBefore: t0.Add(2 * n * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	b := e.Batch()
	b.DeleteMails(3) // is not settled
	b.DeleteMails(n)
	b.DeleteEntries(n)
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
	c := dump(t, s)
	if len(c.Mails) != recordsKept || len(c.Entries) != recordsKept-1 || c.Mails[0].ID != 3 {
		t.Errorf("%d mails, %d entries", len(c.Mails), len(c.Entries))
	}
	if r := mustStart(t, s); r.NextMail != n+1 || r.NextEntry != n+1 {
		t.Errorf("next mail %d, entry %d", r.NextMail, r.NextEntry)
	}
}

// A worker, a builder whose JSON was damaged is there without what was in it.
func TestDamagedRecordsAreSaid(t *testing.T) {
	path := existing(t)
	s := mustOpen(t, path)
	w, bl := fullWorker(1), fullBuilder(1)
	mustCommit(t, s, func(b *Batch) { b.PutWorker(&w); b.PutBuilder(&bl) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, "UPDATE workers SET info = '{'", "UPDATE builders SET tags = '['")
	var log strings.Builder
	s, err := Open(path, textLog(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := mustStart(t, s)
	if len(r.Workers) != 1 || len(r.Builders) != 1 {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"worker is read without", "builder is read without its tags"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log does not say %q: %s", want, &log)
		}
	}
	// A filter by tags passes it over.
	p, err := s.SelectBuilders(t.Context(), Select{Where: []Cond{{"tags", Contains, []any{"a"}}}, Limit: NoLimit})
	if err != nil || p.Total != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestMailStates(t *testing.T) {
	var names []string
	for s := MailQueued - 1; s <= MailFailed+1; s++ {
		names = append(names, s.String())
	}
	if want := []string{"unknown", "queued", "sending", "uncertain", "sent", "failed", "unknown"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func FuzzDecodeInfo(f *testing.F) {
	for _, seed := range []string{"", "{", "null", "[]", `{"a":1}`, `{"a":1e400}`, `{"a":2.0,"b":-0.0,"c":1e18,"d":1e19}`, `{"a":[1.5,{"b":9007199254740993}],"c":null}`, `{"a":"\ud800"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		info, err := decodeInfo(s)
		if err != nil {
			return
		}
		b := NewBatch()
		again, err := decodeInfo(encodeMap(b, "worker", 1, info))
		if err != nil || len(b.unwritable) > 0 {
			t.Fatalf("cannot be stored again: %v, %v", err, b.unwritable)
		}
		if len(info)+len(again) > 0 && !cmp.Equal(info, again) {
			t.Fatal(cmp.Diff(info, again))
		}
	})
}
