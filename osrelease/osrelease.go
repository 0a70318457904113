// Package osrelease reads os-release(5), the file in which an operating system
// says what it is, and turns it into worker properties.
//
// A line that does not follow the manual page is skipped and reported; it never
// makes the rest of the file unreadable.
package osrelease

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxSize is the largest file that is read, in bytes. Real files have about 500.
const MaxSize = 64 << 10

// maxWarnings bounds what a file of nothing but bad lines can cost.
const maxWarnings = 20

// ErrTooLarge says that a file is larger than its limit.
var ErrTooLarge = errors.New("file is too large")

// Fields holds the assignments of a file, by key as written ("VERSION_ID").
// A key with an empty value is present.
type Fields map[string]string

// Warning says why something was skipped.
type Warning struct {
	Path string // the file; empty when it was parsed from a reader
	Line int    // counted from 1; 0: the whole file
	Msg  string
}

// String returns "path:line: message", without the parts that are not known.
func (w Warning) String() string {
	switch {
	case w.Path == "" && w.Line == 0:
		return w.Msg
	case w.Path == "":
		return fmt.Sprintf("line %d: %s", w.Line, w.Msg)
	case w.Line == 0:
		return w.Path + ": " + w.Msg
	}
	return fmt.Sprintf("%s:%d: %s", w.Path, w.Line, w.Msg)
}

// Parse reads a whole file. Where a key occurs twice the last one wins. The
// error is that of r, or wraps [ErrTooLarge].
func Parse(r io.Reader) (Fields, []Warning, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read os-release: %w", err)
	}
	if len(data) > MaxSize {
		return nil, nil, fmt.Errorf("read os-release: %w: the limit is %d bytes", ErrTooLarge, MaxSize)
	}
	fields, warnings := parse(data)
	return fields, warnings, nil
}

func parse(data []byte) (Fields, []Warning) {
	fields := Fields{}
	var warnings []Warning
	number, bad := 0, 0
	for line := range bytes.Lines(data) {
		number++
		// Blanks around an assignment mean nothing to a shell either; \r\n comes from editors.
		text := strings.Trim(string(line), " \t\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		key, value, err := assignment(text)
		if err == nil {
			fields[key] = value
			continue
		}
		if bad++; bad <= maxWarnings {
			warnings = append(warnings, Warning{Line: number, Msg: err.Error()})
		}
	}
	if more := bad - maxWarnings; more > 0 {
		warnings = append(warnings, Warning{Msg: fmt.Sprintf("%d more bad lines", more)})
	}
	return fields, warnings
}

func assignment(line string) (key, value string, err error) {
	key, quoted, ok := strings.Cut(line, "=")
	if !ok {
		return "", "", errors.New("not an assignment: no =")
	}
	if !isName(key) {
		return "", "", errors.New("the text before = is not a variable name")
	}
	if !utf8.ValidString(quoted) {
		return "", "", fmt.Errorf("%s: the value is not UTF-8", key)
	}
	if strings.ContainsFunc(quoted, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return "", "", fmt.Errorf("%s: the value has a control character", key)
	}
	value, err = unquote(quoted)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", key, err)
	}
	return key, value, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// unquote follows the shell, without expansions and without concatenation,
// which os-release(5) rules out. Two things are taken as Python's platform
// module takes them: a value with blanks but without quotes is accepted, since
// distributions ship some, and \' means ' between double quotes too, since the
// manual page names both quotes among what has to be escaped.
func unquote(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	quote := s[0]
	if quote != '"' && quote != '\'' {
		quote = 0
	} else {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote && quote != 0:
			if i != len(s)-1 {
				return "", errors.New("text after the closing quote")
			}
			return b.String(), nil
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return "", errors.New("nothing after the last backslash")
			}
			if quote == '"' && !strings.ContainsRune("\\$\"'`", rune(s[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		case quote == 0 && (c == '"' || c == '\''):
			return "", errors.New("a quote inside a value that does not start with one")
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", errors.New("no closing quote")
	}
	return b.String(), nil
}

// Properties returns the fields as worker properties: each key lower-cased
// behind "os_". The four that Buildbot documents, os_id, os_id_like,
// os_version_id and os_version_codename, are always there, nil when the file
// does not say. Keys that differ only in case are one property; the one that
// sorts first, so that in capitals, wins.
func Properties(fields Fields) map[string]any {
	properties := map[string]any{
		"os_id": nil, "os_id_like": nil, "os_version_id": nil, "os_version_codename": nil,
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		name := "os_" + strings.ToLower(key)
		if properties[name] == nil {
			properties[name] = fields[key]
		}
	}
	return properties
}

// Read reads the os-release of the system whose root directory is root ("/": this
// system): /etc/os-release, or /usr/lib/os-release when the first cannot be
// read. The error tells of both, and wraps [io/fs.ErrNotExist] if neither exists.
func Read(root string) (Fields, []Warning, error) {
	var warnings []Warning
	var errs []error
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		data, err := Root(root).ReadFile(name, MaxSize)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fields, bad := parse(data)
		for _, w := range bad {
			w.Path = name
			warnings = append(warnings, w)
		}
		return fields, append(skipped(errs), warnings...), nil
	}
	return nil, nil, errors.Join(errs...)
}
