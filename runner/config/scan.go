package config

import (
	"fmt"
	"strings"
)

// Limits of a configuration file.
const (
	MaxFileSize = 1 << 20 // bytes
	maxNesting  = 32      // lists and tables within each other, and parts of a key
)

// node is where a value stands in the file.
type node struct {
	value   int // offset of the value; of the "[" of a table header; of the key of an implied table
	key     int // offset of the key, that of the value if it has none
	literal literal
	end     int              // offset after the value, for strings
	table   map[string]*node // nil if not a table
	items   []*node          // of a list
	headers bool             // a list made of [[headers]]
}

// literal is how a string is written.
type literal byte

const (
	notString literal = iota
	basicString
	basicMultiline
	rawString
	rawMultiline
)

// scanner finds out where values stand. The TOML decoder decides what is valid;
// the scanner stops at the first thing it does not understand, and what it knows
// by then is used to report the decoder's error. It also bounds nesting before
// the decoder, which recurses without a limit, sees the text, and refuses keys
// that are there twice, which the decoder does not always notice.
type scanner struct {
	s       string
	i       int
	root    *node
	current *node
}

// scanError is what the scanner refuses although the decoder might not.
type scanError struct {
	offset int
	msg    string
}

func (e *scanError) Error() string { return e.msg }

// scan returns the values of a TOML text, as far as it is understood.
func scan(s string) (*node, *scanError) {
	root := &node{table: map[string]*node{}}
	sc := &scanner{s: s, root: root, current: root}
	for sc.blank(true); sc.i < len(s); sc.blank(true) {
		ok, err := sc.statement()
		if err != nil || !ok {
			return root, err
		}
	}
	return root, nil
}

// blank skips spaces, and with lines also line ends and comments.
func (sc *scanner) blank(lines bool) {
	for sc.i < len(sc.s) {
		switch c := sc.s[sc.i]; {
		case c == ' ' || c == '\t':
			sc.i++
		case lines && (c == '\n' || c == '\r'):
			sc.i++
		case lines && c == '#':
			if n := strings.IndexByte(sc.s[sc.i:], '\n'); n >= 0 {
				sc.i += n
			} else {
				sc.i = len(sc.s)
			}
		default:
			return
		}
	}
}

func (sc *scanner) peek() byte {
	if sc.i < len(sc.s) {
		return sc.s[sc.i]
	}
	return 0
}

func (sc *scanner) skip(c byte) bool {
	if sc.peek() != c {
		return false
	}
	sc.i++
	return true
}

// statement reads one header or one key with its value.
func (sc *scanner) statement() (bool, *scanError) {
	if sc.peek() == '[' {
		return sc.header()
	}
	return sc.assignment(sc.current, 0)
}

func (sc *scanner) header() (bool, *scanError) {
	at := sc.i
	sc.i++
	list := sc.skip('[')
	keys, err := sc.keys()
	if err != nil || keys == nil || !sc.skip(']') || list && !sc.skip(']') {
		return false, err
	}
	parent := sc.root.descend(keys[:len(keys)-1])
	if parent == nil {
		return false, nil
	}
	last := keys[len(keys)-1]
	n := parent.table[last.word]
	switch {
	case list:
		if n == nil {
			n = &node{value: at, key: last.at, headers: true}
			parent.table[last.word] = n
		}
		if !n.headers {
			return false, nil
		}
		sc.current = &node{value: at, key: last.at, table: map[string]*node{}}
		n.items = append(n.items, sc.current)
	case n == nil:
		sc.current = &node{value: at, key: last.at, table: map[string]*node{}}
		parent.table[last.word] = sc.current
	case n.table == nil:
		return false, nil
	default:
		n.value, n.key = at, last.at
		sc.current = n
	}
	return true, nil
}

// assignment reads "key = value" into t.
func (sc *scanner) assignment(t *node, depth int) (bool, *scanError) {
	keys, err := sc.keys()
	if err != nil || keys == nil || !sc.skip('=') {
		return false, err
	}
	last := keys[len(keys)-1]
	t = t.descend(keys[:len(keys)-1])
	if t == nil {
		return false, nil
	}
	if t.table[last.word] != nil { // the decoder drops the second of "a.b = 1" and "a = 2" without a word
		return false, &scanError{last.at, fmt.Sprintf("key %q is there already", last.word)}
	}
	sc.blank(false)
	n := &node{value: sc.i, key: last.at}
	t.table[last.word] = n
	return sc.read(n, depth)
}

// keyPart is one part of a dotted key.
type keyPart struct {
	word string
	at   int
}

// keys reads a dotted key and the space around it, nil if there is none.
func (sc *scanner) keys() ([]keyPart, *scanError) {
	var keys []keyPart
	for {
		sc.blank(false)
		k := keyPart{at: sc.i}
		switch c := sc.peek(); c {
		case '"', '\'':
			n := &node{value: sc.i}
			if !sc.text(n) || n.literal == basicMultiline || n.literal == rawMultiline {
				return nil, nil
			}
			k.word = n.text(sc.s)
		default:
			for sc.i < len(sc.s) && isBare(sc.s[sc.i]) {
				sc.i++
			}
			if k.word = sc.s[k.at:sc.i]; k.word == "" {
				return nil, nil
			}
		}
		if keys = append(keys, k); len(keys) > maxNesting {
			return nil, &scanError{k.at, fmt.Sprintf("key of more than %d parts", maxNesting)}
		}
		sc.blank(false)
		if !sc.skip('.') {
			return keys, nil
		}
	}
}

func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// descend returns the table that keys lead to, made when missing; nil if
// something else is there.
func (n *node) descend(keys []keyPart) *node {
	for _, k := range keys {
		next := n.table[k.word]
		switch {
		case next == nil:
			next = &node{value: k.at, key: k.at, table: map[string]*node{}}
			n.table[k.word] = next
		case next.headers:
			next = next.items[len(next.items)-1]
		}
		if n = next; n.table == nil {
			return nil
		}
	}
	return n
}

// read reads the value that begins here into n.
func (sc *scanner) read(n *node, depth int) (bool, *scanError) {
	if depth >= maxNesting {
		return false, &scanError{sc.i, fmt.Sprintf("lists and tables nested more than %d deep", maxNesting)}
	}
	switch sc.peek() {
	case '"', '\'':
		return sc.text(n), nil
	case '[':
		return sc.list(n, depth)
	case '{':
		return sc.inline(n, depth)
	}
	end := strings.IndexAny(sc.s[sc.i:], ",]}#\r\n")
	if end < 0 {
		end = len(sc.s) - sc.i
	}
	sc.i += end
	return end > 0, nil
}

func (sc *scanner) list(n *node, depth int) (bool, *scanError) {
	sc.i++
	for {
		sc.blank(true)
		if sc.skip(']') {
			return true, nil
		}
		item := &node{value: sc.i, key: sc.i}
		n.items = append(n.items, item)
		if ok, err := sc.read(item, depth+1); !ok {
			return false, err
		}
		sc.blank(true)
		if !sc.skip(',') && sc.peek() != ']' {
			return false, nil
		}
	}
}

func (sc *scanner) inline(n *node, depth int) (bool, *scanError) {
	sc.i++
	n.table = map[string]*node{}
	for {
		sc.blank(true)
		if sc.skip('}') {
			return true, nil
		}
		if ok, err := sc.assignment(n, depth+1); !ok {
			return false, err
		}
		sc.blank(true)
		if !sc.skip(',') && sc.peek() != '}' {
			return false, nil
		}
	}
}

// text reads the string that begins here into n.
func (sc *scanner) text(n *node) bool {
	quote := sc.s[sc.i]
	n.literal = basicString
	if quote == '\'' {
		n.literal = rawString
	}
	triple := strings.Repeat(string(quote), 3)
	if strings.HasPrefix(sc.s[sc.i:], triple) {
		n.literal++
		sc.i += 3
	} else {
		sc.i++
	}
	for sc.i < len(sc.s) {
		switch c := sc.s[sc.i]; {
		case c == '\\' && quote == '"':
			sc.i++ // whatever follows does not end the string
		case c == '\n' && !n.literal.multiline():
			return false
		case c == quote && n.literal.multiline():
			run := len(sc.s[sc.i:]) - len(strings.TrimLeft(sc.s[sc.i:], string(quote)))
			sc.i += run
			if run >= 3 { // up to two quotes may stand before the closing three
				n.end = sc.i
				return true
			}
			continue
		case c == quote:
			sc.i++
			n.end = sc.i
			return true
		}
		sc.i++
	}
	return false
}

func (l literal) multiline() bool { return l == basicMultiline || l == rawMultiline }
