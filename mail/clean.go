package mail

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits, in runes, of what stands in one line of a mail.
const (
	maxSubject = 200
	maxName    = 100
	maxLine    = 1000
)

// unseen reports whether r must not reach a reader: control characters, the
// separators that some programs take for the end of a line, and the characters
// that change the direction of what follows.
func unseen(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// oneLine makes one line of at most limit runes of s, without control
// characters and with single spaces.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unseen(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return shorten(strings.Join(strings.Fields(s), " "), limit)
}

// headerText is oneLine for unstructured text in a header: besides, it is not
// taken for an encoded word of RFC 2047, which could hide anything.
func headerText(s string, limit int) string {
	return strings.ReplaceAll(oneLine(s, limit), "=?", "= ?")
}

// manyLines keeps the lines and tabs of s and drops all other control
// characters.
func manyLines(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n':
			return '\n'
		case r != '\t' && unseen(r):
			return -1
		}
		return r
	}, s)
}

// escape is a control sequence of a terminal: CSI, OSC or two characters.
var escape = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])`)
})

// logLine is a line of a log as a terminal would have left it: what follows the
// last carriage return, without colours and cursor movements.
func logLine(s string) string {
	s = strings.TrimRight(escape().ReplaceAllString(s, ""), "\r\n")
	s = s[strings.LastIndexByte(s, '\r')+1:]
	return shorten(strings.ReplaceAll(manyLines(s), "\n", " "), maxLine)
}

// shorten cuts s, which is valid UTF-8, to limit runes.
func shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
