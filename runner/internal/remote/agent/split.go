package agent

import (
	"bytes"
	"time"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire/msgpack"
)

// cursorLines is the regular expression by which Buildbot's masters say what ends a
// line besides "\n": carriage returns, but not at the end of what there is so far,
// movements of the cursor to a place, clearing the screen, and going back.
const cursorLines = `(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)`

const (
	// maxLineBytes bounds a line, whatever a master allows: it is held in memory
	// until it ends.
	maxLineBytes = 4 << 20
	// maxEscape is as long as control sequences may be.
	maxEscape = 32
)

// splitter cuts the text of one stream into lines, which end in "\n" whatever
// ended them. Lines that are too long are cut, and nothing is lost.
type splitter struct {
	cursor   bool // control sequences end lines too
	maxChars int  // of a line with its end; 0: no limit but maxLineBytes

	line   []byte // begun, not ended
	chars  int    // in line
	since  time.Time
	held   []byte // may be the beginning of a control sequence
	erased bool   // the last was a backspace: those that follow belong to it
}

// feed adds text to the stream and the lines it completes to out.
func (s *splitter) feed(p []byte, now time.Time, out *lines) {
	if len(s.held) > 0 {
		p = append(s.held, p...)
		s.held = nil
	}
	for len(p) > 0 {
		n := s.plain(p)
		if n > 0 {
			s.add(p[:n], now, out)
			p = p[n:]
			continue
		}
		var ends, whole bool
		n, ends, whole = s.control(p)
		switch {
		case !whole:
			s.held = bytes.Clone(p)
			return
		case ends:
			s.end(now, out)
		case n > 0 && p[0] != '\b':
			s.add(p[:n], now, out)
		}
		s.erased = p[0] == '\b'
		p = p[n:]
	}
}

// plain returns how much of p is neither an end of line nor may begin one.
func (s *splitter) plain(p []byte) int {
	stop := bytes.IndexByte(p, '\n')
	if stop < 0 {
		stop = len(p)
	}
	if s.cursor {
		if i := bytes.IndexAny(p[:stop], "\r\b\033"); i >= 0 {
			stop = i
		}
	}
	if stop > 0 {
		s.erased = false
	}
	return stop
}

// control looks at the control sequence that p begins with: how long it is,
// whether it ends a line, and whether it is all there.
func (s *splitter) control(p []byte) (n int, ends, whole bool) {
	switch p[0] {
	case '\n':
		return 1, true, true
	case '\b':
		return 1, !s.erased, true
	case '\r':
		if len(p) == 1 {
			return 0, false, false
		}
		if p[1] == '\n' {
			return 2, true, true
		}
		return 1, true, true
	}
	return escape(p)
}

// escape looks at a sequence that begins with ESC: "[u", "[2J", "[1;2H", "[1;2f".
// If it is none of them only the ESC is meant.
func escape(p []byte) (n int, ends, whole bool) {
	if len(p) == 1 {
		return 1, false, false
	}
	if p[1] != '[' {
		return 1, false, true
	}
	i, numbers := 2, 0
	for ; i < len(p) && i < maxEscape; i++ {
		switch c := p[i]; {
		case c >= '0' && c <= '9':
			continue
		case c == 'u' && i == 2:
			return i + 1, true, true
		case c == 'J' && i == 3 && p[2] == '2':
			return i + 1, true, true
		case c == ';' && numbers == 0 && i > 2:
			numbers = i
			continue
		case (c == 'H' || c == 'f') && numbers > 0 && i > numbers+1:
			return i + 1, true, true
		}
		return 1, false, true
	}
	return 1, false, i == maxEscape
}

// add adds text without an end of line.
func (s *splitter) add(p []byte, now time.Time, out *lines) {
	for len(p) > 0 {
		n := s.room(p)
		if n == 0 {
			s.end(now, out)
			continue
		}
		if len(s.line) == 0 {
			s.since = now
		}
		s.line = append(s.line, p[:n]...)
		s.chars += utf8.RuneCount(p[:n])
		p = p[n:]
	}
}

// room returns how much of p the line may still take.
func (s *splitter) room(p []byte) int {
	n := min(len(p), maxLineBytes-1-len(s.line))
	for n > 0 && n < len(p) && !utf8.RuneStart(p[n]) {
		n--
	}
	if s.maxChars <= 0 || s.chars+n < s.maxChars {
		return n
	}
	left := max(s.maxChars, 2) - 1 - s.chars // one for the end
	at := 0
	for ; left > 0 && at < n; left-- {
		_, size := utf8.DecodeRune(p[at:])
		at += size
	}
	return min(at, n)
}

// end ends the line.
func (s *splitter) end(now time.Time, out *lines) {
	if len(s.line) == 0 {
		s.since = now
	}
	out.add(s.line, s.chars, s.since)
	s.line, s.chars = s.line[:0], 0
	if cap(s.line) > 64<<10 {
		s.line = nil
	}
}

// flush adds what the stream ended with to out, as a line if whole lines are
// wanted.
func (s *splitter) flush(now time.Time, whole bool, out *lines) {
	held := s.held
	s.held = nil
	if string(held) == "\r" {
		s.end(now, out)
		return
	}
	s.add(held, now, out)
	switch {
	case len(s.line) == 0:
	case whole:
		s.end(now, out)
	default:
		out.text = append(out.text, s.line...)
		s.line, s.chars = nil, 0
	}
}

// lines are whole lines on their way.
type lines struct {
	text  []byte
	chars int // in text
	ends  []int
	times []float64
}

func (l *lines) add(line []byte, chars int, t time.Time) {
	l.text = append(append(l.text, line...), '\n')
	l.ends = append(l.ends, l.chars+chars)
	l.chars += chars + 1
	l.times = append(l.times, float64(t.UnixMicro())/1e6)
}

func (l *lines) wire() msgpack.Lines {
	return msgpack.Lines{Text: l.text, Ends: l.ends, Times: l.times}
}
