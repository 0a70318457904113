package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// vt is a terminal small enough to be obviously right: it obeys the escape
// sequences that a display may use and fails the test on any other. What
// scrolls off the top is kept, as terminals do.
type vt struct {
	t          *testing.T
	mu         sync.Mutex
	cols, rows int
	history    []string
	screen     [][]rune
	x, y       int
	nowrap     bool
	coloured   bool // some colour was used
	reset      bool // colours are off again
	writes     int
}

func newVT(t *testing.T, cols, rows int) *vt {
	return &vt{t: t, cols: cols, rows: rows, screen: make([][]rune, rows), reset: true}
}

func (v *vt) size() (int, int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cols, v.rows, nil
}

// written returns how often something was written.
func (v *vt) written() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.writes
}

// scrolled returns how many lines have left the screen.
func (v *vt) scrolled() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.history)
}

func (v *vt) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes++
	if !utf8.Valid(p) {
		v.t.Errorf("not UTF-8: %q", p)
	}
	s := string(p)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == escape:
			n = v.sequence(s)
		case r == '\r':
			v.x = 0
		case r == '\n':
			v.x = 0 // the line discipline adds the carriage return
			v.down()
		case r < ' ' || r == 0x7f:
			v.t.Errorf("control character %#x reached the terminal", r)
		default:
			v.put(r)
		}
		s = s[n:]
	}
	return len(p), nil
}

func (v *vt) sequence(s string) int {
	if len(s) < 3 || s[1] != '[' {
		v.t.Fatalf("unknown escape sequence at %.10q", s)
	}
	end := strings.IndexFunc(s[2:], func(r rune) bool { return r >= '@' && r <= '~' }) + 2
	args, final := s[2:end], s[end]
	switch {
	case final == 'A':
		n, err := strconv.Atoi(args)
		if err != nil || n < 1 {
			v.t.Fatalf("cursor up by %q", args)
		}
		v.y = max(0, v.y-n)
	case final == 'K' && args == "":
		v.screen[v.y] = v.screen[v.y][:min(v.x, len(v.screen[v.y]))]
	case final == 'J' && args == "":
		v.screen[v.y] = v.screen[v.y][:min(v.x, len(v.screen[v.y]))]
		for y := v.y + 1; y < v.rows; y++ {
			v.screen[y] = nil
		}
	case final == 'm':
		v.reset = args == "0"
		v.coloured = v.coloured || !v.reset
	case args == "?7" && (final == 'l' || final == 'h'):
		v.nowrap = final == 'l'
	default:
		v.t.Fatalf("unknown escape sequence %q", s[:end+1])
	}
	return end + 1
}

// covered is the cell right of a wide character.
const covered = -1

func (v *vt) put(r rune) {
	w := runeWidth(r)
	if v.x+w > v.cols {
		if v.nowrap {
			v.t.Errorf("a live line is too wide for %d columns at %q", v.cols, string(r))
			return
		}
		v.x = 0
		v.down()
	}
	row := v.screen[v.y]
	for len(row) < v.x {
		row = append(row, ' ')
	}
	cells := append(append([]rune{}, row[:v.x]...), r)
	if w == 2 {
		cells = append(cells, covered)
	}
	v.screen[v.y] = append(cells, row[min(len(cells), len(row)):]...)
	v.x += w
}

func (v *vt) down() {
	if v.y < v.rows-1 {
		v.y++
		return
	}
	v.history = append(v.history, cells(v.screen[0]))
	v.screen = append(v.screen[1:], nil)
}

// resize changes the size as terminals that wrap anew do it.
func (v *vt) resize(cols, rows int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	lines := v.screen[:v.y+1]
	v.cols, v.rows = cols, rows
	v.screen, v.y = make([][]rune, rows), 0
	for i, l := range lines {
		if i > 0 {
			v.down()
		}
		v.screen[v.y] = nil
		for len(l) > cols {
			v.screen[v.y] = l[:cols]
			v.down()
			l = l[cols:]
		}
		v.screen[v.y] = l
	}
}

func cells(row []rune) string {
	text := slices.DeleteFunc(slices.Clone(row), func(r rune) bool { return r == covered })
	return strings.TrimRight(string(text), " ")
}

// String returns everything a person can see, scrolling back.
func (v *vt) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	for _, l := range v.history {
		fmt.Fprintln(&b, l)
	}
	for _, l := range v.screen {
		fmt.Fprintln(&b, cells(l))
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
