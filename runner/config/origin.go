package config

import (
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// origin is the text a configuration was read from.
type origin struct {
	file  string // as given by the caller
	text  string
	lines []int // offset of each line
	root  *node
}

func newOrigin(file, text string) (*origin, *scanError) {
	o := &origin{file: file, text: text, lines: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			o.lines = append(o.lines, i+1)
		}
	}
	root, err := scan(text)
	o.root = root
	return o, err
}

// positions returns a function that gives the line and the column, both from 1,
// of an offset. Columns count characters. It is to be called with rising offsets:
// a file may be one long line with very many mistakes.
func (o *origin) positions() func(offset int) (line, column int) {
	last, lastLine, characters := 0, 1, 0
	return func(offset int) (int, int) {
		offset = min(max(offset, last), len(o.text))
		line := sort.SearchInts(o.lines, offset+1)
		if line > lastLine {
			last, lastLine, characters = o.lines[line-1], line, 0
		}
		characters += utf8.RuneCountInString(o.text[last:offset])
		last = offset
		return line, characters + 1
	}
}

// find returns where the value at p stands, and whether it is there at all. If
// not, the place is that of the innermost table or list that should hold it.
func (o *origin) find(p *pathTo) (*node, bool) {
	n := o.root
	for _, q := range p.parts() {
		var next *node
		if q.word != "" {
			next = n.table[q.word]
		} else if q.n < len(n.items) {
			next = n.items[q.n]
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// within returns where the byte at offset of the string n stands, which is value
// once it is read.
func (o *origin) within(n *node, value string, offset int) int {
	if n.literal == notString {
		return n.value
	}
	if n.text(o.text) != value {
		return n.value
	}
	at := n.value
	for src, part := range n.pieces(o.text) {
		at = src
		if offset < len(part) {
			if o.text[src:src+len(part)] == part { // plain text, not an escape
				at += offset
			}
			return at
		}
		offset -= len(part)
		at = n.end - n.quotes()
	}
	return at
}

// text returns the value of the string n.
func (n *node) text(s string) string {
	var b strings.Builder
	for _, part := range n.pieces(s) {
		b.WriteString(part)
	}
	return b.String()
}

func (n *node) quotes() int {
	if n.literal.multiline() {
		return 3
	}
	return 1
}

// pieces yields the parts of the string n with the offset each stands at: plain
// text as it is, each escape by itself.
func (n *node) pieces(s string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		lo, hi := n.value+n.quotes(), n.end-n.quotes()
		if n.literal.multiline() {
			if strings.HasPrefix(s[lo:hi], "\r\n") {
				lo += 2
			} else if strings.HasPrefix(s[lo:hi], "\n") {
				lo++
			}
		}
		for lo < hi {
			next := -1
			if n.literal == basicString || n.literal == basicMultiline {
				next = strings.IndexByte(s[lo:hi], '\\')
			}
			if next < 0 {
				yield(lo, s[lo:hi])
				return
			}
			if next > 0 && !yield(lo, s[lo:lo+next]) {
				return
			}
			lo += next
			part, length := unescape(s[lo:hi])
			if !yield(lo, part) {
				return
			}
			lo += length
		}
	}
}

// unescape returns what the escape at the beginning of s stands for, and its
// length. What is no escape stands for itself; the decoder reports it.
func unescape(s string) (string, int) {
	if len(s) < 2 {
		return s, len(s)
	}
	const letters, values = `btnfre"\`, "\b\t\n\f\r\x1b\"\\"
	if i := strings.IndexByte(letters, s[1]); i >= 0 {
		return values[i : i+1], 2
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits > 0 && len(s) >= 2+digits {
		if r, err := strconv.ParseUint(s[2:2+digits], 16, 32); err == nil {
			return string(rune(r)), 2 + digits
		}
	}
	rest := strings.TrimLeft(s[1:], " \t\r\n")
	if blank := s[1 : len(s)-len(rest)]; strings.Contains(blank, "\n") { // the line goes on
		return "", 1 + len(blank)
	}
	return s[:1], 1
}
