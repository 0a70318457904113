package config

import (
	"fmt"
	"strconv"
	"strings"
)

// pathTo names a value of a configuration by the keys of the file. A nil one is
// the whole. Paths are never changed: key and index return longer ones.
type pathTo struct {
	up   *pathTo
	word string // the key; "" for an element of a list
	n    int    // the element
	name string // what the element calls itself, for people
}

func (p *pathTo) key(word string) *pathTo { return &pathTo{up: p, word: word} }

func (p *pathTo) index(n int) *pathTo { return &pathTo{up: p, n: n} }

func (p *pathTo) named(name string) *pathTo {
	q := *p
	q.name = name
	return &q
}

// parts returns the path from its beginning.
func (p *pathTo) parts() []*pathTo {
	var all []*pathTo
	for ; p != nil; p = p.up {
		all = append([]*pathTo{p}, all...)
	}
	return all
}

// String is for people: `builders[0] "test": steps[1]: timeout`.
func (p *pathTo) String() string {
	var b strings.Builder
	for i, q := range p.parts() {
		switch {
		case q.word == "":
			fmt.Fprintf(&b, "[%d]", q.n)
		case i > 0:
			b.WriteString(": " + q.word)
		default:
			b.WriteString(q.word)
		}
		if q.name != "" {
			fmt.Fprintf(&b, " %q", q.name)
		}
	}
	return b.String()
}

// id is the same for equal paths, whatever their elements call themselves.
func (p *pathTo) id() string {
	var b strings.Builder
	for _, q := range p.parts() {
		if q.word == "" {
			b.WriteString("[" + strconv.Itoa(q.n) + "]")
		} else {
			b.WriteString("." + strconv.Quote(q.word))
		}
	}
	return b.String()
}
