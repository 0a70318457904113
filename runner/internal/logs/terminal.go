package logs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Run is text of one style.
type Run struct {
	Text  string
	Style Style
	// Control says that the text stands for something that cannot be shown: a
	// control character, a byte that is no UTF-8, a character that reorders others.
	Control bool
}

// A Row is what a terminal shows of one line in the end.
type Row struct {
	Runs []Run
	// Redrawn is how often the line was begun anew by a carriage return, as
	// progress bars do. What it showed before is in the line's text.
	Redrawn int
	Cut     int // characters that are not in Runs, being more than were wanted
}

// Plain is the row without styles.
func (r *Row) Plain() string {
	if len(r.Runs) == 1 {
		return r.Runs[0].Text
	}
	var b strings.Builder
	for _, u := range r.Runs {
		b.WriteString(u.Text)
	}
	return b.String()
}

// A Terminal draws lines. The zero value is ready for use; it keeps its memory,
// at most some 1.5 MiB, for the next line.
type Terminal struct {
	cells []cell
}

type cell struct {
	r       rune
	style   Style
	control bool
}

// maxCells bounds a row: a line has no more bytes, but may move the cursor.
const maxCells = MaxLine

// widest is how far to the right the cursor may be moved where there is no text:
// real terminals end there.
const widest = 512

// Draw returns at most most characters of what a terminal shows of a line: the
// text that is left when carriage returns, backspaces and cursor movements have
// done their work. pen is the line's (see [Line.Pen]) and not changed.
func (t *Terminal) Draw(text []byte, pen Decoder, most int) Row {
	for len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	if pen.mode == inText && plainASCII(text) {
		if len(text) == 0 {
			return Row{}
		}
		n := min(len(text), most)
		return Row{Runs: []Run{{Text: string(text[:n]), Style: pen.Style}}, Cut: len(text) - n}
	}
	t.cells = t.cells[:0]
	row := Row{}
	at := 0
	for len(text) > 0 {
		if took, final := pen.step(text[0]); took {
			text = text[1:]
			if final != 0 {
				at = t.move(final, pen.args[:pen.n], at)
			}
			continue
		}
		r, n := utf8.DecodeRune(text)
		c := cell{r: r, style: pen.Style}
		if r == utf8.RuneError && n == 1 {
			c.r, c.control = rune(text[0]), true
		}
		text = text[n:]
		switch {
		case c.control:
			c.r += rawByte
			at = t.put(at, c)
		case r == '\r':
			row.Redrawn++
			at = 0
		case r == '\b':
			at = max(at-1, 0)
		case r == '\t' && at < len(t.cells):
			at = min(at&^7+8, maxCells)
		default:
			c.control = r != '\t' && unshowable(r)
			at = t.put(at, c)
		}
	}
	cells := t.cells
	if len(cells) > most {
		row.Cut = len(cells) - most
		cells = cells[:most]
	}
	row.Runs = runs(cells)
	return row
}

// rawByte marks a byte that is no UTF-8, above all runes.
const rawByte = unicode.MaxRune + 1

func plainASCII(b []byte) bool {
	for _, c := range b {
		if (c < 0x20 && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}

// unshowable says whether a character has no form of its own, or changes the
// order or the place of others (Unicode, UTR 36: bidirectional overrides).
func unshowable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0,
		r == 0x061c, r == 0x200b, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e,
		r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// put writes a cell at a column and returns the next one.
func (t *Terminal) put(at int, c cell) int {
	if at >= maxCells {
		return at
	}
	for len(t.cells) <= at {
		t.cells = append(t.cells, cell{r: ' '})
	}
	t.cells[at] = c
	return at + 1
}

// move obeys what a control sequence says about the line it is in; what moves to
// other lines has no meaning in a log.
func (t *Terminal) move(final byte, args []byte, at int) int {
	for _, c := range args {
		if c < '0' || c > '9' {
			return at // several parameters, or private ones
		}
	}
	n := number(args)
	edge := max(len(t.cells), widest)
	switch final {
	case 'C':
		return min(at+max(n, 1), edge)
	case 'D':
		return max(at-max(n, 1), 0)
	case 'G', '`':
		return min(max(n, 1)-1, edge)
	case 'K':
		switch n {
		case 0:
			t.cells = t.cells[:min(at, len(t.cells))]
		case 1:
			for i := range t.cells[:min(at+1, len(t.cells))] {
				t.cells[i] = cell{r: ' '}
			}
		case 2:
			t.cells = t.cells[:0]
		}
	}
	return at
}

// runs joins cells of one kind.
func runs(cells []cell) []Run {
	var all []Run
	var b strings.Builder
	for i, c := range cells {
		if i > 0 && (c.style != cells[i-1].style || c.control != cells[i-1].control) {
			all = append(all, Run{b.String(), cells[i-1].style, cells[i-1].control})
			b.Reset()
		}
		if c.control {
			b.WriteString(controlText(c.r))
		} else {
			b.WriteRune(c.r)
		}
	}
	if n := len(cells); n > 0 {
		all = append(all, Run{b.String(), cells[n-1].style, cells[n-1].control})
	}
	return all
}

// controlText writes what cannot be shown: control pictures where Unicode has
// them, else an escape.
func controlText(r rune) string {
	switch {
	case r >= rawByte:
		return fmt.Sprintf(`\x%02x`, r-rawByte)
	case r < 0x20:
		return string(0x2400 + r)
	case r == 0x7f:
		return "\u2421"
	}
	return fmt.Sprintf(`\u{%x}`, r)
}

// States returns the states that carriage returns begin in a line, first to last,
// each as it was written.
func States(text []byte) [][]byte {
	var all [][]byte
	for begin := 0; begin <= len(text); {
		end := begin
		for end < len(text) && text[end] != '\r' {
			end++
		}
		if end > begin {
			all = append(all, text[begin:end])
		}
		begin = end + 1
	}
	return all
}

// Written is a line as it was written: carriage returns, escape sequences and
// all other controls are visible, nothing is obeyed. At most most characters are
// returned.
func Written(text []byte, most int) Row {
	var cells []cell
	row := Row{}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		c := cell{r: r, control: unshowable(r)}
		if r == utf8.RuneError && n == 1 {
			c = cell{r: rune(text[0]) + rawByte, control: true}
		}
		text = text[n:]
		if len(cells) < most {
			cells = append(cells, c)
		} else {
			row.Cut++
		}
	}
	row.Runs = runs(cells)
	return row
}
