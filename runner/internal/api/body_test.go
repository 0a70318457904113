package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestJoinCRC(t *testing.T) {
	text := []byte(strings.Repeat("The bothy is where the workers live. ", 3000))
	for _, n := range []int{0, 1, 2, 7, 8, 255, 256, 65535, 65536, len(text)} {
		for _, m := range []int{0, 1, 1000, len(text)} {
			first, second := text[:m], text[len(text)-n:]
			got := joinCRC(crc32.ChecksumIEEE(first), crc32.ChecksumIEEE(second), n)
			if want := crc32.ChecksumIEEE(slices.Concat(first, second)); got != want {
				t.Errorf("%d and %d bytes: %x, want %x", m, n, got, want)
			}
		}
	}
}

// Parts that were compressed each by itself are one gzip member, whoever else
// has the same parts.
func TestBodyGzip(t *testing.T) {
	e := etags{maphash.MakeSeed()}
	parts := body{e.part([]byte("{")), e.part(nil), e.part(bytes.Repeat([]byte("ab\x00"), 40000)), e.part(bytes.Repeat([]byte("ab\x00"), 100)), e.part([]byte("}"))}
	var z zippers
	seen := map[uint64]bool{}
	for _, b := range []body{parts, parts[1:], {parts[4], parts[2], parts[0]}, {parts[2]}, {parts[1]}} {
		r, err := gzip.NewReader(bytes.NewReader(bytes.Join(b.gzip(&z), nil)))
		if err != nil {
			t.Fatal(err)
		}
		r.Multistream(false)
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b.bytes()) || len(got) != b.size() {
			t.Errorf("%d of %d bytes, %v", len(got), b.size(), err)
		}
		if sum := b.sum(e.seed); seen[sum] {
			t.Errorf("two texts have one sum: %d bytes", b.size())
		} else {
			seen[sum] = true
		}
	}
}

// Of a list in which few rows change, few parts are made anew, and the text is
// what it would be if all were.
func TestSegments(t *testing.T) {
	type row struct{ n, version int }
	var f fragments
	e := etags{maphash.MakeSeed()}
	written := 0
	list := func(name string, rows []*row, old body) (b body, fresh int) {
		t.Helper()
		b = f.whole(name, keyedRows{len(rows),
			func(i int) rowKey {
				if rows[i].n < 0 {
					return rowKey{} // changes with time alone
				}
				return rowKey{*rows[i], 1}
			},
			func(b []byte, i int) []byte {
				written++
				return fmt.Appendf(b, `[%d,%d]`, rows[i].n, rows[i].version)
			}}, e)
		var want []string
		for _, r := range rows {
			want = append(want, fmt.Sprintf(`[%d,%d]`, r.n, r.version))
		}
		if got := string(b.bytes()); got != strings.Join(want, ",") {
			t.Fatalf("%s", got)
		}
		for i := range b {
			if i >= len(old) || old[i] != b[i] {
				fresh++
			}
		}
		return b, fresh
	}
	var rows []*row
	for i := range 10*partRows + 1 {
		rows = append(rows, &row{n: i})
	}
	var last body
	for i, c := range []struct {
		name           string
		do             func()
		fresh, written int
	}{
		{"a", func() {}, 11, len(rows)},
		{"a", func() {}, 0, 0},
		{"a", func() { rows[partRows].version++ }, 1, 1},
		{"a", func() { rows[0].version++; rows[1].version++; rows[10*partRows].version++ }, 2, 3},
		{"b", func() {}, 11, 0}, // another list of the same rows
		{"a", func() { rows = rows[:10*partRows] }, 10, 0},
		{"a", func() {}, 0, 0},
		{"a", func() { rows[3].n = -1 }, 1, 1},
		{"a", func() {}, 0, 1}, // written, and found to be the same
		{"a", func() { rows[3].version++ }, 1, 1},
		{"a", func() { rows = nil }, 0, 0},
		{"", func() { rows = []*row{{n: 1 << 20}} }, 1, 1},
		{"", func() {}, 1, 0},
	} {
		c.do()
		written = 0
		var fresh int
		if last, fresh = list(c.name, rows, last); fresh != c.fresh || written != c.written {
			t.Errorf("%d: %d parts are new and %d rows were written, want %d and %d", i, fresh, written, c.fresh, c.written)
		}
	}
}

// Answers in parts and in one are the same to a client.
func TestWholeAndFiltered(t *testing.T) {
	r := newRig(t, manyWorkers(3*partRows+5))
	whole := r.get("workers").rows("workers")
	if len(whole) != 3*partRows+5 {
		t.Fatalf("%d workers", len(whole))
	}
	some := r.get("workers?order=workerid&limit=100&offset=50").rows("workers")
	one := r.get("workers/60").one("workers")
	delete(one, "workerinfo") // of one, all is shown
	for i, w := range some {
		want, _ := json.Marshal(whole[50+i])
		if got, _ := json.Marshal(w); !bytes.Equal(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	delete(whole[59], "workerinfo")
	want, _ := json.Marshal(whole[59])
	if got, _ := json.Marshal(one); !bytes.Equal(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}
