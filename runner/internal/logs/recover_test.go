package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// wrote is one write of a log and where its record ends in the file.
type wrote struct {
	log  int64
	text string
	end  int64
}

// TestCutSegment cuts a segment of three logs, two of them unfinished, at every
// offset: all records before the cut survive, none other appears, and what was
// torn is said.
func TestCutSegment(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	var ws []wrote
	logs := map[int64]*Writer{}
	end := int64(fileHeader)
	finish := map[int64]int64{}
	for i := range 7 {
		id := int64(1 + i%3)
		if logs[id] == nil {
			logs[id] = mustCreate(t, s, id, nil)
		}
		text := fmt.Sprintf("log %d write %d\n", id, i)
		mustWrite(t, logs[id], worker.Stdout, text)
		end += recordHeader + int64(len(text))
		ws = append(ws, wrote{id, text, end})
	}
	mustFinish(t, logs[2])
	finish[2] = end + recordHeader + finishPayload
	seg := s.active.path()
	whole, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(whole)) != finish[2] {
		t.Fatalf("segment has %d bytes, want %d", len(whole), finish[2])
	}
	base := t.TempDir()
	for cut := 0; cut <= len(whole); cut++ {
		checkCut(t, filepath.Join(base, fmt.Sprint(cut)), filepath.Base(seg), whole[:cut], ws, finish)
	}
	// Damage instead of a cut: every byte changed, one at a time.
	for at := fileHeader; at < len(whole); at += 3 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		good := int64(fileHeader)
		for _, w := range ws {
			if w.end <= int64(at) {
				good = w.end
			}
		}
		checkDamaged(t, filepath.Join(base, fmt.Sprintf("d%d", at)), filepath.Base(seg), b, ws, good)
	}
}

func openCut(t *testing.T, dir, name string, b []byte) (*Store, string) {
	write(t, filepath.Join(dir, name), b)
	var log bytes.Buffer
	s, err := Open(dir, Options{Logger: captured(&log)})
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return s, log.String()
}

func checkCut(t *testing.T, dir, name string, b []byte, ws []wrote, finish map[int64]int64) {
	t.Helper()
	s, log := openCut(t, dir, name, b)
	defer s.Close()
	cut := int64(len(b))
	want := map[int64]string{1: "", 2: "", 3: ""}
	last := int64(fileHeader)
	for _, w := range ws {
		if w.end <= cut {
			want[w.log] += w.text
			last = w.end
		}
	}
	if cut == finish[2] {
		last = cut
	}
	if torn := cut > last; torn != strings.Contains(log, "torn end") && cut >= fileHeader {
		t.Fatalf("cut at %d: torn %v, but logged %q", cut, torn, log)
	}
	for id, text := range want {
		if text == "" {
			if _, err := s.Reader(id, ""); err == nil {
				t.Fatalf("cut at %d: log %d exists without a record", cut, id)
			}
			continue
		}
		same(t, fmt.Sprintf("cut at %d, log %d", cut, id), raw(t, s, id, "", false), text)
		info, err := s.Stat(id, "")
		if err != nil || !info.Finished || info.Interrupted != (finish[id] == 0 || cut < finish[id]) {
			t.Fatalf("cut at %d: log %d: %+v, %v", cut, id, info, err)
		}
		if said := strings.Contains(raw(t, s, id, "", true), "Bothy ended while"); said != info.Interrupted {
			t.Fatalf("cut at %d: log %d: interrupted %v, but said %v", cut, id, info.Interrupted, said)
		}
	}
	// The store goes on, and a second opening finds nothing to repair.
	w := mustCreate(t, s, 9, nil)
	mustWrite(t, w, worker.Stdout, "after\n")
	mustFinish(t, w)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, log = openCut(t, dir, "x.tmp", nil)
	defer s.Close()
	if log != "" {
		t.Fatalf("cut at %d: second opening: %s", cut, log)
	}
	same(t, "new log", raw(t, s, 9, "", false), "after\n")
	for id, text := range want {
		if text != "" {
			same(t, fmt.Sprintf("cut at %d, reopened, log %d", cut, id), raw(t, s, id, "", false), text)
		}
	}
}

func checkDamaged(t *testing.T, dir, name string, b []byte, ws []wrote, good int64) {
	t.Helper()
	s, log := openCut(t, dir, name, b)
	defer s.Close()
	if !strings.Contains(log, "torn end") {
		t.Fatalf("%s: damage was not logged", dir)
	}
	want := map[int64]string{}
	for _, w := range ws {
		if w.end <= good {
			want[w.log] += w.text
		}
	}
	for id, text := range want {
		same(t, fmt.Sprintf("%s: log %d", dir, id), raw(t, s, id, "", false), text)
	}
}

// TestTornMarker: the log that lost a record says how much.
func TestTornMarker(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Stdout, "kept\n")
	mustWrite(t, w, worker.Stdout, "torn\n")
	b, err := os.ReadFile(s.active.path())
	if err != nil {
		t.Fatal(err)
	}
	dir2 := t.TempDir()
	write(t, filepath.Join(dir2, filepath.Base(s.active.path())), b[:len(b)-1])
	s2 := mustOpen(t, dir2, Options{})
	same(t, "log", all(t, s2, 1, ""), fmt.Sprintf("0o:kept\n1h:… the log ends here: Bothy ended while it was being written (%d bytes of a torn record were cut)\n", recordHeader+4))
}

// TestCutOwnFile cuts the file of a large log at places around every record.
func TestCutOwnFile(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	w := mustCreate(t, s, 7, nil)
	var texts []string
	var ends []int64
	for i := range 8 {
		text := strings.Repeat(fmt.Sprintf("%d", i), 20_000) + "\n"
		mustWrite(t, w, worker.Stdout, text)
		texts = append(texts, text)
		if w.own != nil {
			ends = append(ends, w.own.size)
		} else {
			ends = append(ends, 0)
		}
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	files := copyDir(t, dir) // before the finish, so with the copy in the segment
	info := mustFinish(t, w)
	finished, err := os.ReadFile(s.livePath(7))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s.settle()
	base := t.TempDir()
	n := 0
	try := func(b []byte, complete int) {
		t.Helper()
		n++
		d := filepath.Join(base, fmt.Sprint(n))
		if err := copyTree(d, files); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, "live", "7.log"), b)
		s, err := Open(d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		want := strings.Join(texts[:max(complete, 3)], "") // three are in the segment too
		same(t, fmt.Sprintf("cut to %d bytes", len(b)), raw(t, s, 7, "", false), want)
		got, err := s.Stat(7, "")
		if err != nil || !got.Finished || got.Interrupted && got.Lines != int64(max(complete, 3))+1 {
			t.Fatalf("cut to %d bytes: %+v, %v", len(b), got, err)
		}
		s.settle()
		same(t, fmt.Sprintf("cut to %d bytes, compressed", len(b)), raw(t, s, 7, "", false), want)
		refs, err := s.Orphans(func(int64) bool { return false })
		if err != nil || len(refs) != 1 && s.Sync() != nil {
			t.Fatalf("cut to %d bytes: %v, %v", len(b), refs, err)
		}
	}
	whole, err := os.ReadFile(filepath.Join(files, "live", "7.log"))
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		if end == 0 {
			continue
		}
		for _, cut := range []int64{end, end + 1, end + recordHeader - 1, end + recordHeader, end + 10_000} {
			if cut <= int64(len(whole)) && (i+1 == len(ends) || cut < ends[i+1]) {
				try(whole[:cut], i+1)
			}
		}
	}
	try(nil, 0)
	try(whole[:fileHeader], 0)
	try(whole[:fileHeader+100], 0)
	try(whole[:25_000], 1)
	if finished != nil { // compression may have been quicker
		for cut := len(whole); cut < len(finished); cut++ {
			try(finished[:cut], len(texts))
		}
		try(finished, len(texts))
	}
	if info.Ref != fileRef(7) {
		t.Error(info)
	}
}

// TestCrashAfterFinish: the log is complete although nobody was told.
func TestCrashAfterFinish(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	small, large := mustCreate(t, s, 1, nil), mustCreate(t, s, 2, nil)
	mustWrite(t, small, worker.Stdout, "small\n")
	big := strings.Repeat("large\n", 50_000)
	mustWrite(t, large, worker.Stdout, big)
	a, b := mustFinish(t, small), mustFinish(t, large)
	s.settle()
	s2 := mustOpen(t, copyDir(t, dir), Options{})
	for id, want := range map[int64]Info{1: a, 2: b} {
		if got, err := s2.Stat(id, ""); err != nil || got != want {
			t.Errorf("log %d: %+v, %v, want %+v", id, got, err, want)
		}
	}
	refs, err := s2.Orphans(func(id int64) bool { return id == 1 })
	if err != nil || len(refs) != 1 || refs[0] != b.Ref {
		t.Errorf("orphans %v, %v", refs, err)
	}
	if err := s2.Remove(refs...); err != nil {
		t.Fatal(err)
	}
	if refs, err := s2.Orphans(func(id int64) bool { return id == 1 }); err != nil || len(refs) != 0 {
		t.Errorf("orphans after removal %v, %v", refs, err)
	}
	if s2.MaxID() != 2 {
		t.Errorf("MaxID %d", s2.MaxID())
	}
}

// TestLostIndex: an index that is missing or damaged is made anew.
func TestLostIndex(t *testing.T) {
	dir := t.TempDir()
	o := Options{SegmentBytes: 1}
	s := mustOpen(t, dir, o)
	const logs = 40
	for id := int64(1); id <= logs; id++ {
		w := mustCreate(t, s, id, nil)
		mustWrite(t, w, worker.Stdout, strings.Repeat(fmt.Sprintf("log %d\n", id), 3000))
		mustFinish(t, w)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.idx"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			b[50] ^= 1
		case 1:
			b = b[:len(b)/3]
		case 2:
			b[indexStart+3] ^= 1
		}
		write(t, f, b)
	}
	s = mustOpen(t, dir, o)
	for range 2 {
		for id := int64(1); id <= logs; id++ {
			same(t, "log", raw(t, s, id, "", true), strings.Repeat(fmt.Sprintf("log %d\n", id), 3000))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, dir, o)
	}
}
