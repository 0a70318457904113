package agent

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// splitAll feeds pieces to a splitter and returns the lines.
func splitAll(s *splitter, pieces ...string) *lines {
	out := &lines{}
	for _, p := range pieces {
		s.feed([]byte(p), time.Unix(1, 0), out)
	}
	s.flush(time.Unix(1, 0), true, out)
	return out
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"lines", []string{"a\nb\n"}, "a\nb\n"},
		{"last without end", []string{"a\nb"}, "a\nb\n"},
		{"pieces", []string{"a", "b\nc", "\n"}, "ab\nc\n"},
		{"nothing", nil, ""},
		{"empty lines", []string{"\n\n"}, "\n\n"},
		{"CRLF", []string{"a\r\nb\r\n"}, "a\nb\n"},
		{"CRLF cut", []string{"a\r", "\nb\r", "\n"}, "a\nb\n"},
		{"CR", []string{"10%\r20%\rdone\n"}, "10%\n20%\ndone\n"},
		{"CR at the end", []string{"a\r"}, "a\n"},
		{"CR CR LF", []string{"a\r\r\nb"}, "a\n\nb\n"},
		{"backspaces", []string{"-\b\b", "\b\\\b|\n"}, "-\n\\\n|\n"},
		{"home", []string{"a\x1b[1;2Hb\x1b[10;20fc\x1b[ud\x1b[2Je\n"}, "a\nb\nc\nd\ne\n"},
		{"home cut", []string{"a\x1b", "[", "1", ";", "2", "Hb\n"}, "a\nb\n"},
		{"colour stays", []string{"\x1b[1;31mred\x1b[0m\n"}, "\x1b[1;31mred\x1b[0m\n"},
		{"escape at the end", []string{"a\x1b[1"}, "a\x1b[1\n"},
		{"two escapes", []string{"\x1b\x1b[2Jx\n"}, "\x1b\nx\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := splitAll(&splitter{cursor: true}, c.pieces...); string(got.text) != c.want {
				t.Errorf("%q, want %q", got.text, c.want)
			}
		})
	}
	if got := splitAll(&splitter{}, "a\rb\x1b[2J\b\n"); string(got.text) != "a\rb\x1b[2J\b\n" {
		t.Errorf("without control sequences: %q", got.text)
	}
}

func TestSplitLongLines(t *testing.T) {
	s := &splitter{maxChars: 5}
	got := splitAll(s, "äbcdefghij", "k\nxy\n")
	if string(got.text) != "äbcd\nefgh\nijk\nxy\n" {
		t.Errorf("%q", got.text)
	}
	whole := strings.Repeat("x", maxLineBytes+10)
	got = splitAll(&splitter{}, whole, "\n")
	if n := len(bytes.ReplaceAll(got.text, []byte("\n"), nil)); n != len(whole) || len(got.ends) != 2 {
		t.Errorf("%d bytes in %d lines, want %d in 2", n, len(got.ends), len(whole))
	}
}

// endOfLine is what masters ask for, without the lookahead that Go has not: it only
// matters while more may come.
var endOfLine = regexp.MustCompile("\r\n|\r|\x1b\\[u|\x1b\\[[0-9]+;[0-9]+[Hf]|\x1b\\[2J|\b+")

func FuzzSplit(f *testing.F) {
	f.Add("a\r\nb\rc\x1b[1;2Hd\b\be\nf", 3, 0)
	f.Add("\x1b[2J\x1b[u\r", 1, 4)
	f.Add("äöü\n\n", 2, 2)
	f.Add("\x1b[1;", 1, 0)
	f.Fuzz(func(t *testing.T, text string, size, max int) {
		if !utf8.ValidString(text) || size < 1 || max < 0 || len(text) > 4096 {
			t.Skip()
		}
		var pieces []string
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			for n < len(rest) && !utf8.RuneStart(rest[n]) {
				n++
			}
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		got := splitAll(&splitter{cursor: true, maxChars: max}, pieces...)
		checkLines(t, got)
		if long := regexp.MustCompile("\x1b\\[[0-9;]{29}"); max == 0 && !long.MatchString(text) {
			want := endOfLine.ReplaceAllString(text, "\n")
			if want != "" && !strings.HasSuffix(want, "\n") {
				want += "\n"
			}
			if string(got.text) != want {
				t.Errorf("%q: %q, want %q", text, got.text, want)
			}
		}
		if max > 1 {
			for line := range strings.Lines(string(got.text)) {
				if utf8.RuneCountInString(line) > max {
					t.Errorf("a line of %d characters, want at most %d", utf8.RuneCountInString(line), max)
				}
			}
		}
		unsplit := splitAll(&splitter{cursor: true}, text)
		if max != 1 && !bytes.Equal(bytes.ReplaceAll(got.text, []byte("\n"), nil), bytes.ReplaceAll(unsplit.text, []byte("\n"), nil)) {
			t.Errorf("cutting lines or pieces loses text: %q, want %q", got.text, unsplit.text)
		}
	})
}

// checkLines checks that ends and times fit the text.
func checkLines(t *testing.T, l *lines) {
	t.Helper()
	runes := []rune(string(l.text))
	if len(l.ends) != len(l.times) || len(l.ends) != bytes.Count(l.text, []byte("\n")) || l.chars != len(runes) {
		t.Fatalf("%q: %d ends, %d times, %d characters", l.text, len(l.ends), len(l.times), l.chars)
	}
	for _, at := range l.ends {
		if runes[at] != '\n' {
			t.Fatalf("%q: no end of line at %d", l.text, at)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("a\xffb\xc3\xa4"), 1)
	f.Add([]byte("\xe2\x82"), 2)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		if size < 1 {
			t.Skip()
		}
		var d decoder
		var got []byte
		for rest := p; len(rest) > 0; {
			n := min(size, len(rest))
			got = append(got, d.feed(bytes.Clone(rest[:n]))...)
			rest = rest[n:]
		}
		got = append(got, d.end()...)
		if want := []byte(string([]rune(string(p)))); !bytes.Equal(got, want) {
			t.Errorf("%q: %q, want %q", p, got, want)
		}
	})
}
