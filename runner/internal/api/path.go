package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxElements bounds how deep a path may be; the deepest of ours has ten.
const maxElements = 16

// arg is a variable element of a path.
type arg struct {
	name string
	text string
	n    int64 // of a number
}

// args are the variable elements of a path, in their order.
type args []arg

// text returns the element of that name; ok is false when the path has none.
func (a args) text(name string) (s string, ok bool) {
	for i := range a {
		if a[i].name == name {
			return a[i].text, true
		}
	}
	return "", false
}

func (a args) number(name string) (n int64, ok bool) {
	for i := range a {
		if a[i].name == name {
			return a[i].n, true
		}
	}
	return 0, false
}

// has reports whether the path has an element of one of the names.
func (a args) has(names ...string) bool {
	return slices.ContainsFunc(a, func(e arg) bool { return slices.Contains(names, e.name) })
}

// router finds the endpoint of a path. Patterns are Buildbot's: an element is
// itself, or n:NAME (a number), i:NAME (an identifier), s:NAME (any text).
// Where several fit, the first of these wins: a number is an id, never a name.
type router struct {
	fixed map[string]*router
	vars  [3]*router // by kind
	names [3]string
	leaf  *endpoint
}

const (
	varNumber = iota
	varIdentifier
	varText
)

const varKinds = "nis"

// add puts an endpoint at a pattern such as "builders/n:builderid/builds". Two
// names for one variable place, or two endpoints for one pattern, are a mistake
// in the table.
func (r *router) add(pattern string, e *endpoint) error {
	at := r
	for el := range strings.SplitSeq(pattern, "/") {
		if el == "" {
			continue // the root
		}
		k, name, variable := strings.Cut(el, ":")
		if !variable {
			if at.fixed == nil {
				at.fixed = map[string]*router{}
			}
			if at.fixed[el] == nil {
				at.fixed[el] = &router{}
			}
			at = at.fixed[el]
			continue
		}
		i := strings.Index(varKinds, k)
		if at.vars[i] == nil {
			at.vars[i], at.names[i] = &router{}, name
		}
		if at.names[i] != name {
			return fmt.Errorf("path %s: the place of %s is already named %s", pattern, name, at.names[i])
		}
		at = at.vars[i]
	}
	if at.leaf != nil {
		return fmt.Errorf("path %s is there twice", pattern)
	}
	at.leaf = e
	return nil
}

// find returns the endpoint of a path and what the path says, nil if there is none.
func (r *router) find(path []string) (*endpoint, args) {
	at := r
	var got args
	for _, el := range path {
		if next := at.fixed[el]; next != nil {
			at = next
			continue
		}
		i, n := at.fits(el)
		if i < 0 {
			return nil, nil
		}
		got = append(got, arg{at.names[i], el, n})
		at = at.vars[i]
	}
	return at.leaf, got
}

// fits returns which kind of variable takes the element, -1 for none.
func (r *router) fits(el string) (k int, n int64) {
	if r.vars[varNumber] != nil {
		if n, err := strconv.ParseUint(el, 10, 63); err == nil {
			return varNumber, int64(n)
		}
	}
	switch {
	case r.vars[varIdentifier] != nil && isIdentifier(el):
		return varIdentifier, 0
	case r.vars[varText] != nil && el != "":
		return varText, 0
	}
	return -1, 0
}

// isIdentifier is Buildbot's rule for path elements (util.identifiers).
func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-':
		case i > 0 && (c >= '0' && c <= '9' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// splitPath cuts an escaped URL path, without its leading slash, into elements.
// The root has none. An empty element fits nothing, so that a path with a slash
// at its end is invalid, as in Buildbot.
func splitPath(escaped string) ([]string, error) {
	if escaped == "" {
		return nil, nil
	}
	if strings.Count(escaped, "/") >= maxElements {
		return nil, fmt.Errorf("too long")
	}
	els := strings.Split(escaped, "/")
	for i, el := range els {
		s, err := url.PathUnescape(el)
		if err != nil {
			return nil, err
		}
		els[i] = s
	}
	return els, nil
}
