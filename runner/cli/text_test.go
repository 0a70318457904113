package cli

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                 "plain",
		"10%\r20%\r":                            "20%",
		"a\r":                                   "a",
		"\x1b[1;31mred\x1b[0m":                  "red",
		"\x1b]0;title\arest":                    "rest",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;\a!": "link!",
		"\x1b(Bcharset":                         "charset",
		"cut \x1b[12":                           "cut ",
		"cut \x1b":                              "cut ",
		"\x1bPstring\x1b\\x":                    "x",
		"broken \x1b[1\x02x":                    "broken x",
		"bell\a back\b null\x00":                "bell back null",
		"tab\tstays":                            "tab\tstays",
		"C1 \u009b31m":                          "C1 31m",
		"turned \u202e round":                   "turned  round",
		"bad \xff\xfe bytes":                    "bad \ufffd\ufffd bytes",
		"日本語 é":                                 "日本語 é",
	} {
		if got := visible([]byte(in)); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	f.Add([]byte("\x1b[1mx\r\x1b]0;\x1b\\\xff"))
	f.Add([]byte("\x1b[?\x1b[\x1b"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := visible(in)
		if !utf8.ValidString(got) {
			t.Errorf("visible(%q) = %q: not UTF-8", in, got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("visible(%q) = %q: cannot be printed at %d", in, got, i)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 10, "short"}, {"exact", 5, "exact"}, {"longer", 5, "long…"}, {"x", 0, ""}, {"xy", 1, "…"},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"日本語", 1, "…"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		if got := cut(c.in, c.width); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestLineIsCutAcrossSpans(t *testing.T) {
	l := line{{styleRed, "failure"}, {styleNone, "  a"}, {styleBold, "bc"}}
	for width, want := range map[int]string{
		0: "failure  abc", 12: "failure  abc", 11: "failure  a…", 10: "failure  …", 8: "failure…", 7: "failur…", 1: "…",
	} {
		if got := string(l.append(nil, width, false)); got != want {
			t.Errorf("cut to %d columns: %q, want %q", width, got, want)
		}
	}
	want := "\x1b[1;31mfailure\x1b[0m  a\x1b[1mbc\x1b[0m"
	if got := string(l.append(nil, 80, true)); got != want {
		t.Errorf("coloured: %q, want %q", got, want)
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                        "0ms",
		0:                                   "0ms",
		12345 * time.Microsecond:            "12ms",
		100 * time.Millisecond:              "0.1s",
		9940 * time.Millisecond:             "9.9s",
		9950 * time.Millisecond:             "10s",
		59600 * time.Millisecond:            "1m00s",
		125 * time.Second:                   "2m05s",
		time.Hour - 400*time.Millisecond:    "1h00m",
		62*time.Minute + 3*time.Second:      "1h02m",
		123*time.Hour + 59*time.Minute + 59: "123h59m",
	} {
		if got := took(d); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestByteText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 8 << 30: "8.0 GiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := byteText(n); got != want {
			t.Errorf("byteText(%d) = %q, want %q", n, got, want)
		}
	}
}

// However a stream is cut into chunks, its lines are the same.
func TestLineAssemblerChunks(t *testing.T) {
	const in = "one\ntwo\r\n10%\r20%\r\n\nwaiting\r\r\nhalf"
	want := []string{"one", "two", "20%", "", "waiting", "half"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var a lineAssembler
		var got []string
		emit := func(l []byte) { got = append(got, string(l)) }
		for rest := in; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 9))
			a.write([]byte(rest[:n]), emit)
			rest = rest[n:]
		}
		a.flush(emit)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// A line without end is broken up; nothing is lost and little is held.
func TestLineAssemblerLongLine(t *testing.T) {
	var a lineAssembler
	total, most := 0, 0
	emit := func(l []byte) { total += len(l); most = max(most, len(l)) }
	chunk := []byte(strings.Repeat("x", 50_000))
	for range 200 {
		a.write(chunk, emit)
		if cap(a.part) > 4*longestLine {
			t.Fatalf("%d bytes are held back", cap(a.part))
		}
	}
	a.flush(emit)
	if total != 200*len(chunk) || most != longestLine {
		t.Errorf("got %d bytes in lines of at most %d, want %d in lines of at most %d", total, most, 200*len(chunk), longestLine)
	}
}

func TestOutputTail(t *testing.T) {
	var tail outputTail
	if got := tail.lines(3); got != nil {
		t.Errorf("lines of nothing: %q", got)
	}
	tail.write("o", []byte("first\nhalf"))
	tail.write("e", []byte("error\n"))
	tail.write("o", []byte(" line\n\n50%\r100%"))
	if got, want := tail.lastLine(), "100%"; got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
	want := []string{"half", "error", " line", "", "100%"}
	if diff := cmp.Diff(want, tail.lines(5)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	tail.write("o", []byte("\n\x1b[0m \n\n"))
	if got, want := tail.lastLine(), "100%"; got != want {
		t.Errorf("last line %q, want %q", got, want)
	}
	for i := range 100_000 {
		tail.write("o", []byte(strings.Repeat("y", i%50)+"\n"))
	}
	tail.write("o", []byte("end"))
	if n := len(tail.buf); n > 2*tailKept {
		t.Errorf("%d bytes kept, want at most %d", n, 2*tailKept)
	}
	got := tail.lines(20)
	if len(got) != 20 || got[19] != "end" || got[18] != strings.Repeat("y", 49) {
		t.Errorf("last of 100,000 lines: %q", got)
	}
	tail.write("o", []byte(strings.Repeat("z", 100_000)+"\nafter"))
	if diff := cmp.Diff([]string{"after"}, tail.lines(20)); diff != "" {
		t.Errorf("after a long line (-want +got):\n%s", diff)
	}
}

func TestOneLine(t *testing.T) {
	if got, want := oneLine("a\r\nb\t\x1b[1mc\n"), "a; b       c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
