package agent

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// variables are the values that a Python file gives to names at its top level.
type variables map[string]assigned

type assigned struct {
	line  int
	value any // string, int64, nil, or an error: no literal
}

// assignment is one at the top level: not indented, no "==".
var assignment = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*([^= \t].*)$`)

// assignments reads a file. Of several to one name the last counts.
func assignments(s string) (*values, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("not UTF-8")
	}
	v := &values{variables: variables{}}
	long := "" // the quotes of a text over several lines that we are in
	for i, line := range strings.Split(s, "\n") {
		line = strings.TrimRight(line, "\r \t")
		if long != "" {
			if strings.Count(line, long)%2 == 1 {
				long = ""
			}
			continue
		}
		for _, q := range []string{`"""`, "'''"} {
			if strings.Count(line, q)%2 == 1 {
				long = q
			}
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		value, err := literal(m[2])
		if err != nil {
			value = err
		}
		v.variables[m[1]] = assigned{i + 1, value}
	}
	return v, nil
}

// values reads variables; the first that is not what it should be is err.
type values struct {
	variables
	err error
}

func (v *values) wrong(name string, why any) {
	if v.err == nil {
		v.err = fmt.Errorf("line %d: %s %v", v.variables[name].line, name, why)
	}
}

// text returns a text; "" if it is missing or None.
func (v *values) text(name string) string {
	switch t := v.variables[name].value.(type) {
	case string:
		return t
	case nil:
	case error:
		v.wrong(name, t)
	default:
		v.wrong(name, "is no text")
	}
	return ""
}

// int returns a number.
func (v *values) int(name string, missing int64) int64 {
	switch n := v.variables[name].value.(type) {
	case int64:
		return n
	case nil:
	case error:
		v.wrong(name, n)
	default:
		v.wrong(name, "is no number")
	}
	return missing
}

var errNoLiteral = errors.New("is not a literal: bothy reads a buildbot.tac, but does not run it")

// literal reads a text, a number, None, True or False, and what may follow it: a
// comment.
func literal(s string) (any, error) {
	prefix := strings.ToLower(s[:min(len(s), 1)])
	switch {
	case s[0] == '\'' || s[0] == '"':
		return quoted(s, false)
	case len(s) > 1 && (s[1] == '\'' || s[1] == '"') && strings.Contains("ru", prefix):
		return quoted(s[1:], prefix == "r")
	}
	word, _, _ := strings.Cut(s, "#")
	switch word = strings.TrimSpace(word); word {
	case "None":
		return nil, nil
	case "True":
		return int64(1), nil
	case "False":
		return int64(0), nil
	}
	if len(word) > 1 && word[0] == '0' && word[1] >= '0' && word[1] <= '7' {
		word = "0o" + word[1:] // Python 2
	}
	n, err := strconv.ParseInt(word, 0, 64)
	if err != nil {
		return nil, errNoLiteral
	}
	return n, nil
}

// quoted reads a text on one line.
func quoted(s string, raw bool) (any, error) {
	quote := s[0]
	if strings.HasPrefix(s, strings.Repeat(string(quote), 3)) {
		return nil, errNoLiteral
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			rest := strings.TrimSpace(s[i+1:])
			if rest != "" && rest[0] != '#' {
				return nil, errNoLiteral
			}
			return b.String(), nil
		case c == '\\' && i+1 < len(s) && raw:
			b.WriteByte(c)
			i++
			b.WriteByte(s[i])
		case c == '\\' && i+1 < len(s):
			n, err := unescape(&b, s[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return nil, errNoLiteral
}

// unescape writes what a backslash and the beginning of s stand for, and returns
// how much of s that took.
func unescape(b *strings.Builder, s string) (int, error) {
	simple := map[byte]byte{'\\': '\\', '\'': '\'', '"': '"', 'n': '\n', 't': '\t', 'r': '\r'}
	if c, ok := simple[s[0]]; ok {
		b.WriteByte(c)
		return 1, nil
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if digits == 0 || len(s) <= digits {
		return 0, errNoLiteral
	}
	n, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil || !utf8.ValidRune(rune(n)) {
		return 0, errNoLiteral
	}
	b.WriteRune(rune(n))
	return 1 + digits, nil
}
