package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// paths are those of the worker's system, which need not be the master's.
type paths struct {
	nt bool // Windows; else POSIX
}

// isAbs reports whether a path does not depend on a directory.
func (p paths) isAbs(s string) bool {
	if !p.nt {
		return strings.HasPrefix(s, "/")
	}
	if strings.HasPrefix(s, `\\`) || strings.HasPrefix(s, "//") {
		return true
	}
	return len(s) >= 3 && s[1] == ':' && (s[2] == '\\' || s[2] == '/')
}

// join returns a path below dir, unless it is absolute. On Windows a path may also
// name only the drive, or only where it is on one: as Python's ntpath.join, but on
// another drive it is not left to the drive's present directory.
func (p paths) join(dir string, names ...string) string {
	for _, name := range names {
		if p.nt {
			name = strings.ReplaceAll(name, "/", `\`)
		}
		switch {
		case name == "" || name == ".":
		case p.isAbs(name):
			dir = name
		case p.nt && name[0] == '\\':
			dir = volume(dir) + name
		case p.nt && len(name) > 1 && name[1] == ':' && !strings.EqualFold(name[:2], volume(dir)):
			dir = name[:2] + `\` + name[2:]
		case p.nt && len(name) > 1 && name[1] == ':':
			dir = p.join(dir, name[2:])
		case p.nt:
			dir = strings.TrimRight(dir, `\/`) + `\` + name
		default:
			dir = strings.TrimRight(dir, "/") + "/" + name
		}
	}
	return dir
}

// volume returns the drive, or the server and share, of an absolute Windows path.
func volume(path string) string {
	if len(path) > 1 && path[1] == ':' {
		return path[:2]
	}
	parts := strings.SplitN(path, `\`, 5) // two empty ones, the server, the share
	return strings.Join(parts[:min(4, len(parts))], `\`)
}

const (
	// maxDirName keeps paths short: some tools put Unix sockets below a build's
	// directory, and Windows has its own limit.
	maxDirName = 40
	hashLength = 8
)

// dirName returns the name of a builder's directory on a worker: the builder's
// own if every system takes it and tells it from others, else something close.
func dirName(builder string) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_', r == '-', r == '.':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '_'
	}, builder)
	plain = strings.Trim(plain, ".")
	if plain == builder && builder != "" && len(builder) <= maxDirName && !slices.Contains(reserved, strings.Split(builder, ".")[0]) {
		return builder
	}
	sum := sha256.Sum256([]byte(builder))
	// "+" is in no name that stayed as it is.
	return plain[:min(len(plain), maxDirName-hashLength-1)] + "+" + hex.EncodeToString(sum[:])[:hashLength]
}

// reserved are names that mean something: to buildbot-worker, and to Windows.
var reserved = []string{
	"info", "con", "prn", "aux", "nul",
	"com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}
