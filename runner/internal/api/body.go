package api

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"hash/maphash"
	"sync"
)

// body is the text of an answer in parts. A part never changes, and belongs to
// each answer that has it: when one worker of a thousand changes, the others are
// neither copied nor compressed again.
type body []*part

type part struct {
	text []byte
	sum  uint64 // of the text, by the seed of the one [etags]

	once   sync.Once
	zipped []byte // raw deflate (RFC 1951) that ends at a byte, and refers to nothing outside
	crc    uint32 // of the text
}

// size is the number of bytes of the text.
func (b body) size() int {
	n := 0
	for _, p := range b {
		n += len(p.text)
	}
	return n
}

// bytes is the whole text, not to be changed.
func (b body) bytes() []byte {
	if len(b) == 1 {
		return b[0].text
	}
	all := make([]byte, 0, b.size())
	for _, p := range b {
		all = append(all, p.text...)
	}
	return all
}

// sum names the text as it is in its parts.
func (b body) sum(seed maphash.Seed) uint64 {
	if len(b) == 1 {
		return b[0].sum
	}
	all := make([]byte, 0, 8*len(b))
	for _, p := range b {
		all = binary.LittleEndian.AppendUint64(all, p.sum)
	}
	return maphash.Bytes(seed, all)
}

// zippers are *flate.Writer.
type zippers struct{ pool sync.Pool }

// zip compresses the part, once for all who ask.
func (p *part) zip(z *zippers) {
	p.once.Do(func() {
		var buf bytes.Buffer
		w, _ := z.pool.Get().(*flate.Writer)
		if w == nil {
			w, _ = flate.NewWriter(&buf, flate.BestSpeed) // the level is valid
		}
		w.Reset(&buf)
		w.Write(p.text) // into memory: it cannot fail
		w.Flush()       // to a whole byte (Z_SYNC_FLUSH)
		z.pool.Put(w)
		p.zipped, p.crc = buf.Bytes(), crc32.ChecksumIEEE(p.text)
	})
}

// gzipHead is a header of RFC 1952 without a name or a time, from an unknown
// system.
var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

// gzip returns the text as one gzip member, in parts.
func (b body) gzip(z *zippers) [][]byte {
	all := make([][]byte, 0, len(b)+2)
	all = append(all, gzipHead)
	var crc, size uint32
	for _, p := range b {
		p.zip(z)
		all = append(all, p.zipped)
		crc = joinCRC(crc, p.crc, len(p.text))
		size += uint32(len(p.text))
	}
	end := []byte{3, 0} // the last block, with nothing in it: RFC 1951, 3.2.6
	end = binary.LittleEndian.AppendUint32(end, crc)
	return append(all, binary.LittleEndian.AppendUint32(end, size))
}

// joinCRC is the CRC-32 of two texts, one behind the other, out of those of each
// and the length of the second. That of the first is multiplied by x^(8n) modulo
// the polynomial; bits are reflected, so 1<<31 is 1.
func joinCRC(first, second uint32, n int) uint32 {
	factor, square := uint32(1<<31), uint32(1<<23) // x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			factor = timesCRC(factor, square)
		}
		square = timesCRC(square, square)
	}
	return timesCRC(first, factor) ^ second
}

// timesCRC multiplies two polynomials modulo that of CRC-32.
func timesCRC(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(1 << 31); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return product
}
