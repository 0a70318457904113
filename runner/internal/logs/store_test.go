package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}

var attempt = worker.Token{Epoch: 3, Counter: 7}

func mustOpen(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustCreate(t testing.TB, s *Store, id int64, m *Masker) *Writer {
	t.Helper()
	w, err := s.Create(id, attempt, m)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustWrite(t testing.TB, w *Writer, s worker.Stream, text string) {
	t.Helper()
	if err := w.Write(s, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func mustFinish(t testing.TB, w *Writer) Info {
	t.Helper()
	info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func mustReader(t testing.TB, s *Store, id int64, ref Ref) *Reader {
	t.Helper()
	r, err := s.Reader(id, ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// text renders lines as "STREAM:TEXT", one per line, with what is special about them.
func text(ls []Line) string {
	var b strings.Builder
	for _, l := range ls {
		fmt.Fprintf(&b, "%d%c:%s", l.No, l.Stream, l.Text)
		if l.Partial {
			b.WriteString(" (partial)")
		}
		if l.Split {
			b.WriteString(" (split)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func all(t testing.TB, s *Store, id int64, ref Ref) string {
	t.Helper()
	r, err := s.Reader(id, ref)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ls, err := r.ReadLines(0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return text(ls)
}

func raw(t testing.TB, s *Store, id int64, ref Ref, headers bool) string {
	t.Helper()
	r, err := s.Reader(id, ref)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := r.WriteRaw(context.Background(), &b, headers); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// settle waits until no background job is left.
func (s *Store) settle() {
	s.workers.Wait()
}

func same(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		if len(got)+len(want) > 4000 {
			i := 0
			for i < len(got) && i < len(want) && got[i] == want[i] {
				i++
			}
			t.Fatalf("%s: %d bytes, want %d; differ at %d: %.80q, want %.80q", what, len(got), len(want), i, got[i:], want[i:])
		}
		t.Fatalf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestSmallLog(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Header, "sh -c …\n")
	mustWrite(t, w, worker.Stdout, "com")
	mustWrite(t, w, worker.Stderr, "warning: x\n")
	mustWrite(t, w, worker.Stdout, "piling\r50%\r100%\nprompt> ")
	want := "0h:sh -c …\n1e:warning: x\n2o:compiling\r50%\r100%\n"
	same(t, "running", all(t, s, 1, ""), want+"3o:prompt>  (partial)\n")
	mustWrite(t, w, worker.Header, "exit 0\n")
	info := mustFinish(t, w)
	want += "3h:exit 0\n4o:prompt> \n"
	if info.Ref != "seg:1:1" || info.Lines != 5 || info.Bytes != 55 || info.Truncated || !info.Finished {
		t.Errorf("info %+v", info)
	}
	same(t, "finished", all(t, s, 1, info.Ref), want)
	same(t, "raw", raw(t, s, 1, info.Ref, false), "comwarning: x\npiling\r50%\r100%\nprompt> ")
	same(t, "raw with headers", raw(t, s, 1, "", true), "sh -c …\ncomwarning: x\npiling\r50%\r100%\nprompt> exit 0\n")
	if again, err := w.Finish(); err != nil || again != info {
		t.Errorf("second Finish: %+v, %v", again, err)
	}
	if err := w.Write(worker.Stdout, []byte("x")); !errors.Is(err, ErrFinished) {
		t.Errorf("write after Finish: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	same(t, "reopened", all(t, s, 1, info.Ref), want)
	same(t, "reopened, no reference", all(t, s, 1, ""), want)
	got, err := s.Stat(1, "")
	if err != nil || got != info {
		t.Errorf("Stat: %+v, %v, want %+v", got, err, info)
	}
	if _, err := s.Reader(2, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown log: %v", err)
	}
	if s.MaxID() != 1 {
		t.Errorf("MaxID %d", s.MaxID())
	}
}

func TestTimes(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, nil)
	before := time.Now()
	mustWrite(t, w, worker.Stdout, "a")
	mid := time.Now()
	mustWrite(t, w, worker.Stdout, "b\nc\n")
	ls, err := mustReader(t, s, 1, "").ReadLines(0, 10)
	if err != nil || len(ls) != 2 {
		t.Fatal(ls, err)
	}
	if x := ls[0].Time; x.Before(before.Truncate(0)) || x.After(mid) {
		t.Errorf("a line's time %v is not that of its first byte (%v to %v)", x, before, mid)
	}
	if ls[1].Time.Before(mid.Truncate(0)) {
		t.Errorf("second line's time %v", ls[1].Time)
	}
}

// TestLargeLog goes through all three forms: segment, own file, compressed.
func TestLargeLog(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, Options{})
	w := mustCreate(t, s, 5000, nil)
	var want, lines bytes.Buffer
	n := 0
	for want.Len() < 5<<20 {
		var p []byte
		for range 1 + n%700 {
			l := fmt.Sprintf("line %d %x", n, n*n)
			fmt.Fprintf(&lines, "%do:%s\n", n, l)
			p = append(append(p, l...), '\n')
			n++
		}
		want.Write(p)
		mustWrite(t, w, worker.Stdout, string(p))
	}
	check := func(what string, ref Ref) {
		t.Helper()
		same(t, what+" raw", raw(t, s, 5000, ref, true), want.String())
		r := mustReader(t, s, 5000, ref)
		if got, err := r.Lines(); err != nil || got != int64(n) {
			t.Fatalf("%s: %d lines, %v; want %d", what, got, err, n)
		}
		for _, from := range []int{0, 1, n / 3, n - 100, n - 1, n} {
			ls, err := r.ReadLines(int64(from), 50)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for i := from; i < min(from+50, n); i++ {
				fmt.Fprintf(&b, "%do:line %d %x\n", i, i, i*i)
			}
			same(t, fmt.Sprintf("%s lines from %d", what, from), text(ls), b.String())
		}
		ls, err := r.Tail(2)
		if err != nil {
			t.Fatal(err)
		}
		same(t, what+" tail", text(ls), fmt.Sprintf("%do:line %d %x\n%do:line %d %x\n", n-2, n-2, (n-2)*(n-2), n-1, n-1, (n-1)*(n-1)))
		if ls, err := r.Tail(3, worker.Stderr); err != nil || len(ls) != 0 {
			t.Fatalf("%s tail of stderr: %v, %v", what, ls, err)
		}
	}
	check("running", "")
	running := mustReader(t, s, 5000, "")
	info := mustFinish(t, w)
	if info.Ref != "file:5000" {
		t.Fatalf("ref %s", info.Ref)
	}
	check("finished", info.Ref)
	s.settle()
	if _, err := os.Stat(s.donePath(5000)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.livePath(5000)); !os.IsNotExist(err) {
		t.Fatalf("uncompressed file: %v", err)
	}
	check("compressed", info.Ref)
	if ls, err := running.ReadLines(int64(n)-1, 9); err != nil || len(ls) != 1 || ls[0].Partial {
		t.Fatalf("reader from before: %v, %v", ls, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	check("reopened", info.Ref)
	check("reopened, no reference", "")
	if s.MaxID() != 5000 {
		t.Errorf("MaxID %d", s.MaxID())
	}
	if st, err := os.Stat(s.donePath(5000)); err != nil || st.Size() > int64(want.Len())/2 {
		t.Errorf("compressed size %v of %d, %v", st.Size(), want.Len(), err)
	}
}

func TestLongLines(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, nil)
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 4 {
		if err := w.Write(worker.Stdout, block); err != nil {
			t.Fatal(err)
		}
	}
	exact := strings.Repeat("y", MaxLine)
	mustWrite(t, w, worker.Stdout, "\n"+exact+"\n"+exact+"z\n")
	mustWrite(t, w, worker.Stdout, exact)
	mustWrite(t, w, worker.Stdout, "\nend")
	const full = 4 << 20 / MaxLine
	info := mustFinish(t, w)
	if want := int64(full + 4 + 1); info.Lines != want {
		// The blocks, exact, exact split from z, exact, end. The newline after the
		// blocks ends the last of them.
		t.Errorf("%d lines, want %d", info.Lines, want)
	}
	r := mustReader(t, s, 1, info.Ref)
	var got []string
	for from := int64(0); ; {
		ls, err := r.ReadLines(from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(ls) == 0 {
			break
		}
		for _, l := range ls {
			got = append(got, fmt.Sprintf("%c%d %v", l.Text[0], len(l.Text), l.Split))
		}
		from += int64(len(ls))
	}
	var want []string
	for i := range full {
		want = append(want, fmt.Sprintf("x%d %v", MaxLine, i < full-1))
	}
	want = append(want, "y65536 false", "y65536 true", "z1 false", "y65536 false", "e3 false")
	same(t, "lines", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

// TestMemory: what a log takes does not grow with it, nor with its lines.
func TestMemory(t *testing.T) {
	for name, p := range map[string][]byte{
		"without newlines": bytes.Repeat([]byte("x"), 200_000),
		"lines":            bytes.Repeat([]byte("a line of text\n"), 14_000),
	} {
		s := mustOpen(t, t.TempDir(), Options{})
		w := mustCreate(t, s, 1, NewMasker([]string{"secret", "password"}))
		r := mustReader(t, s, 1, "")
		allocated := func(f func()) uint64 {
			var a, b runtime.MemStats
			runtime.ReadMemStats(&a)
			f()
			runtime.ReadMemStats(&b)
			return b.TotalAlloc - a.TotalAlloc
		}
		live := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := live()
		for range 500 { // 100 MB
			if err := w.Write(worker.Stdout, p); err != nil {
				t.Fatal(err)
			}
		}
		if n := live() - before; n > 2<<20 {
			t.Errorf("%s: after writing 100 MB %d bytes are held", name, n)
		}
		n := allocated(func() {
			if ls, err := r.ReadLines(0, 20); err != nil || len(ls) != 20 {
				t.Fatal(len(ls), err)
			}
			if ls, err := r.Tail(20); err != nil || len(ls) != 20 {
				t.Fatal(len(ls), err)
			}
		})
		if n > 12<<20 {
			t.Errorf("%s: reading both ends of 100 MB allocates %d bytes", name, n)
		}
		if len(w.own.index.points) > 500 {
			t.Errorf("%s: %d points", name, len(w.own.index.points))
		}
		mustFinish(t, w)
	}
}

// TestPoints: the index of a log of any length has a bound, and stays right
// when it is thinned.
func TestPoints(t *testing.T) {
	var x index
	var sp splitter
	line := bytes.Repeat([]byte("x"), 999)
	line = append(line, '\n')
	off := int64(fileHeader)
	for range 3 * maxPoints * pointEvery / 1000 / 100 {
		x.mark(&sp, off)
		for range 100 {
			sp.add(0, line, off)
		}
		off += 100_000 + recordHeader
	}
	if n := len(x.points); n > maxPoints || n < maxPoints/4 {
		t.Errorf("%d points", n)
	}
	for i, p := range x.points {
		if p.raw != p.line*1000 || i > 0 && p.line <= x.points[i-1].line {
			t.Fatalf("point %d: %+v", i, p)
		}
	}
	if p, ok := seek(x.points, sp.lines-1); !ok || sp.lines-p.line > 2*x.every/1000 {
		t.Errorf("the last point is at line %d of %d", p.line, sp.lines)
	}
}

// TestFarApart has a line whose parts lie more than maxSpread apart.
func TestFarApart(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Stdout, "begin ")
	noise := strings.Repeat("noise\n", 10000)
	for range 30 {
		mustWrite(t, w, worker.Stderr, noise)
	}
	mustWrite(t, w, worker.Stdout, "end\n")
	info := mustFinish(t, w)
	if info.Lines != 300002 {
		t.Errorf("%d lines", info.Lines)
	}
	r := mustReader(t, s, 1, info.Ref)
	ls, err := r.Tail(2, worker.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "stdout", text(ls[len(ls)-1:]), "300001o:end\n")
	found := 0
	for from := int64(0); from < info.Lines; {
		ls, err := r.ReadLines(from, 100000)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			if l.No != from {
				t.Fatalf("line %d where %d should be", l.No, from)
			}
			if l.Split {
				found++
				same(t, "split line", string(l.Text), "begin ")
			}
			from++
		}
	}
	if found != 1 {
		t.Errorf("%d split lines", found)
	}
}

func TestCap(t *testing.T) {
	for _, limit := range []int64{1000, 300 << 10} {
		s := mustOpen(t, t.TempDir(), Options{MaxLogBytes: limit})
		w := mustCreate(t, s, 1, nil)
		line := strings.Repeat("a", 99) + "\n"
		total := int64(0)
		for total < limit+5000 {
			mustWrite(t, w, worker.Stdout, line)
			total += 100
		}
		mustWrite(t, w, worker.Header, "exit 1\n")
		out := raw(t, s, 1, "", true)
		if !strings.Contains(out, "log cap of "+sizeText(limit)+" is reached") {
			t.Fatalf("no notice while it runs: %.200q", out[len(out)-200:])
		}
		info := mustFinish(t, w)
		if !info.Truncated || info.Dropped != total-limit {
			t.Errorf("info %+v, want %d dropped", info, total-limit)
		}
		if got, err := s.Stat(1, ""); err != nil || got != info {
			t.Errorf("Stat: %+v, %v, want %+v", got, err, info)
		}
		same(t, "what is kept", raw(t, s, 1, info.Ref, false), strings.Repeat(line, int(total/100))[:limit])
		ls, err := mustReader(t, s, 1, info.Ref).Tail(2, worker.Header)
		if err != nil || len(ls) != 2 {
			t.Fatal(ls, err)
		}
		same(t, "step's own words", string(ls[0].Text), "exit 1")
		same(t, "marker", string(ls[1].Text), fmt.Sprintf("… %d bytes more were not kept (log cap %s)", total-limit, sizeText(limit)))
	}
}

func TestFence(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Stdout, "before\n")
	s.Revoke(worker.Token{Epoch: 3, Counter: 6})
	mustWrite(t, w, worker.Stdout, "still\n")
	s.Revoke(attempt)
	if err := w.Write(worker.Stdout, []byte("late\n")); !errors.Is(err, ErrFenced) {
		t.Fatalf("late write: %v", err)
	}
	info := mustFinish(t, w)
	same(t, "log", all(t, s, 1, info.Ref), "0o:before\n1o:still\n")
}

func TestRefs(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	for _, r := range []Ref{"x", "seg:0:1", "seg:1", "seg:a:1", "file:", "file:x", "seg:1:2", "file:2", "seg:99999999999:1"} {
		if _, err := s.Reader(1, r); err == nil {
			t.Errorf("reference %q was taken", r)
		}
	}
	if err := s.Remove("x"); err == nil {
		t.Error("Remove took a bad reference")
	}
	if err := s.Remove("seg:7:1", "file:1"); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

// copyDir copies the store's files as they are: what a kill -9 would leave.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := copyTree(to, from); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyTree(to, from string) error { return os.CopyFS(to, os.DirFS(from)) }

func captured(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
