package spawn

import "unicode/utf8"

const maxName = 80 // bytes of a command line in a receipt

// shorten cuts a command line, and makes it valid UTF-8 on one line.
func shorten(s string) string {
	out := make([]rune, 0, maxName)
	n := 0
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		if n += utf8.RuneLen(r); n > maxName {
			return string(out) + "…"
		}
		out = append(out, r)
	}
	return string(out)
}
