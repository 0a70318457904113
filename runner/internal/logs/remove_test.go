package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// filled makes logs until the first segment is closed and indexed.
func filled(t *testing.T, s *Store) []Ref {
	t.Helper()
	var refs []Ref
	for id := int64(1); len(refs) < 60; id++ {
		w := mustCreate(t, s, id, nil)
		mustWrite(t, w, worker.Stdout, logText(id))
		refs = append(refs, mustFinish(t, w).Ref)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	s.settle()
	return refs
}

func logText(id int64) string { return strings.Repeat(fmt.Sprintf("text of %d\n", id), 1000) }

func inFirst(refs []Ref) []Ref {
	var in []Ref
	for _, r := range refs {
		if strings.HasPrefix(string(r), "seg:1:") {
			in = append(in, r)
		}
	}
	return in
}

func sizeOf(t *testing.T, dir, pattern string) (n int64) {
	t.Helper()
	fs, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += st.Size()
	}
	return n
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	o := Options{SegmentBytes: 1}
	s := mustOpen(t, dir, o)
	first := inFirst(filled(t, s))
	if len(first) < 10 {
		t.Fatal(first)
	}
	before := sizeOf(t, dir, "seg-00000001-*.seg")
	held := mustReader(t, s, 2, first[1]) // has the old generation open
	keep := map[Ref]bool{first[1]: true, first[7]: true}
	var gone []Ref
	for _, r := range first {
		if !keep[r] {
			gone = append(gone, r)
		}
	}
	check := func() {
		t.Helper()
		for r := range keep {
			_, id, err := r.parse()
			if err != nil {
				t.Fatal(err)
			}
			same(t, string(r), raw(t, s, id, r, true), logText(id))
		}
		for _, r := range gone {
			_, id, err := r.parse()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Reader(id, r); !errors.Is(err, ErrNotFound) {
				t.Fatalf("removed %s: %v", r, err)
			}
		}
	}
	if err := s.Remove(gone[:5]...); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if now := sizeOf(t, dir, "seg-00000001-*.seg"); now != before {
		t.Errorf("compacted already: %d of %d bytes", now, before)
	}
	if err := s.Remove(gone...); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if now := sizeOf(t, dir, "seg-00000001-*.seg"); now > before/4 || now == 0 {
		t.Errorf("%d of %d bytes after compaction", now, before)
	}
	check()
	ls, err := held.ReadLines(0, 1<<20)
	if err != nil || len(ls) != 1000 {
		t.Errorf("reader from before: %d lines, %v", len(ls), err)
	}
	// A crash now, and a crash between the two renames.
	copied := copyDir(t, dir)
	if err := os.Remove(filepath.Join(copied, "seg-00000001-2.idx")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(copied, "seg-00000001-3.seg.tmp"), []byte("half"))
	write(t, filepath.Join(copied, "seg-00000001-3.idx"), []byte("of one that was not switched to"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, copied} {
		s = mustOpen(t, d, o)
		check()
	}
	if left, err := filepath.Glob(filepath.Join(copied, "*-3.*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	s.settle()
	for r := range keep {
		gone = append(gone, r)
	}
	clear(keep)
	if err := s.Sync(); err != nil { // copied's first segment gets its index
		t.Fatal(err)
	}
	s.settle()
	if err := s.Remove(gone...); err != nil {
		t.Fatal(err)
	}
	s.settle()
	check()
	if n := sizeOf(t, copied, "seg-00000001-*"); n != 0 {
		t.Errorf("%d bytes are left of a dead segment", n)
	}
}

// TestCompactionKeepsRunning: a log that is still written survives the
// compaction of the segment it began in.
func TestCompactionKeepsRunning(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{SegmentBytes: 1})
	w := mustCreate(t, s, 1000, nil)
	mustWrite(t, w, worker.Stdout, "begin\n")
	first := inFirst(filled(t, s))
	if err := s.Remove(first...); err != nil {
		t.Fatal(err)
	}
	s.settle()
	same(t, "after compaction", all(t, s, 1000, ""), "0o:begin\n")
	if s.segs[1].gen != 2 {
		t.Fatalf("generation %d", s.segs[1].gen)
	}
	mustWrite(t, w, worker.Stdout, "end\n")
	same(t, "moved on", all(t, s, 1000, ""), "0o:begin\n1o:end\n")
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if s.segs[1] != nil {
		t.Error("the segment is there although nothing in it is alive")
	}
	info := mustFinish(t, w)
	same(t, "finished", all(t, s, 1000, info.Ref), "0o:begin\n1o:end\n")
}

func TestRemoveOwn(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	for id, settle := range map[int64]bool{1: true, 2: false} {
		w := mustCreate(t, s, id, nil)
		mustWrite(t, w, worker.Stdout, strings.Repeat("large\n", 200_000))
		info := mustFinish(t, w)
		if settle {
			s.settle()
		}
		if err := s.Remove(info.Ref); err != nil {
			t.Fatal(err)
		}
		s.settle()
		if _, err := s.Reader(id, info.Ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed: %v", err)
		}
	}
	if n := sizeOf(t, dir, "live/*") + sizeOf(t, dir, "done/*/*"); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}
