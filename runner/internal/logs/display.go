package logs

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// LastVisible returns what a person would see of a line in a display of one
// line: the text after the last carriage return that has any (progress bars
// write their states so), without ANSI escape sequences and control characters.
// A tab becomes a space, a backspace takes back a character, bytes that are not
// UTF-8 become U+FFFD.
func LastVisible(line []byte) string {
	for {
		i := bytes.LastIndexByte(line, '\r')
		if s := visible(line[i+1:]); i < 0 || s != "" {
			return s
		}
		line = line[:i]
	}
}

func visible(b []byte) string {
	var out []rune
	for len(b) > 0 {
		if b[0] == 0x1b {
			b = b[escapeLen(b):]
			continue
		}
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r == '\t':
			out = append(out, ' ')
		case r == '\b':
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case r < 0x20 || r >= 0x7f && r < 0xa0:
		default:
			out = append(out, r)
		}
	}
	return strings.TrimRight(string(out), " ")
}

// escapeLen returns the length of the escape sequence b begins with (ECMA-48,
// 5.3 and 5.4; for OSC and its kin also xterm's end by BEL).
func escapeLen(b []byte) int {
	if len(b) == 1 {
		return 1
	}
	switch b[1] {
	case '[': // CSI: parameters and intermediates, then a final byte
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
			if b[i] < 0x20 || b[i] > 0x7e {
				return i
			}
		}
		return len(b)
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: up to ST or BEL
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\' {
				return i + 2
			}
		}
		return len(b)
	}
	for i := 1; i < len(b); i++ { // nF: intermediates, then a final byte
		if b[i] < 0x20 || b[i] > 0x2f {
			return min(i+1, len(b))
		}
	}
	return len(b)
}
