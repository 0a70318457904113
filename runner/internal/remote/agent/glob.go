package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

func prepareGlob(c *command) (func() error, error) {
	pattern, err := c.args.path("path")
	if err != nil {
		return nil, err
	}
	return func() error {
		g := globber{command: c}
		err := g.glob(pattern)
		return c.files("glob", pattern, g.found, err)
	}, nil
}

// globber finds files as Python's glob.glob(pattern, recursive=True) does: "*",
// "?" and "[a-z]" within a name, "**" for any number of directories, and names
// that begin with a dot only where the pattern does. "**" does not follow links.
type globber struct {
	command *command
	found   []string
}

func (g *globber) glob(pattern string) error {
	volume := filepath.VolumeName(pattern)
	rest := filepath.ToSlash(pattern[len(volume):])
	root := volume
	if strings.HasPrefix(rest, "/") {
		root += string(filepath.Separator)
		rest = strings.TrimLeft(rest, "/")
	}
	return g.expand(root, strings.Split(rest, "/"))
}

func hasMagic(s string) bool { return strings.ContainsAny(s, "*?[") }

// expand finds what matches the parts of a pattern below dir.
func (g *globber) expand(dir string, parts []string) error {
	if g.command.interrupted() || len(g.found) > maxFiles {
		return nil
	}
	part, rest := parts[0], parts[1:]
	switch {
	case part == "**":
		return g.anywhere(dir, rest)
	case !hasMagic(part):
		path := below(dir, part)
		if len(rest) > 0 {
			return g.expand(path, rest)
		}
		if _, err := os.Lstat(path); err == nil {
			g.found = append(g.found, path)
		}
		return nil
	}
	names, err := listNames(orDot(dir))
	if err != nil {
		return nil // as Python: what cannot be read has nothing in it
	}
	for _, name := range names {
		if !matches(part, name) {
			continue
		}
		path := below(dir, name)
		if len(rest) == 0 {
			g.found = append(g.found, path)
		} else if err := g.expand(path, rest); err != nil {
			return err
		}
	}
	return nil
}

// anywhere finds what matches rest in dir and in all directories below it.
func (g *globber) anywhere(dir string, rest []string) error {
	return filepath.WalkDir(orDot(dir), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case g.command.interrupted() || len(g.found) > maxFiles:
			return fs.SkipAll
		case path != orDot(dir) && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case len(rest) == 0:
			if path == orDot(dir) {
				path = below(dir, "")
			}
			g.found = append(g.found, path)
			return nil
		case !d.IsDir():
			return nil
		}
		return g.expand(path, rest)
	})
}

func orDot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// below returns the path of a name in a directory, without cleaning it.
func below(dir, name string) string {
	if dir == "" || os.IsPathSeparator(dir[len(dir)-1]) {
		return dir + name
	}
	return dir + string(filepath.Separator) + name
}

// matches reports whether a name matches one part of a pattern.
func matches(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	return fnmatch([]rune(pattern), []rune(name))
}

// fnmatch matches as Python's fnmatch: a "[" that is never closed is meant
// literally, and there is no escape character. It takes linear space and
// quadratic time.
func fnmatch(p, s []rune) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) && p[i] == '*' {
			star, mark = i, j
			i++
			continue
		}
		if n, ok := matchOne(p[i:], s[j]); ok {
			i += n
			j++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// matchOne matches one character, and returns how much of the pattern that took.
func matchOne(p []rune, c rune) (n int, ok bool) {
	if len(p) == 0 {
		return 0, false
	}
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		if n, ok := matchSet(p, c); n > 0 {
			return n, ok
		}
	}
	return 1, p[0] == c
}

// matchSet matches a set such as "[!a-z]"; 0 says that it is none.
func matchSet(p []rune, c rune) (n int, ok bool) {
	i := 1
	not := i < len(p) && p[i] == '!'
	if not {
		i++
	}
	first := i
	for end := i; ; end++ {
		if end >= len(p) {
			return 0, false
		}
		if p[end] == ']' && end > first {
			n = end + 1
			break
		}
	}
	for set := p[first : n-1]; len(set) > 0; {
		if len(set) >= 3 && set[1] == '-' {
			ok = ok || set[0] <= c && c <= set[2]
			set = set[3:]
			continue
		}
		ok = ok || set[0] == c
		set = set[1:]
	}
	return n, ok != not
}
