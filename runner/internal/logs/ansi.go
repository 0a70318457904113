package logs

import "bytes"

// A Color is one that a program asked a terminal for: 0 is the terminal's own,
// others are a kind and a value.
type Color uint32

const (
	colorIndexed = 1 << 24 // low byte: number in the 256-colour palette
	colorRGB     = 2 << 24 // low 24 bits: red, green, blue
)

// Indexed returns the number of a colour of the 256-colour palette, of which the
// first 16 are named ones that a display chooses.
func (c Color) Indexed() (uint8, bool) { return uint8(c), c&^0xff == colorIndexed }

// RGB returns a colour given as such.
func (c Color) RGB() (rgb uint32, ok bool) { return uint32(c) & 0xffffff, c&^0xffffff == colorRGB }

// Attr are the attributes of text apart from its colours.
type Attr uint16

// What SGR can ask for (ECMA-48, 8.3.117).
const (
	Bold Attr = 1 << iota
	Faint
	Italic
	Underline
	Blink
	Inverse
	Conceal
	Strike
)

// Style is how text is to be drawn. The zero Style is plain.
type Style struct {
	Fg, Bg Color
	Attr   Attr
}

// maxArgs bounds the parameters of an escape sequence; a longer one is ignored.
const maxArgs = 64

// A Decoder is what a terminal keeps between two bytes of output: how text is
// drawn, and an escape sequence that is not complete. It is a value: a copy
// continues on its own. The zero Decoder is a terminal that was just switched on.
type Decoder struct {
	Style Style
	mode  byte
	n     uint8 // bytes in args; more than maxArgs: too many came
	args  [maxArgs]byte
}

// What a Decoder is in the middle of.
const (
	inText   = iota
	inEscape // after ESC
	inInter  // after ESC and an intermediate byte
	inCSI
	inString // OSC, DCS, SOS, PM, APC: up to BEL or ESC \
	inStringEscape
)

const esc = 0x1b

// begin starts to gather args anew.
func (d *Decoder) begin(mode byte) {
	d.mode = mode
	clear(d.args[:min(d.n, maxArgs)]) // equal states are equal values
	d.n = 0
}

// endLine is a newline: no sequence goes on behind it, so that one that was cut
// does not swallow the log.
func (d *Decoder) endLine() {
	if d.mode != inText {
		d.begin(inText)
	}
}

// step takes a byte of a sequence, or the ESC that begins one. took is false if
// the byte is no part of it: it is text then. final is the last byte of a CSI
// sequence whose parameters are in args, else 0.
func (d *Decoder) step(c byte) (took bool, final byte) {
	if c == esc && d.mode != inString {
		d.begin(inEscape)
		return true, 0
	}
	switch d.mode {
	case inEscape:
		switch {
		case c == '[':
			d.begin(inCSI)
		case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
			d.begin(inString)
		case c >= 0x20 && c <= 0x2f:
			d.mode = inInter
		case c < 0x20 || c > 0x7e:
			d.begin(inText)
			return false, 0
		default:
			d.begin(inText)
		}
	case inInter:
		if c < 0x20 || c > 0x7e {
			d.begin(inText)
			return false, 0
		}
		if c > 0x2f {
			d.begin(inText)
		}
	case inCSI:
		switch {
		case c >= 0x40 && c <= 0x7e:
			if d.n <= maxArgs {
				if c == 'm' {
					d.Style = d.Style.sgr(d.args[:d.n])
				}
				final = c
			}
			d.mode = inText // args are still wanted; the next begin clears them
			return true, final
		case c < 0x20 || c > 0x7e:
			d.begin(inText)
			return false, 0
		case d.n < maxArgs:
			d.args[d.n] = c
			d.n++
		default:
			d.n = maxArgs + 1
		}
	case inString:
		switch c {
		case 0x07:
			d.begin(inText)
		case esc:
			d.mode = inStringEscape
		}
	case inStringEscape:
		if c == '\\' {
			d.begin(inText)
			return true, 0
		}
		d.mode = inEscape // the string was ended by another sequence
		return d.step(c)
	default:
		return false, 0
	}
	return true, 0
}

// Feed takes output of which nothing is drawn.
func (d *Decoder) Feed(p []byte) {
	for len(p) > 0 {
		if d.mode == inText {
			i := bytes.IndexByte(p, esc)
			if i < 0 {
				return
			}
			p = p[i:]
			if n := d.feedCSI(p); n > 0 {
				p = p[n:]
				continue
			}
		}
		if p[0] == '\n' {
			d.endLine()
		} else if _, final := d.step(p[0]); final != 0 {
			d.begin(inText)
		}
		p = p[1:]
	}
}

// feedCSI takes the control sequence that p begins with, if all of it is there,
// and returns its length: what step does, in a third of the time.
func (d *Decoder) feedCSI(p []byte) int {
	if len(p) < 3 || p[1] != '[' {
		return 0
	}
	for i, c := range p[2:min(len(p), maxArgs+3)] {
		if c >= 0x40 && c <= 0x7e {
			if c == 'm' {
				d.Style = d.Style.sgr(p[2 : i+2])
			}
			d.begin(inText)
			return i + 3
		}
		if c < 0x20 || c > 0x7e {
			return 0
		}
	}
	return 0
}

// sgr applies the parameters of Select Graphic Rendition. Colours are taken in
// the form with semicolons that programs write and in that with colons that ISO
// 8613-6 wants.
func (s Style) sgr(args []byte) Style {
	if len(args) <= 2 { // most
		n := 0
		for _, c := range args {
			if c < '0' || c > '9' {
				n = -1
				break
			}
			n = 10*n + int(c-'0')
		}
		if n >= 0 && n != 38 && n != 48 {
			s.set(n)
			return s
		}
	}
	for _, c := range args {
		if (c < '0' || c > '9') && c != ';' && c != ':' {
			return s // a private sequence that also ends in m
		}
	}
	for more := true; more; {
		var p []byte
		p, args, more = bytes.Cut(args, []byte{';'})
		main, sub, has := bytes.Cut(p, []byte{':'})
		n := number(main)
		switch {
		case n == 38 || n == 48 || n == 58:
			var c Color
			var ok bool
			if has {
				c, ok = subColor(sub)
			} else {
				c, args, more, ok = nextColor(args, more)
			}
			switch {
			case !ok:
			case n == 38:
				s.Fg = c
			case n == 48:
				s.Bg = c
			}
		case n == 4 && has && number(sub) == 0:
			s.Attr &^= Underline
		default:
			s.set(n)
		}
	}
	return s
}

// number is a parameter; an empty one is 0, a senseless one a number that means nothing.
func number(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n >= 1<<16 {
			return 1 << 16
		}
		n = 10*n + int(c-'0')
	}
	return min(n, 1<<16)
}

// nextColor reads 5;N or 2;R;G;B.
func nextColor(args []byte, more bool) (c Color, rest []byte, still, ok bool) {
	take := func() int {
		if !more {
			return -1
		}
		var p []byte
		p, args, more = bytes.Cut(args, []byte{';'})
		return number(p)
	}
	switch take() {
	case 5:
		n := take()
		return colorIndexed | Color(n&0xff), args, more, n >= 0 && n <= 255
	case 2:
		r, g, b := take(), take(), take()
		c, ok = rgb(r, g, b)
		return c, args, more, ok
	}
	return 0, args, more, false
}

// subColor reads 5:N, 2:R:G:B or 2:SPACE:R:G:B.
func subColor(b []byte) (Color, bool) {
	p := bytes.Split(b, []byte{':'})
	switch {
	case len(p) == 2 && number(p[0]) == 5:
		n := number(p[1])
		return colorIndexed | Color(n&0xff), n <= 255
	case len(p) >= 4 && number(p[0]) == 2:
		if len(p) > 4 {
			p = p[1:]
		}
		return rgb(number(p[1]), number(p[2]), number(p[3]))
	}
	return 0, false
}

func rgb(r, g, b int) (Color, bool) {
	ok := min(r, g, b) >= 0 && max(r, g, b) <= 255
	return colorRGB | Color(r&0xff)<<16 | Color(g&0xff)<<8 | Color(b&0xff), ok
}

// set applies a parameter that stands alone.
func (s *Style) set(n int) {
	on := [...]Attr{1: Bold, 2: Faint, 3: Italic, 4: Underline, 5: Blink, 6: Blink, 7: Inverse, 8: Conceal, 9: Strike}
	off := [...]Attr{22: Bold | Faint, 23: Italic, 24: Underline, 25: Blink, 27: Inverse, 28: Conceal, 29: Strike}
	switch {
	case n == 0:
		*s = Style{}
	case n < len(on):
		s.Attr |= on[n]
	case n == 21:
		s.Attr |= Underline
	case n >= 22 && n < len(off):
		s.Attr &^= off[n]
	case n >= 30 && n <= 37:
		s.Fg = colorIndexed | Color(n-30)
	case n == 39:
		s.Fg = 0
	case n >= 40 && n <= 47:
		s.Bg = colorIndexed | Color(n-40)
	case n == 49:
		s.Bg = 0
	case n >= 90 && n <= 97:
		s.Fg = colorIndexed | Color(n-90+8)
	case n >= 100 && n <= 107:
		s.Bg = colorIndexed | Color(n-100+8)
	}
}

// InText reports whether no escape sequence goes on: the next byte is text.
func (d *Decoder) InText() bool { return d.mode == inText }
