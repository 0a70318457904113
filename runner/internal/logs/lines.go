package logs

import (
	"bytes"
	"time"

	"bothy/runner/worker"
)

// How a log becomes lines. Each stream is cut at its own newlines, so stderr in
// the middle of a stdout line does not tear it; lines are numbered from 0 in the
// order in which they end. At the end of a log what is left of each stream is a
// line too.
const (
	// MaxLine is the longest line in bytes, without its newline. Longer ones are
	// split there, see [Line.Split].
	MaxLine = 64 << 10
	// maxSpread bounds how many bytes of log may lie between the beginning of a
	// line and a later part of it (other streams come between); beyond it the
	// line is split. It bounds how far back a reader must look.
	maxSpread = 1 << 20
)

const streams = 3

var streamNames = [streams]worker.Stream{worker.Stdout, worker.Stderr, worker.Header}

// streamIndex returns 0, 1 or 2, or -1 for what is no stream.
func streamIndex(s worker.Stream) int {
	switch s {
	case worker.Stdout:
		return 0
	case worker.Stderr:
		return 1
	case worker.Header:
		return 2
	}
	return -1
}

// openLine is the part of a line that came without its newline yet.
type openLine struct {
	n      int   // bytes; 0: no line is open
	start  int64 // raw position of its first byte
	off    int64 // file offset of the record with its first byte
	offRaw int64 // raw position of that record
	pen    Decoder
}

// splitter counts the lines of a log as it is written.
type splitter struct {
	raw   int64 // payload bytes so far
	lines int64 // complete lines so far
	open  [streams]openLine
	pens  [streams]Decoder // after these bytes
}

// all is the number of lines with the open ones.
func (s *splitter) all() int64 {
	n := s.lines
	for i := range s.open {
		if s.open[i].n > 0 {
			n++
		}
	}
	return n
}

// begin must be called before the payload of every record.
func (s *splitter) begin() {
	for i := range s.open {
		if o := &s.open[i]; o.n > 0 && s.raw-o.start > maxSpread {
			o.n = 0
			s.lines++
		}
	}
}

// add counts the payload of a record at file offset off.
func (s *splitter) add(i int, p []byte, off int64) {
	s.begin()
	at := s.raw
	o := &s.open[i]
	pen := &s.pens[i]
	drawn := pen.mode != inText || bytes.IndexByte(p, esc) >= 0
	draw := func(p []byte) {
		if drawn {
			pen.Feed(p)
		}
	}
	for len(p) > 0 {
		room := MaxLine + 1 - o.n
		win := p[:min(len(p), room)]
		switch {
		case bytes.IndexByte(win, '\n') >= 0:
			n := bytes.LastIndexByte(win, '\n') + 1
			s.lines += int64(bytes.Count(win[:n], []byte{'\n'}))
			draw(win[:n])
			o.n = 0
			s.raw += int64(n)
			p = p[n:]
		case len(win) == room:
			s.lines++
			draw(p[:room-1])
			o.n = 0
			s.raw += int64(room - 1)
			p = p[room-1:]
		default:
			if o.n == 0 {
				o.start, o.off, o.offRaw, o.pen = s.raw, off, at, *pen
			}
			draw(win)
			o.n += len(win)
			s.raw += int64(len(win))
			p = nil
		}
	}
}

// A Line is one line of a log.
type Line struct {
	No     int64         // from 0
	Stream worker.Stream // where it was written
	Time   time.Time     // when its first byte was written
	Text   []byte        // without the newline; else as written, see [LastVisible]
	// Partial says that the log is still written and the line may grow. Its
	// number is provisional: another stream's line may end first.
	Partial bool
	// Split says that the line was ended by a limit, see [MaxLine], not a newline.
	Split bool
	// Pen is what a terminal has kept of the stream up to the line, for
	// [Terminal.Draw].
	Pen Decoder
}

// scanner turns records into lines; it follows the same rules as splitter.
type scanner struct {
	raw, line int64
	from      [streams]int64 // bytes of a stream before this position are skipped
	open      [streams]openText
	pens      [streams]Decoder // at the beginning of each stream's next line
}

type openText struct {
	text  []byte
	start int64
	time  int64
}

func (c *scanner) begin(emit func(Line) bool) bool {
	for i := range c.open {
		if o := &c.open[i]; len(o.text) > 0 && c.raw-o.start > maxSpread {
			if !c.emit(i, nil, true, emit) {
				return false
			}
		}
	}
	return true
}

// emit ends the open line of stream i with text; the line is only valid during the call.
func (c *scanner) emit(i int, text []byte, split bool, emit func(Line) bool) bool {
	o := &c.open[i]
	if len(o.text) > 0 {
		o.text = append(o.text, text...)
		text = o.text
	}
	pen := &c.pens[i]
	l := Line{No: c.line, Stream: streamNames[i], Time: time.Unix(0, o.time), Text: text, Split: split, Pen: *pen}
	if pen.Feed(text); !split {
		pen.endLine()
	}
	c.line++
	ok := emit(l)
	o.text = o.text[:0]
	return ok
}

// feed takes a record; emit gets the lines it completes and returns false to
// stop, after which the scanner can not be used again.
func (c *scanner) feed(r *record, emit func(Line) bool) bool {
	if !c.begin(emit) {
		return false
	}
	i := streamIndex(worker.Stream(r.kind))
	if i < 0 {
		return true
	}
	p := r.payload
	if skip := min(c.from[i]-c.raw, int64(len(p))); skip > 0 {
		c.raw += skip
		p = p[skip:]
	}
	o := &c.open[i]
	for len(p) > 0 {
		if len(o.text) == 0 {
			o.start, o.time = c.raw, r.time
		}
		room := MaxLine + 1 - len(o.text)
		win := p[:min(len(p), room)]
		n, ok := len(win), true
		if j := bytes.IndexByte(win, '\n'); j >= 0 {
			n = j + 1
			ok = c.emit(i, win[:j], false, emit)
		} else if len(win) == room {
			n = room - 1
			ok = c.emit(i, win[:n], true, emit)
		} else {
			o.text = append(o.text, win...)
		}
		c.raw += int64(n)
		p = p[n:]
		if !ok {
			return false
		}
	}
	return true
}

// rest calls emit with the open lines, oldest first.
func (c *scanner) rest(partial bool, emit func(Line) bool) {
	no := c.line
	var done [streams]bool
	for range c.open {
		best := -1
		for i := range c.open {
			if !done[i] && len(c.open[i].text) > 0 && (best < 0 || c.open[i].start < c.open[best].start) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		o := &c.open[best]
		if !emit(Line{No: no, Stream: streamNames[best], Time: time.Unix(0, o.time), Text: o.text, Partial: partial, Pen: c.pens[best]}) {
			return
		}
		done[best] = true
		no++
	}
}
