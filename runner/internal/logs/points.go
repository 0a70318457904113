package logs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
)

// A point is a place in an own file where reading may begin: the line index.
type point struct {
	off  int64 // of the record to begin at
	raw  int64 // payload bytes before that record
	line int64 // number of the first line that is complete after the point
	// from holds, per stream, the raw position of the first byte that belongs to
	// line `line` or later; earlier bytes after off are already counted.
	from [streams]int64
	pens *[streams]Decoder // at these bytes; nil: nothing was ever drawn but plainly
	at   int64             // raw position the point was made for; not stored
}

const (
	pointEvery = 256 << 10 // raw bytes between points, doubled when there are too many
	maxPoints  = 4096      // bounds the memory of a log of any length
)

// index collects points while a log is written.
type index struct {
	points []point
	every  int64
}

// mark adds a point for the record that will begin at off, if one is due.
func (x *index) mark(s *splitter, off int64) {
	if n := len(x.points); n > 0 && s.raw-x.points[n-1].at < x.every {
		return
	}
	if x.every == 0 {
		x.every = pointEvery
	}
	if len(x.points) == maxPoints {
		x.every *= 2
		half := make([]point, 0, maxPoints)
		for i := 0; i < maxPoints; i += 2 {
			half = append(half, x.points[i])
		}
		x.points = half // a new slice: readers hold the old one
	}
	p := point{off: off, raw: s.raw, line: s.lines, at: s.raw}
	pens := s.pens
	for i := range s.open {
		o := &s.open[i]
		p.from[i] = s.raw
		if o.n > 0 {
			p.from[i], pens[i] = o.start, o.pen
			if o.offRaw < p.raw {
				p.off, p.raw = o.off, o.offRaw
			}
		}
	}
	if pens != ([streams]Decoder{}) {
		p.pens = &pens
	}
	x.points = append(x.points, p)
}

// seek returns the last point at or before line, and false if there is none.
func seek(points []point, line int64) (point, bool) {
	i := sort.Search(len(points), func(i int) bool { return points[i].line > line })
	if i == 0 {
		return point{}, false
	}
	return points[i-1], true
}

// A trailer ends every finished own file: what is known of the log, and its
// points, so that any line is found without reading what comes before.
type trailer struct {
	Lines, Bytes, Dropped int64
	Flags                 byte
	Records               uint32
	End                   int64 // where the records end
	points                []point
}

// The trailer's tail: length of its body, crc32c of the body, magic.
const trailerTail = 16

// maxTrailer bounds what is read: maxPoints, 6 varints of up to 10 bytes each,
// and what a terminal is in the middle of at each.
const maxTrailer = (60+10+streams*maxPen)*maxPoints + 128

func (t *trailer) append(dst []byte) []byte {
	at := len(dst)
	u := binary.AppendUvarint
	dst = append(dst, t.Flags)
	dst = u(dst, uint64(t.Lines))
	dst = u(dst, uint64(t.Bytes))
	dst = u(dst, uint64(t.Dropped))
	dst = u(dst, uint64(t.Records))
	dst = u(dst, uint64(t.End))
	dst = u(dst, uint64(len(t.points)))
	var last point
	for _, p := range t.points {
		dst = u(dst, uint64(p.off-last.off))
		dst = u(dst, uint64(p.raw-last.raw))
		dst = u(dst, uint64(p.line-last.line))
		for i := range p.from {
			dst = u(dst, uint64(p.from[i]-p.raw))
		}
		last = p
	}
	dst = appendPens(dst, t.points)
	body := dst[at:]
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, castagnoli))
	return append(dst, magicTrailer...)
}

// readTrailer reads the trailer that ends at size. It returns an error wrapping
// [ErrCorrupt] when there is none.
func readTrailer(src io.ReaderAt, size int64) (*trailer, error) {
	le := binary.LittleEndian
	var tail [trailerTail]byte
	if size < trailerTail {
		return nil, fmt.Errorf("%w: no trailer", ErrCorrupt)
	}
	if _, err := src.ReadAt(tail[:], size-trailerTail); err != nil {
		return nil, fmt.Errorf("read log trailer: %w", err)
	}
	n := int64(le.Uint32(tail[:]))
	if string(tail[8:]) != magicTrailer || n > maxTrailer || n > size-trailerTail {
		return nil, fmt.Errorf("%w: no trailer", ErrCorrupt)
	}
	body := make([]byte, n)
	if _, err := src.ReadAt(body, size-trailerTail-n); err != nil {
		return nil, fmt.Errorf("read log trailer: %w", err)
	}
	if crc32.Checksum(body, castagnoli) != le.Uint32(tail[4:]) {
		return nil, fmt.Errorf("%w: bad checksum of the trailer", ErrCorrupt)
	}
	return parseTrailer(body)
}

func parseTrailer(b []byte) (*trailer, error) {
	bad := fmt.Errorf("%w: bad trailer", ErrCorrupt)
	if len(b) == 0 {
		return nil, bad
	}
	t := &trailer{Flags: b[0]}
	b = b[1:]
	ok := true
	u := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<62 {
			ok = false
			return 0
		}
		b = b[n:]
		return int64(v)
	}
	t.Lines, t.Bytes, t.Dropped = u(), u(), u()
	t.Records, t.End = uint32(u()), u()
	n := u()
	if !ok || n > maxPoints || t.End < fileHeader {
		return nil, bad
	}
	t.points = make([]point, 0, n)
	var last point
	for range n {
		p := point{off: last.off + u(), raw: last.raw + u(), line: last.line + u()}
		for i := range p.from {
			p.from[i] = p.raw + u()
		}
		if !ok || p.off < fileHeader || p.off > t.End || p.raw > t.Bytes || p.line > t.Lines {
			return nil, bad
		}
		t.points = append(t.points, p)
		last = p
	}
	if !parsePens(b, t.points) {
		return nil, bad
	}
	return t, nil
}
