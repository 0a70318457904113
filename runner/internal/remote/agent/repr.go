package agent

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
)

// repr writes a value as Python's repr does: header lines show it so.
func repr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return reprText(v)
	case []byte:
		return "b" + reprBytes(string(v))
	case float64:
		return reprFloat(v)
	case wire.Map:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = reprText(f.Key) + ": " + repr(f.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		return "[" + reprList(v) + "]"
	case wire.Tuple:
		if len(v) == 1 {
			return "(" + repr(v[0]) + ",)"
		}
		return "(" + reprList(v) + ")"
	}
	return fmt.Sprint(v)
}

func reprList(list []any) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = repr(e)
	}
	return strings.Join(parts, ", ")
}

func reprFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}

// quoteOf returns the quote that Python uses around s.
func quoteOf(s string) byte {
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return '"'
	}
	return '\''
}

// escaped appends what Python writes for a character in all kinds of text.
func escaped(b []byte, r rune, quote byte) ([]byte, bool) {
	switch r {
	case '\n':
		return append(b, `\n`...), true
	case '\r':
		return append(b, `\r`...), true
	case '\t':
		return append(b, `\t`...), true
	case '\\', rune(quote):
		return append(b, '\\', byte(r)), true
	}
	return b, false
}

func reprText(s string) string {
	quote := quoteOf(s)
	b := []byte{quote}
	for _, r := range s {
		var done bool
		if b, done = escaped(b, r, quote); done {
			continue
		}
		switch {
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, quote))
}

func reprBytes(s string) string {
	quote := quoteOf(s)
	b := []byte{quote}
	for _, c := range []byte(s) {
		var done bool
		if b, done = escaped(b, rune(c), quote); done {
			continue
		}
		if c < ' ' || c > '~' {
			b = fmt.Appendf(b, `\x%02x`, c)
		} else {
			b = append(b, c)
		}
	}
	return string(append(b, quote))
}

// shellQuote writes words so that a shell reads them again, as buildbot-worker
// shows a command.
func shellQuote(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		switch {
		case w == "":
			out[i] = `""`
		case strings.IndexFunc(w, unsafe) < 0:
			out[i] = w
		default:
			out[i] = "'" + strings.ReplaceAll(w, "'", `'"'"'`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// unsafe is Python's shlex: all but these are quoted.
func unsafe(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_@%+=:,./-", r))
}
