package logs

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"

	"github.com/google/go-cmp/cmp"
)

func TestStyles(t *testing.T) {
	indexed := func(n Color) Color { return colorIndexed | n }
	for in, want := range map[string]Style{
		"":                                       {},
		"\x1b[31m":                               {Fg: indexed(1)},
		"\x1b[1;4;31;42m":                        {Fg: indexed(1), Bg: indexed(2), Attr: Bold | Underline},
		"\x1b[1m\x1b[2m\x1b[22m\x1b[3m":          {Attr: Italic},
		"\x1b[31m\x1b[m":                         {},
		"\x1b[31m\x1b[0;7m":                      {Attr: Inverse},
		"\x1b[97;107m":                           {Fg: indexed(15), Bg: indexed(15)},
		"\x1b[38;5;196;48;5;17m":                 {Fg: indexed(196), Bg: indexed(17)},
		"\x1b[38:5:196m":                         {Fg: indexed(196)},
		"\x1b[38;2;1;2;3;1m":                     {Fg: colorRGB | 0x010203, Attr: Bold},
		"\x1b[48:2::1:2:3m\x1b[38:2:9:9:9m":      {Fg: colorRGB | 0x090909, Bg: colorRGB | 0x010203},
		"\x1b[58;5;9;4m":                         {Attr: Underline},
		"\x1b[4:3m\x1b[9m":                       {Attr: Underline | Strike},
		"\x1b[4m\x1b[4:0m":                       {},
		"\x1b[38;5;256m\x1b[38;2;1;2m\x1b[38m":   {},
		"\x1b[38;2;1;2;300;31m":                  {Fg: indexed(1)},
		"\x1b[999999999999999999999;35m":         {Fg: indexed(5)},
		"\x1b[?31m\x1b[>4;2m":                    {},
		"\x1b[" + strings.Repeat("1;", 99) + "m": {},
		"\x1b[31\nm":                             {},
		"\x1b]0;title\x1b\\\x1b[31m":             {Fg: indexed(1)},
		"\x1b]8;;http://a\x07\x1b[32m":           {Fg: indexed(2)},
		"\x1b]never ended\x1b[31m\n\x1b[32m":     {Fg: indexed(2)},
		"\x1bP\x1b[33m":                          {Fg: indexed(3)},
		"\x1b(B\x1b[34m":                         {Fg: indexed(4)},
	} {
		var d Decoder
		d.Feed([]byte(in))
		if d.Style != want {
			t.Errorf("%q: %+v, want %+v", in, d.Style, want)
		}
	}
}

// drawn is a row as text: styled runs in brackets, controls in braces.
func drawn(r Row) string {
	var b strings.Builder
	for _, u := range r.Runs {
		switch {
		case u.Control:
			fmt.Fprintf(&b, "{%s}", u.Text)
		case u.Style != Style{}:
			fmt.Fprintf(&b, "[%x:%s]", uint32(u.Style.Fg)&0xff, u.Text)
		default:
			b.WriteString(u.Text)
		}
	}
	return b.String()
}

func TestDraw(t *testing.T) {
	for _, c := range []struct {
		in, want string
		redrawn  int
	}{
		{"", "", 0},
		{"plain\ttext", "plain\ttext", 0},
		{"é世\xff", `é世{\xff}`, 0},
		{"dos\r", "dos", 0},
		{"10%\r20%\r100%", "100%", 2},
		{"downloading\rdone", "doneloading", 1},
		{"downloading\r\x1b[Kdone", "done", 1},
		{"abc\x1b[2K\rd", "d", 1},
		{"abc\x1b[1K", "   ", 0},
		{"abc\b\bX", "aXc", 0},
		{"\b\bx", "x", 0},
		{"ab\x1b[4Cc\x1b[2Dd", "ab   dc", 0},
		{"\x1b[5Gx\x1b[1Gy", "y   x", 0},
		{"\x1b[99999Cx", strings.Repeat(" ", widest) + "x", 0},
		{"a\x1b[31mb\x1b[mc", "a[1:b]c", 0},
		{"\x1b[31mred\r\x1b[32mgr", "[2:gr][1:d]", 1},
		{"a\x00b\x07\x7f\u009b", "a{␀}b{␇␡" + `\u{9b}}`, 0},
		{"user\u202egpj.exe", `user{\u{202e}}gpj.exe`, 0},
		{"\x1b]0;evil\x07ok", "ok", 0},
		{"cut \x1b[3", "cut ", 0},
		{"\x1b[\x01x", "{␁}x", 0},
		{"12345678\r\tX", "12345678X", 1},
	} {
		var term Terminal
		r := term.Draw([]byte(c.in), Decoder{}, 10_000)
		if got := drawn(r); got != c.want || r.Redrawn != c.redrawn {
			t.Errorf("%q: %q and %d redrawn, want %q and %d", c.in, got, r.Redrawn, c.want, c.redrawn)
		}
	}
	var term Terminal
	if r := term.Draw([]byte("a\x1b[31mlong line"), Decoder{}, 3); drawn(r) != "a[1:lo]" || r.Cut != 7 {
		t.Errorf("cut: %q, %d", drawn(r), r.Cut)
	}
	if got := drawn(Written([]byte("10%\r\x1b[31m\u202e"), 100)); got != `10%{␍␛}[31m{\u{202e}}` {
		t.Errorf("as written: %q", got)
	}
	if got := fmt.Sprintf("%q", States([]byte("10%\r\r20%\r"))); got != `["10%" "20%"]` {
		t.Errorf("states: %s", got)
	}
}

// FuzzDecoder: output in pieces leaves a terminal as it does at once, and
// whatever a line holds, its row has no control characters.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("a\x1b[1;31mred\x1b[0m\r\x1b[Kx\b\u202e\xff"), uint16(7))
	f.Add([]byte("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x1b[38;2;1;2;3m"), uint16(3))
	f.Add([]byte("\x1b[38:2::1:2:3\nm\x1b(B\x1bP\x1b"), uint16(99))
	f.Add([]byte("\x1b["+strings.Repeat("4", 70)+"m\x1b[65536C"), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, cuts uint16) {
		if len(b) > 1<<12 {
			t.Skip("larger than needed")
		}
		var once, pieces Decoder
		once.Feed(b)
		rest := b
		for n := 1; len(rest) > 0; n = n*int(cuts|1)%61 + 1 {
			n = min(n, len(rest))
			pieces.Feed(rest[:n])
			rest = rest[n:]
		}
		if once != pieces {
			t.Fatalf("at once %+v, in pieces %+v", once, pieces)
		}
		var term Terminal
		var pen Decoder
		for line := range bytes.SplitSeq(b, []byte{'\n'}) {
			for _, r := range []Row{term.Draw(line, pen, 1000), Written(line, 1000)} {
				for _, c := range r.Plain() {
					if c != '\t' && unshowable(c) {
						t.Fatalf("%q is drawn with %q", line, c)
					}
				}
			}
			pen.Feed(line)
			pen.endLine()
		}
	})
}

// FuzzPens: what is read of a trailer's end encodes to itself.
func FuzzPens(f *testing.F) {
	var d Decoder
	d.Feed([]byte("\x1b[1;38;2;1;2;3m\x1b[4;"))
	f.Add(appendPens(nil, []point{{}, {pens: &[streams]Decoder{0: d}}, {}, {pens: &[streams]Decoder{2: d}}}))
	f.Add([]byte{1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		points := make([]point, 8)
		if !parsePens(b, points) {
			return
		}
		again := make([]point, 8)
		if !parsePens(appendPens(nil, points), again) || !cmp.Equal(points, again, cmp.AllowUnexported(point{}, Decoder{})) {
			t.Fatalf("%x is read as %+v, then as %+v", b, points, again)
		}
	})
}

// A line is drawn alike wherever reading begins, while the log is written, when
// it is compressed, and after a crash.
func TestPensInTheIndex(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(1, attempt, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Red begins far above and goes on; stderr has its own colour; a sequence is
	// cut by the edges of writes, and a line is open where points are made.
	write := func(st worker.Stream, text string) {
		t.Helper()
		if err := w.Write(st, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write(worker.Stdout, "\x1b[3")
	write(worker.Stderr, "\x1b[48;5;20mwarning\n")
	write(worker.Stdout, "1mred\n")
	filler := strings.Repeat("some line of output that fills the log\n", 3000)
	for i := range 12 {
		write(worker.Stdout, filler)
		write(worker.Stderr, "more\n")
		write(worker.Stdout, fmt.Sprintf("open \x1b[3%d", i%8))
		write(worker.Stderr, strings.Repeat("x", 300_000))
		write(worker.Stdout, "mend\n")
	}
	check := func(when string) {
		t.Helper()
		r, err := s.Reader(1, "")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var all []Decoder
		for l, err := range r.Scan(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, l.Pen)
		}
		styled := 0
		for from := 0; from < len(all); from += 997 {
			for l, err := range r.Scan(t.Context(), int64(from)) {
				if err != nil {
					t.Fatal(err)
				}
				if l.Pen.Style != all[from].Style || l.Pen.mode != all[from].mode {
					t.Fatalf("%s: line %d begins as %+v, read from the beginning as %+v", when, from, l.Pen, all[from])
				}
				if l.Pen.Style != (Style{}) {
					styled++
				}
				break
			}
		}
		if styled < 10 {
			t.Errorf("%s: only %d lines have a style", when, styled)
		}
	}
	check("while it is written")
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	check("when it is finished")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil { // compresses what is left
		t.Fatal(err)
	}
	defer s.Close()
	s.jobs.Lock()
	busy := s.working
	s.jobs.Unlock()
	for deadline := time.Now().Add(time.Minute); busy && time.Now().Before(deadline); {
		s.jobs.Lock()
		busy = s.working
		s.jobs.Unlock()
	}
	check("when it is compressed")
}

func TestWatch(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.Create(1, attempt, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Reader(1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := range int64(3) {
		info, news, err := r.Watch()
		if err != nil || info.Lines != n || news == nil {
			t.Fatalf("%d lines, %v, %v", info.Lines, news, err)
		}
		if err := w.Write(worker.Stdout, []byte("x\n")); err != nil {
			t.Fatal(err)
		}
		<-news
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if info, news, err := r.Watch(); err != nil || !info.Finished || news != nil {
		t.Errorf("at the end: %+v, %v, %v", info, news, err)
	}
}
