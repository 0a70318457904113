package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// columns is a table for people: each column as wide as its widest cell. On a
// terminal rows are cut at its edge; elsewhere they are whole.
type columns struct {
	head  []string
	rows  [][]span
	below map[int][]string // lines under a row
}

func (t *columns) add(cells ...span) { t.rows = append(t.rows, cells) }

// note adds a line under the last row.
func (t *columns) note(text string) {
	if t.below == nil {
		t.below = map[int][]string{}
	}
	t.below[len(t.rows)-1] = append(t.below[len(t.rows)-1], text)
}

// plainCell is a cell without colour; control characters in it are dropped.
func plainCell(text string) span { return styledCell(styleNone, text) }

func styledCell(s style, text string) span { return span{s, oneLine(visible([]byte(text)))} }

// print writes the table; empty says what it means that there are no rows.
func (t *columns) print(env Env, empty string) error {
	if len(t.rows) == 0 {
		_, err := fmt.Fprintln(env.Stdout, empty)
		return err
	}
	width, coloured := 0, false
	if f, ok := env.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		coloured = wantsTree(env) && enableEscapes(f)
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			width = w
		}
	}
	_, err := env.Stdout.Write(t.text(width, coloured))
	return err
}

func (t *columns) text(width int, coloured bool) []byte {
	widths := make([]int, len(t.head))
	head := make([]span, len(t.head))
	for i, h := range t.head {
		head[i] = span{styleDim, h}
	}
	for _, r := range append([][]span{head}, t.rows...) {
		for i, c := range r {
			widths[i] = max(widths[i], textWidth(c.text))
		}
	}
	put := func(buf []byte, cells []span) []byte {
		var l line
		for i, c := range cells {
			l = append(l, c)
			if i+1 < len(cells) {
				l = append(l, span{styleNone, strings.Repeat(" ", widths[i]-textWidth(c.text)+2)})
			}
		}
		for n := len(l); n > 0 && strings.TrimSpace(l[n-1].text) == ""; n-- {
			l = l[:n-1] // no blanks at the end of a line
		}
		return append(l.append(buf, width, coloured), '\n')
	}
	buf := put(nil, head)
	for i, r := range t.rows {
		buf = put(buf, r)
		for _, text := range t.below[i] {
			buf = append(line{{styleNone, "    "}, {styleDim, text}}.append(buf, width, coloured), '\n')
		}
	}
	return buf
}

// printRows writes rows as the master gave them, indented.
func printRows(w io.Writer, rows json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, rows, "", "  "); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(w)
	return err
}

// stamp is a time as the master writes it: seconds since 1970, null for none.
type stamp struct{ time.Time }

func (s *stamp) UnmarshalJSON(data []byte) error {
	var n *float64
	if err := json.Unmarshal(data, &n); err != nil || n == nil {
		s.Time = time.Time{}
		return err
	}
	s.Time = time.UnixMilli(int64(*n * 1000))
	return nil
}

// ago says how long ago something was: "3s ago"; "never" for no time.
func ago(now time.Time, s stamp) string {
	if s.IsZero() {
		return "never"
	}
	d := now.Sub(s.Time)
	if d >= 48*time.Hour {
		return s.Format(time.DateOnly)
	}
	return clockText(max(0, d)) + " ago"
}
