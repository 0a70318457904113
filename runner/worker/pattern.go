package worker

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Pattern chooses files by their names, which are relative to a build's directory
// and have slashes on every system: each part as in [path.Match], and "**" for any
// number of directories. As in a shell, what begins with a dot is chosen only by a
// part that begins with one. Make it with [ParsePattern].
type Pattern struct{ parts []string }

// maxPatternParts bounds what comparing a name costs.
const maxPatternParts = 64

// ParsePattern returns the pattern that s says. It cannot lead out of the build's
// directory.
func ParsePattern(s string) (Pattern, error) {
	fail := func(why string) (Pattern, error) { return Pattern{}, fmt.Errorf("pattern %.200q: %s", s, why) }
	if strings.HasPrefix(s, "/") || strings.ContainsRune(s, 0) {
		return fail("it is not below the build's directory")
	}
	var parts []string
	for part := range strings.SplitSeq(s, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return fail("it is not below the build's directory")
		case part == "**" && len(parts) > 0 && parts[len(parts)-1] == "**":
			continue
		}
		if _, err := path.Match(part, ""); errors.Is(err, path.ErrBadPattern) {
			return fail("it is none")
		}
		parts = append(parts, part)
	}
	if n := len(parts); n > 0 && parts[n-1] == "**" {
		parts = append(parts, "*")
	}
	switch {
	case len(parts) == 0:
		return fail("it names nothing")
	case len(parts) > maxPatternParts:
		return fail(fmt.Sprintf("more than %d parts", maxPatternParts))
	}
	return Pattern{parts}, nil
}

// String returns the pattern in a plain form.
func (p Pattern) String() string { return strings.Join(p.parts, "/") }

// Parts returns what is between the slashes.
func (p Pattern) Parts() []string { return slices.Clone(p.parts) }

// Fixed returns the directory that everything that fits is in: the parts before
// the first that is not a plain name, "." if there are none.
func (p Pattern) Fixed() string {
	n := 0
	for n < len(p.parts)-1 && !strings.ContainsAny(p.parts[n], `*?[\`) {
		n++
	}
	return path.Join(".", path.Join(p.parts[:n]...))
}

// Fits reports whether the pattern chooses a file of that name.
func (p Pattern) Fits(name string) bool { return slices.Contains(p.after(name), len(p.parts)) }

// FitsBelow reports whether it may choose files below a directory.
func (p Pattern) FitsBelow(dir string) bool {
	return slices.ContainsFunc(p.after(dir), func(at int) bool { return at < len(p.parts) })
}

// after returns the places in the pattern that may come next once the parts of
// name have been seen. All are followed at the same time: the cost is at most the
// parts of the one times the parts of the other.
func (p Pattern) after(name string) []int {
	at := p.skip(nil, 0)
	if name == "." {
		return at
	}
	for part := range strings.SplitSeq(name, "/") {
		var next []int
		for _, i := range at {
			switch {
			case i == len(p.parts):
			case p.parts[i] == "**":
				if !hidden(part) {
					next = p.skip(next, i)
				}
			case fitsPart(p.parts[i], part):
				next = p.skip(next, i+1)
			}
		}
		at = next
	}
	return at
}

// skip adds a place, and the one behind it if that is "**", which may stand for
// no directory at all.
func (p Pattern) skip(at []int, i int) []int {
	if !slices.Contains(at, i) {
		at = append(at, i)
	}
	if i < len(p.parts) && p.parts[i] == "**" && !slices.Contains(at, i+1) {
		at = append(at, i+1)
	}
	return at
}

func hidden(part string) bool { return strings.HasPrefix(part, ".") }

func fitsPart(pattern, part string) bool {
	if hidden(part) && !hidden(pattern) {
		return false
	}
	ok, err := path.Match(pattern, part)
	return ok && err == nil
}
