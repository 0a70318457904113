package logs

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bothy/runner/worker"

	"pgregory.net/rapid"
)

// A plainLog is the oracle: a log in memory.
type plainLog struct {
	chunks   []plainChunk
	finished bool
	ref      Ref
	removed  bool
	w        *Writer
}

type plainChunk struct {
	stream worker.Stream
	data   []byte
}

func (l *plainLog) write(s worker.Stream, p []byte) {
	for piece := range slices.Chunk(p, maxPayload) {
		l.chunks = append(l.chunks, plainChunk{s, bytes.Clone(piece)})
	}
}

func (l *plainLog) raw() string {
	var b strings.Builder
	for _, c := range l.chunks {
		b.Write(c.data)
	}
	return b.String()
}

// lines follows the rules of lines.go byte by byte.
func (l *plainLog) lines() []Line {
	type open struct {
		text  []byte
		start int
		any   bool
	}
	var out []Line
	opens := map[worker.Stream]*open{worker.Stdout: {}, worker.Stderr: {}, worker.Header: {}}
	end := func(s worker.Stream, split bool) {
		o := opens[s]
		out = append(out, Line{No: int64(len(out)), Stream: s, Text: o.text, Split: split})
		*o = open{}
	}
	at := 0
	for _, c := range l.chunks {
		for _, s := range streamNames {
			if o := opens[s]; o.any && at-o.start > maxSpread {
				end(s, true)
			}
		}
		o := opens[c.stream]
		for _, b := range c.data {
			if b == '\n' {
				end(c.stream, false)
			} else {
				if len(o.text) == MaxLine {
					end(c.stream, true)
				}
				if !o.any {
					o.any, o.start = true, at
				}
				o.text = append(o.text, b)
			}
			at++
		}
	}
	for {
		var first *open
		var name worker.Stream
		for _, s := range streamNames {
			if o := opens[s]; o.any && (first == nil || o.start < first.start) {
				first, name = o, s
			}
		}
		if first == nil {
			return out
		}
		end(name, false)
		out[len(out)-1].Partial = !l.finished
	}
}

func TestModel(t *testing.T) {
	tmp := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := fmt.Sprintf("%s/%d", tmp, n)
		checkModel(t, dir)
	})
}

// interruptedMark is what Open adds to a log without an end.
func (l *plainLog) interrupted() {
	text := "… the log ends here: Bothy ended while it was being written\n"
	nl := true
	for _, c := range l.chunks {
		if c.stream == worker.Header {
			nl = c.data[len(c.data)-1] == '\n'
		}
	}
	if !nl {
		text = "\n" + text
	}
	l.write(worker.Header, []byte(text))
	l.finished, l.w = true, nil
}

func checkModel(t *rapid.T, dir string) {
	o := Options{SegmentBytes: 1} // the smallest there is
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	model := map[int64]*plainLog{}
	var ids []int64
	next := int64(1)
	crashes := false // a crash may bring removed logs back
	pick := func(t *rapid.T, want func(*plainLog) bool) (int64, *plainLog) {
		var have []int64
		for _, id := range ids {
			if want(model[id]) {
				have = append(have, id)
			}
		}
		if len(have) == 0 {
			t.Skip("no such log")
		}
		id := rapid.SampledFrom(have).Draw(t, "id")
		return id, model[id]
	}
	running := func(l *plainLog) bool { return l.w != nil }
	readable := func(l *plainLog) bool { return !l.removed && len(l.chunks) > 0 }
	reopened := func(t *rapid.T) {
		for _, id := range ids {
			l := model[id]
			if l.w == nil {
				continue
			}
			if len(l.chunks) == 0 {
				l.w, l.removed = nil, true
				continue
			}
			l.interrupted()
			info, err := s.Stat(id, "")
			if err != nil || !info.Finished || !info.Interrupted {
				t.Fatalf("log %d after reopening: %+v, %v", id, info, err)
			}
			l.ref = info.Ref
		}
	}
	check := func(t *rapid.T, id int64, l *plainLog, from, count int) {
		r, err := s.Reader(id, l.ref)
		if err != nil {
			t.Fatalf("log %d at %q: %v", id, l.ref, err)
		}
		defer r.Close()
		want := l.lines()
		if got, err := r.Lines(); err != nil || got != int64(len(want)) {
			t.Fatalf("log %d at %q: %d lines, %v; want %d", id, l.ref, got, err, len(want))
		}
		from = min(from, len(want))
		ls, err := r.ReadLines(int64(from), count)
		if err != nil {
			t.Fatal(err)
		}
		exp := text(want[from:min(from+count, len(want))])
		if got := text(ls); got != exp && !(len(got) > maxText/2 && strings.HasPrefix(exp, got)) {
			t.Fatalf("log %d at %q from %d: %.300q, want %.300q", id, l.ref, from, got, exp)
		}
		var b bytes.Buffer
		if _, err := r.WriteRaw(t.Context(), &b, true); err != nil {
			t.Fatal(err)
		}
		if b.String() != l.raw() {
			t.Fatalf("log %d at %q: raw differs", id, l.ref)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"create": func(t *rapid.T) {
			w, err := s.Create(next, attempt, nil)
			if err != nil {
				t.Fatal(err)
			}
			model[next] = &plainLog{w: w}
			ids = append(ids, next)
			next++
		},
		"write": func(t *rapid.T) {
			_, l := pick(t, running)
			size := rapid.SampledFrom([]int{1, 7, 100, 1000, 20_000, 70_000, 300_000}).Draw(t, "size")
			gap := rapid.IntRange(1, 3*size).Draw(t, "line length")
			p := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
			for i := gap; i < size; i += gap {
				p[i] = '\n'
			}
			stream := rapid.SampledFrom(streamNames[:]).Draw(t, "stream")
			if err := l.w.Write(stream, p); err != nil {
				t.Fatal(err)
			}
			l.write(stream, p)
		},
		"finish": func(t *rapid.T) {
			_, l := pick(t, running)
			info, err := l.w.Finish()
			if err != nil {
				t.Fatal(err)
			}
			l.w, l.finished, l.ref = nil, true, info.Ref
		},
		"remove": func(t *rapid.T) {
			id, l := pick(t, func(l *plainLog) bool { return l.ref != "" && !l.removed })
			if err := s.Remove(l.ref); err != nil {
				t.Fatal(err)
			}
			l.removed = true
			if _, err := s.Reader(id, l.ref); !errors.Is(err, ErrNotFound) {
				t.Fatalf("removed log %d: %v", id, err)
			}
		},
		"remove a running log": func(t *rapid.T) {
			id, _ := pick(t, running)
			if err := s.Remove(fileRef(id)); !errors.Is(err, ErrInUse) {
				t.Fatalf("removing running log %d: %v", id, err)
			}
		},
		"sync": func(t *rapid.T) {
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		},
		"settle": func(t *rapid.T) { s.settle() },
		"close and open": func(t *rapid.T) {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = Open(dir, o); err != nil {
				t.Fatal(err)
			}
			reopened(t)
		},
		"crash": func(t *rapid.T) {
			old := s
			s, err = Open(crashed(t, old, &dir), o)
			if err != nil {
				t.Fatal(err)
			}
			crashes = true
			reopened(t)
		},
		"read": func(t *rapid.T) {
			id, l := pick(t, readable)
			check(t, id, l, rapid.IntRange(0, 5000).Draw(t, "from"), rapid.IntRange(0, 300).Draw(t, "count"))
		},
		"orphans": func(t *rapid.T) {
			refs, err := s.Orphans(func(int64) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			got := map[Ref]bool{}
			for _, r := range refs {
				got[r] = true
			}
			want := 0
			for _, id := range ids {
				if l := model[id]; l.ref != "" && !l.removed {
					want++
					if !got[l.ref] {
						t.Fatalf("log %d at %s is missing from %v", id, l.ref, refs)
					}
				}
			}
			if len(got) != len(refs) || len(refs) != want && !crashes {
				t.Fatalf("%d orphans %v, want %d", len(refs), refs, want)
			}
		},
	})
	s.settle()
	for _, id := range ids {
		if l := model[id]; readable(l) {
			check(t, id, l, 0, 1<<30)
		}
	}
}

// crashed copies the store's files as they are, no job running, and ends the old store.
func crashed(t *rapid.T, s *Store, dir *string) string {
	s.settle()
	to := *dir + "c"
	if err := copyTree(to, *dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	*dir = to
	return to
}
