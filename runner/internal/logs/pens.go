package logs

import "encoding/binary"

// Behind the points a trailer holds what a terminal is in the middle of at them,
// for those where that is anything: how far on from the last such point, then for
// each stream foreground, background, attributes, mode, length and bytes of the
// parameters.

// maxPen is the size of one stream's part: three varints of up to 5 bytes, two
// of up to 2, and the parameters.
const maxPen = 3*5 + 2*2 + maxArgs

func appendPens(dst []byte, points []point) []byte {
	u := binary.AppendUvarint
	last := -1
	for i := range points {
		pens := points[i].pens
		if pens == nil {
			continue
		}
		dst = u(dst, uint64(i-last))
		last = i
		for _, d := range pens {
			dst = u(dst, uint64(d.Style.Fg))
			dst = u(dst, uint64(d.Style.Bg))
			dst = u(dst, uint64(d.Style.Attr))
			dst = u(dst, uint64(d.mode))
			dst = u(dst, uint64(d.n))
			dst = append(dst, d.args[:min(d.n, maxArgs)]...)
		}
	}
	return dst
}

// parsePens fills in what appendPens wrote; false: it is not that.
func parsePens(b []byte, points []point) bool {
	ok := true
	u := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	at := -1
	for len(b) > 0 {
		by := u(maxPoints)
		if at += int(by); by == 0 || at >= len(points) {
			return false
		}
		pens := new([streams]Decoder)
		for i := range pens {
			d := &pens[i]
			d.Style.Fg = Color(u(colorRGB | 0xffffff))
			d.Style.Bg = Color(u(colorRGB | 0xffffff))
			d.Style.Attr = Attr(u(0xffff))
			d.mode = byte(u(inStringEscape))
			d.n = uint8(u(maxArgs + 1))
			n := int(min(d.n, maxArgs))
			if !ok || n > len(b) {
				return false
			}
			copy(d.args[:], b[:n])
			b = b[n:]
		}
		points[at].pens = pens
	}
	return true
}
