package agent

import (
	"slices"
	"unicode/utf8"
)

// decoder turns bytes into text as they come: what is not UTF-8 becomes U+FFFD,
// and a character may be cut anywhere.
type decoder struct {
	cut []byte // the beginning of a character
}

// feed returns the text of p; it may alias p.
func (d *decoder) feed(p []byte) []byte {
	if len(d.cut) > 0 {
		p = append(d.cut, p...)
		d.cut = nil
	}
	if n := incomplete(p); n > 0 {
		d.cut = slices.Clone(p[len(p)-n:])
		p = p[:len(p)-n]
	}
	return validText(p)
}

// end returns the text of what was cut off for good.
func (d *decoder) end() []byte {
	p := d.cut
	d.cut = nil
	return validText(p)
}

// incomplete returns how many bytes at the end of p begin a character.
func incomplete(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// validText returns p with U+FFFD for each byte that is part of no character.
func validText(p []byte) []byte {
	if utf8.Valid(p) {
		return p
	}
	out := make([]byte, 0, len(p)+len(p)/2)
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		out = utf8.AppendRune(out, r)
		p = p[n:]
	}
	return out
}
