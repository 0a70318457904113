package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// FuzzRecords: whatever the bytes, reading ends, without a panic, and what it
// returns encodes to the bytes it came from.
func FuzzRecords(f *testing.F) {
	var b []byte
	for i, p := range []string{"one\n", "", "three"} {
		r := record{id: 1, token: attempt, time: 5, seq: uint32(i), kind: 'o', payload: []byte(p), pad: 7 * i}
		b = appendRecord(b, &r)
	}
	b = appendFinish(b, &record{id: 1, seq: 3}, 2, 9, 0)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		rs := records{src: bytes.NewReader(b), end: int64(len(b))}
		for {
			r, at, err := rs.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				break
			}
			again := appendRecord(nil, &r)
			if n := len(again) - r.pad; at+int64(len(again)) != rs.off || !bytes.Equal(again[:n], b[at:at+int64(n)]) {
				t.Fatalf("record at %d encodes to other bytes", at)
			}
		}
	})
}

// FuzzSegment opens a store whose segment holds records of any order, with good
// sums, and then any bytes. What is found can be read, and is the same when the
// store is opened again.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{1, 0, 0, 9, 2, 0, 1, 9, 1, 1, 3, 0}, []byte("garbage"))
	f.Add([]byte{1, 5, 0, 9, 1, 0, 2, 9, 1, 1, 0, 4, 1, 0, 0, 4}, appendRecord(nil, &record{id: 3, kind: 'o'})[:40])
	f.Add([]byte{1, 0, 3, 0, 1, 1, 0, 255, 2, 0, 3, 0, 2, 0, 3, 0}, []byte{})
	f.Fuzz(func(t *testing.T, program, end []byte) {
		if len(program) > 400 || len(end) > 1000 {
			t.Skip("larger than needed")
		}
		b := appendFileHeader(nil, magicSegment, 1, 1)
		for ; len(program) >= 4; program = program[4:] {
			r := record{id: int64(program[0] % 8), seq: uint32(program[1] % 16), token: attempt}
			if k := program[2] % 4; k == 3 {
				b = appendFinish(b, &r, int64(program[3]), 9, 0)
			} else {
				r.kind, r.payload = byte(streamNames[k]), bytes.Repeat([]byte("text\n"), int(program[3]))
				b = appendRecord(b, &r)
			}
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "seg-00000001-1.seg"), append(b, end...))
		var first string
		for round := range 2 {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			refs, err := s.Orphans(func(int64) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(refs)
			var found strings.Builder
			for _, ref := range refs {
				_, id, err := ref.parse()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&found, "%s\n%s", ref, raw(t, s, id, ref, true))
				r, err := s.Reader(id, ref)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.ReadLines(0, 1000); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Tail(3); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
			if round == 1 {
				same(t, "opened again", found.String(), first)
			}
			first = found.String()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzIndex: an index file of any content is used or refused; the logs are
// found either way.
func FuzzIndex(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for id := int64(1); id <= 3; id++ {
		w := mustCreate(f, s, id, nil)
		mustWrite(f, w, worker.Stdout, "text\n")
		mustFinish(f, w)
	}
	s.mu.Lock()
	err = s.indexNow(s.active)
	s.mu.Unlock()
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	seg, err := os.ReadFile(filepath.Join(dir, "seg-00000001-1.seg"))
	if err != nil {
		f.Fatal(err)
	}
	idx, err := os.ReadFile(filepath.Join(dir, "seg-00000001-1.idx"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(idx)
	f.Add(idx[:60])
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "seg-00000001-1.seg"), seg)
		write(t, filepath.Join(dir, "seg-00000001-1.idx"), b)
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if !bytes.Equal(b[:min(len(b), len(idx))], idx[:min(len(b), len(idx))]) {
			return // a fuzzer may find an index with good sums that says something else
		}
		for id := int64(1); id <= 3; id++ {
			same(t, "log", raw(t, s, id, "", true), "text\n")
		}
	})
}

// compressed returns the compressed form of a log of the given text.
func compressed(t testing.TB, text string) []byte {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := mustCreate(t, s, 1, nil)
	mustWrite(t, w, worker.Stdout, text)
	mustFinish(t, w)
	s.settle()
	b, err := os.ReadFile(s.donePath(1))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzCompressed reads compressed files of any content to their end, or to an
// error. The trailer is sealed again after each change, so that what is behind
// its checksum is reached too.
func FuzzCompressed(f *testing.F) {
	good := compressed(f, strings.Repeat("some text\n", 10_000))
	f.Add(good, false)
	f.Add(good[:len(good)-1], false)
	f.Add(compressed(f, strings.Repeat("x", 3<<20)), true)
	dec, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(dec.Close)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if len(b) > 1<<20 {
			t.Skip("larger than needed")
		}
		if seal {
			if tr, err := parseTrailer(b[:min(len(b), 200)]); err == nil {
				b = tr.append(bytes.Clone(b))
			}
		}
		z, err := openFrames(bytes.NewReader(b), int64(len(b)), dec)
		if err != nil {
			return
		}
		if z.trailer.End > 64<<20 {
			t.Skip("larger than needed")
		}
		r := &Reader{v: view{src: z, off: fileHeader, end: z.trailer.End, points: z.trailer.points, info: z.trailer.info(1)}}
		_, err = r.WriteRaw(context.Background(), io.Discard, true)
		if _, err2 := r.Tail(10); err == nil && err2 != nil {
			t.Fatalf("all of it is readable, the end is not: %v", err2)
		}
	})
}

// FuzzTrailer: what is read of a trailer is what is written again.
func FuzzTrailer(f *testing.F) {
	tr := trailer{Lines: 9, Bytes: 1 << 20, Dropped: 3, Flags: 1, Records: 7, End: 2 << 20, points: []point{
		{off: 32}, {off: 300_000, raw: 299_000, line: 4, from: [3]int64{299_500, 299_000, 300_000}},
	}}
	b := tr.append(nil)
	f.Add(b[:len(b)-trailerTail])
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := parseTrailer(b)
		if err != nil {
			return
		}
		again, err := parseTrailer(tr.append(nil)[:len(tr.append(nil))-trailerTail])
		if err != nil || again.Lines != tr.Lines || len(again.points) != len(tr.points) {
			t.Fatalf("%+v becomes %+v, %v", tr, again, err)
		}
	})
}

func FuzzLastVisible(f *testing.F) {
	f.Add([]byte("10%\r20%\r"))
	f.Add([]byte("\x1b[1;31mred\x1b[0m\x1b]0;title\x07\x1b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range LastVisible(b) {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Fatalf("%q shows %q", b, r)
			}
		}
	})
}

func TestLastVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"plain":                          "plain",
		"10%\r20%\r100%":                 "100%",
		"10%\r20%\r":                     "20%",
		"text\r\n"[:5]:                   "text",
		"\r\r":                           "",
		"done\r\x1b[K":                   "done",
		"\x1b[1;31mred\x1b[0m text":      "red text",
		"\x1b]0;title\x07shown":          "shown",
		"\x1b]8;;http://x\x1b\\link":     "link",
		"\x1b(Bascii":                    "ascii",
		"\x1b=keypad":                    "keypad",
		"a\tb":                           "a b",
		"12\b3":                          "13",
		"\b\bx":                          "x",
		"bad \xff byte":                  "bad \uFFFD byte",
		"grün ✓\x00\x01":                 "grün ✓",
		"c1 \u009b31m":                   "c1 31m",
		"cut \x1b[3":                     "cut",
		"cut \x1b":                       "cut",
		"csi ended by a control \x1b[\r": "csi ended by a control",
	} {
		if got := LastVisible([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
