package cli

import (
	"bytes"
	"slices"
	"strings"
)

// lineAssembler cuts a stream that comes in chunks into lines. A carriage return
// takes back what the line had so far, as on a terminal.
type lineAssembler struct {
	part []byte
	cr   bool // part ends at a carriage return: the next byte decides
}

// longestLine is where a line without end is broken, in bytes.
const longestLine = 64 << 10

// write calls emit for every line that p completes, without its end. emit must
// not keep its argument.
func (a *lineAssembler) write(p []byte, emit func([]byte)) {
	for len(p) > 0 {
		if a.cr {
			a.cr = false
			if p[0] != '\n' && p[0] != '\r' {
				a.part = a.part[:0]
			}
		}
		i := bytes.IndexAny(p, "\r\n")
		end := i
		if i < 0 {
			end = len(p)
		}
		if room := longestLine - len(a.part); end > room {
			a.part = append(a.part, p[:room]...)
			emit(a.part)
			a.part = a.part[:0]
			p = p[room:]
			continue
		}
		switch {
		case i < 0:
			a.part = append(a.part, p...)
			return
		case p[i] == '\r':
			a.part = append(a.part, p[:i]...)
			a.cr = true
		case len(a.part) == 0:
			emit(p[:i])
		default:
			a.part = append(a.part, p[:i]...)
			emit(a.part)
			a.part = a.part[:0]
		}
		p = p[i+1:]
	}
}

// flush emits a last line that has no end.
func (a *lineAssembler) flush(emit func([]byte)) {
	if len(a.part) > 0 {
		emit(a.part)
	}
	a.part, a.cr = nil, false
}

// outputTail keeps the end of a step's output, cheaply: lines are only looked
// for when somebody wants to see them.
type outputTail struct {
	buf    []byte
	stream string
	torn   bool // buf does not begin at the start of a line
}

// tailKept is how much of a step's output an outputTail keeps at least, in bytes.
const tailKept = 16 << 10

func (t *outputTail) write(stream string, p []byte) {
	if len(p) == 0 {
		return
	}
	if n := len(t.buf); n > 0 && t.stream != stream && t.buf[n-1] != '\n' {
		t.buf = append(t.buf, '\n') // the other stream was in the middle of a line
	}
	t.stream = stream
	if len(p) > tailKept {
		t.buf, p, t.torn = t.buf[:0], p[len(p)-tailKept:], true
	}
	if len(t.buf)+len(p) > 2*tailKept {
		keep := tailKept - len(p)
		n := copy(t.buf, t.buf[len(t.buf)-keep:])
		t.buf, t.torn = t.buf[:n], true
	}
	t.buf = append(t.buf, p...)
}

// lastLine returns the last line with something to see, which may still grow.
func (t *outputTail) lastLine() string {
	rest := t.buf
	for len(rest) > 0 {
		i := bytes.LastIndexAny(rest, "\r\n")
		if s := strings.TrimSpace(visible(rest[i+1:])); s != "" {
			return untab(s)
		}
		if i < 0 {
			break
		}
		rest = rest[:i]
	}
	return ""
}

// lines returns the last n lines, as far as they were kept, without blank ones
// at the end.
func (t *outputTail) lines(n int) []string {
	rest := bytes.TrimRight(t.buf, "\r\n\t ")
	var lines []string
	for len(rest) > 0 && len(lines) < n {
		i := bytes.LastIndexByte(rest, '\n')
		if i < 0 && t.torn && len(lines) > 0 {
			break // only the end of this line is left
		}
		lines = append(lines, strings.TrimRight(untab(visible(rest[i+1:])), " "))
		rest = rest[:max(i, 0)]
	}
	slices.Reverse(lines)
	return lines
}
