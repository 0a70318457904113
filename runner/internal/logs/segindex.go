package logs

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"os"
	"slices"
)

// The index file of a segment, little endian:
//
//	file header (segment, generation)
//	covers u64, zero u64, count u32, unfinished u32, lowest id, highest id, crc of the body u32, zero u64, crc of this u32
//	body: positions of unfinished entries (u32 each), entries sorted by id (40 bytes each)
//	marks: for every 32 entries a word of bits, set when the log is dead, and the word's crc
//
// Marks are written in place, 8 bytes at a time; a word whose crc is wrong
// counts as zero: a log comes back rather than being lost.
const (
	indexHead  = 56
	indexStart = fileHeader + indexHead
	// maxEntries bounds what is read: a segment of 1 GiB with nothing but empty logs.
	maxEntries = 16 << 20
)

// segIndex is what is kept in memory of an index file.
type segIndex struct {
	covers     int64 // bytes of the segment it describes
	count      int
	unfinished []uint32
	min, max   int64
	body       uint32 // crc
	dead       []uint32
	deadBytes  int64
	deadCount  int
	loaded     bool // body checked, marks read
}

func (x *segIndex) entries() int64 { return indexStart + 4*int64(len(x.unfinished)) }
func (x *segIndex) marks() int64   { return x.entries() + entrySize*int64(x.count) }

// encodeIndex makes an index file of entries, which it sorts.
func encodeIndex(g *segment, covers int64, es []entry) ([]byte, *segIndex) {
	slices.SortFunc(es, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	le := binary.LittleEndian
	x := &segIndex{covers: covers, count: len(es), dead: make([]uint32, (len(es)+31)/32), loaded: true}
	var body []byte
	for i := range es {
		if es[i].flags&(flagFinished|flagDead) == 0 {
			x.unfinished = append(x.unfinished, uint32(i))
			body = le.AppendUint32(body, uint32(i))
		}
	}
	body = slices.Grow(body, entrySize*len(es))
	for i, e := range es {
		if e.flags&flagDead != 0 {
			x.kill(i, e.size)
		}
		body = le.AppendUint64(body, uint64(e.id))
		for _, v := range [...]uint32{e.off, e.span, e.size, e.recs, e.lines, e.bytes, e.dropped, e.flags &^ flagDead} {
			body = le.AppendUint32(body, v)
		}
	}
	if len(es) > 0 {
		x.min, x.max = es[0].id, es[len(es)-1].id
	}
	x.body = crc32.Checksum(body, castagnoli)
	b := appendFileHeader(make([]byte, 0, indexStart+len(body)+8*len(x.dead)), magicIndex, uint64(g.n), uint64(g.gen))
	b = le.AppendUint64(b, uint64(covers))
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, uint32(x.count))
	b = le.AppendUint32(b, uint32(len(x.unfinished)))
	b = le.AppendUint64(b, uint64(x.min))
	b = le.AppendUint64(b, uint64(x.max))
	b = le.AppendUint32(b, x.body)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, crc32.Checksum(b[fileHeader:], castagnoli))
	b = append(b, body...)
	for i := range x.dead {
		b = append(b, x.mark(i)...)
	}
	return b, x
}

// mark encodes word i of the dead bits.
func (x *segIndex) mark(i int) []byte {
	var w [8]byte
	le := binary.LittleEndian
	le.PutUint32(w[:], x.dead[i])
	le.PutUint32(w[4:], markSum(w[:4], i))
	return w[:]
}

func markSum(word []byte, i int) uint32 {
	return crc32.Update(uint32(i)+1, castagnoli, word)
}

// parseMark decodes word i of the dead bits; none is set in a damaged one.
func parseMark(w []byte, i int) uint32 {
	le := binary.LittleEndian
	if le.Uint32(w[4:]) != markSum(w[:4], i) {
		return 0
	}
	return le.Uint32(w)
}

func (x *segIndex) kill(i int, size uint32) {
	if !x.isDead(i) {
		x.dead[i/32] |= 1 << (i % 32)
		x.deadCount++
		x.deadBytes += int64(size)
	}
}

func (x *segIndex) isDead(i int) bool { return x.dead[i/32]&(1<<(i%32)) != 0 }

// openIndex reads the head of g's index file; entries and marks follow when they
// are needed.
func openIndex(g *segment) (*segIndex, error) {
	f, err := os.Open(g.index())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, gen, err := checkFileHeader(f, magicIndex)
	if err != nil {
		return nil, err
	}
	var h [indexHead]byte
	if _, err := f.ReadAt(h[:], fileHeader); err != nil {
		return nil, fmt.Errorf("read index header: %w", err)
	}
	le := binary.LittleEndian
	x := &segIndex{
		covers: int64(le.Uint64(h[0:])),
		count:  int(le.Uint32(h[16:])),
		min:    int64(le.Uint64(h[24:])),
		max:    int64(le.Uint64(h[32:])),
		body:   le.Uint32(h[40:]),
	}
	unfinished := int(le.Uint32(h[20:]))
	if crc32.Checksum(h[:indexHead-4], castagnoli) != le.Uint32(h[indexHead-4:]) || n != uint64(g.n) || gen != uint64(g.gen) ||
		x.count > maxEntries || unfinished > x.count || x.covers < fileHeader {
		return nil, fmt.Errorf("%w: bad header of index %s", ErrCorrupt, g.name())
	}
	if unfinished > 0 {
		b := make([]byte, 4*unfinished)
		if _, err := f.ReadAt(b, indexStart); err != nil {
			return nil, fmt.Errorf("read index %s: %w", g.name(), err)
		}
		for i := range unfinished {
			x.unfinished = append(x.unfinished, le.Uint32(b[4*i:]))
		}
	}
	return x, nil
}

// pending says whether an unfinished entry may be alive, without reading all.
func (x *segIndex) pending(path string) bool {
	if len(x.unfinished) == 0 {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	for _, i := range x.unfinished {
		var w [8]byte
		if _, err := f.ReadAt(w[:], x.marks()+8*int64(i/32)); err != nil || parseMark(w[:], int(i/32))&(1<<(i%32)) == 0 {
			return true
		}
	}
	return false
}

// load checks the body and reads the marks, once.
func (x *segIndex) load(path string) error {
	if x.loaded {
		return nil
	}
	return x.each(path, nil)
}

// each calls f, if not nil, with every entry; dead ones carry flagDead.
func (x *segIndex) each(path string, f func(entry)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	words := (x.count + 31) / 32
	if int64(len(b)) != x.marks()+8*int64(words) || crc32.Checksum(b[indexStart:x.marks()], castagnoli) != x.body {
		return fmt.Errorf("%w: bad checksum of index %s", ErrCorrupt, path)
	}
	if !x.loaded {
		x.dead = make([]uint32, words)
		for i := range x.dead {
			x.dead[i] = parseMark(b[x.marks()+8*int64(i):], i)
			x.deadCount += bits.OnesCount32(x.dead[i])
		}
		for i := range x.count {
			if x.isDead(i) {
				x.deadBytes += int64(parseEntry(b[x.entries()+entrySize*int64(i):]).size)
			}
		}
		x.loaded = true
	}
	if f == nil {
		return nil
	}
	for i := range x.count {
		e := parseEntry(b[x.entries()+entrySize*int64(i):])
		if x.isDead(i) {
			e.flags |= flagDead
		}
		f(e)
	}
	return nil
}

func parseEntry(b []byte) entry {
	le := binary.LittleEndian
	return entry{
		id:      int64(le.Uint64(b)),
		off:     le.Uint32(b[8:]),
		span:    le.Uint32(b[12:]),
		size:    le.Uint32(b[16:]),
		recs:    le.Uint32(b[20:]),
		lines:   le.Uint32(b[24:]),
		bytes:   le.Uint32(b[28:]),
		dropped: le.Uint32(b[32:]),
		flags:   le.Uint32(b[36:]) &^ flagDead,
	}
}

// find returns the position and entry of a log, or -1.
func (x *segIndex) find(path string, id int64) (int, entry, error) {
	if x.count == 0 || id < x.min || id > x.max {
		return -1, entry{}, nil
	}
	if err := x.load(path); err != nil {
		return -1, entry{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return -1, entry{}, err
	}
	defer f.Close()
	lo, hi := 0, x.count
	var b [entrySize]byte
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if _, err := f.ReadAt(b[:], x.entries()+entrySize*int64(m)); err != nil {
			return -1, entry{}, fmt.Errorf("read index %s: %w", path, err)
		}
		switch e := parseEntry(b[:]); {
		case e.id == id:
			return m, e, nil
		case e.id < id:
			lo = m + 1
		default:
			hi = m
		}
	}
	return -1, entry{}, nil
}

// bury marks the log at position i as dead, in memory and in the file.
func (x *segIndex) bury(path string, i int, size uint32) error {
	x.kill(i, size)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(x.mark(i/32), x.marks()+8*int64(i/32))
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// writeFile puts b at path by way of a temporary file and a rename.
func writeFile(path string, b []byte, sync bool) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(bytes.NewReader(b))
	if err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
