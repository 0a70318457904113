package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A segment holds the records of many small logs in the order in which they
// came. Only the newest one is appended to. Segment N keeps its number for ever;
// compaction writes it anew as the next generation, a file of another name, so
// a reference to it stays valid and the switch is one rename.
//
// What is where in a segment is said by the index file beside it (base, see
// segindex.go) and, for what was appended since that was written, by fresh.
type segment struct {
	n, gen uint32
	dir    string
	h      *handle // open for appending; nil: not
	size   int64   // end of the last good record
	torn   error   // of a failed write: bytes behind size must be cut before the next
	base   *segIndex
	fresh  map[int64]entry
	late   []int64 // ids that died while an index was being written from fresh
	busy   bool    // a job works on the segment's files
	gone   bool    // deleted
}

// An entry says where a log lies in a segment.
type entry struct {
	id      int64
	off     uint32 // of its first record
	span    uint32 // from there to the end of its last record; other logs' records may lie between
	size    uint32 // of its own records
	recs    uint32
	lines   uint32
	bytes   uint32 // of payload
	dropped uint32 // at most math.MaxUint32
	flags   uint32
}

// end notes what a finish record says.
func (e *entry) end(r *record) {
	lines, n, dropped := r.finish()
	e.lines, e.bytes, e.dropped = uint32(lines), uint32(n), uint32(min(dropped, math.MaxUint32))
	e.flags |= flagFinished | uint32(r.flags)
}

const entrySize = 40

func (g *segment) name() string  { return fmt.Sprintf("seg-%08d-%d", g.n, g.gen) }
func (g *segment) path() string  { return filepath.Join(g.dir, g.name()+".seg") }
func (g *segment) index() string { return filepath.Join(g.dir, g.name()+".idx") }

// parseSegmentName takes "seg-NNNNNNNN-G" apart.
func parseSegmentName(name string) (n, gen uint32, ok bool) {
	rest, ok := strings.CutPrefix(name, "seg-")
	a, b, ok2 := strings.Cut(rest, "-")
	x, err := strconv.ParseUint(a, 10, 32)
	y, err2 := strconv.ParseUint(b, 10, 32)
	return uint32(x), uint32(y), ok && ok2 && err == nil && err2 == nil
}

// note records in fresh that r lies at off. A log that begins a second time was
// copied to where it is continued; older keeps what it was before, in case the
// copy is torn.
func (g *segment) note(r *record, off int64, older map[int64]entry) {
	e, ok := g.fresh[r.id]
	if ok && r.seq == 0 {
		if e.recs >= older[r.id].recs {
			older[r.id] = e
		}
		ok = false
	}
	if !ok {
		e = entry{id: r.id, off: uint32(off)}
	}
	if r.seq != e.recs || e.flags&flagFinished != 0 {
		return // of no log that is known: nothing the store writes
	}
	e.span = uint32(off + int64(r.size()) - int64(e.off))
	e.size += uint32(r.size())
	e.recs = r.seq + 1
	if r.kind == kindFinish {
		e.end(r)
	}
	g.fresh[r.id] = e
}

// scan reads the records from off on into fresh and returns the end of the last
// good one and, if something is wrong behind it, what its header says.
func (g *segment) scan(src io.ReaderAt, off, size int64) (end int64, bad record, err error) {
	rs := records{src: src, off: off, end: size}
	older := map[int64]entry{}
	defer func() {
		for id, e := range older {
			if e.recs > g.fresh[id].recs {
				g.fresh[id] = e
			}
		}
	}()
	for {
		r, at, err := rs.next()
		switch {
		case err == io.EOF:
			return rs.off, record{}, nil
		case errors.Is(err, ErrCorrupt):
			return rs.off, r, nil
		case err != nil:
			return rs.off, record{}, err
		}
		g.note(&r, at, older)
	}
}

// newSegment makes the next segment the one that is appended to. s.mu is held.
func (s *Store) newSegment() error {
	g := &segment{n: s.last + 1, gen: 1, dir: s.dir, fresh: map[int64]entry{}}
	f, err := s.openFile(g.path(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("create log segment: %w", err)
	}
	if _, err := f.WriteAt(appendFileHeader(nil, magicSegment, uint64(g.n), uint64(g.gen)), 0); err != nil {
		return errors.Join(fmt.Errorf("create log segment %s: %w", g.name(), err), f.Close(), os.Remove(g.path()))
	}
	g.h, g.size = &handle{f: f, dir: s.dir}, fileHeader
	s.last = g.n
	s.segs[g.n] = g
	if old := s.active; old != nil {
		s.seal(old)
	}
	s.active = g
	return nil
}

// seal ends appending to g: once it is synced it is closed and indexed. s.mu is held.
func (s *Store) seal(g *segment) {
	h := g.h
	g.h = nil
	s.syncs.last(h)
	s.syncs.after(func() { s.job(func() error { return s.writeIndex(g) }) })
}

// smallTail is how much of a segment is rather read when the store is opened
// than indexed when it is closed: about 1 ms.
const smallTail = 512 << 10

// worthIndex says whether the index should be written. Marks on logs that are
// not in it yet would be lost.
func (g *segment) worthIndex() bool {
	covers := int64(fileHeader)
	if g.base != nil {
		covers = g.base.covers
	}
	if g.size-covers > smallTail {
		return true
	}
	for _, e := range g.fresh {
		if e.flags&flagDead != 0 {
			return true
		}
	}
	return false
}

// cut removes what a failed append left behind the last good record.
func (g *segment) cut() error {
	if g.torn == nil {
		return nil
	}
	if err := g.h.f.Truncate(g.size); err != nil {
		return fmt.Errorf("cut %s: %w (after: %w)", g.name(), err, g.torn)
	}
	g.torn = nil
	return nil
}

// appendShared writes b, whole records of w of which last is the last one, to
// the active segment. Records w has in an older segment are copied before them.
// Nothing has changed when it returns an error.
func (s *Store) appendShared(w *Writer, b []byte, last *record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.active == nil {
		if err := s.newSegment(); err != nil {
			return err
		}
	}
	room := int64(len(b)) + int64(w.size)
	if s.active.size+room > s.o.SegmentBytes && s.active.size > fileHeader {
		if err := s.newSegment(); err != nil {
			return err
		}
	}
	g := s.active
	e, here := g.fresh[w.id]
	old := w.seg
	if old != nil && !(here && old == g) {
		carry, err := s.recordsOf(old.n, w.id)
		if err != nil {
			return fmt.Errorf("move log %d to a new segment: %w", w.id, err)
		}
		b = append(carry, b...)
		here = false
	}
	if !here {
		e = entry{id: w.id, off: uint32(g.size)}
	}
	if err := g.cut(); err != nil {
		return err
	}
	if _, err := g.h.f.WriteAt(b, g.size); err != nil {
		g.torn = err
		return errors.Join(fmt.Errorf("write log segment: %w", err), g.cut())
	}
	g.size += int64(len(b))
	e.span = uint32(g.size - int64(e.off))
	e.size += uint32(len(b))
	e.recs = last.seq + 1
	if last.kind == kindFinish {
		e.end(last)
	}
	g.fresh[w.id] = e
	s.syncs.mark(g.h)
	w.seg, w.size = g, int64(e.size)
	if old != nil && old != g {
		id := w.id
		s.syncs.after(func() { s.bury(old.n, id) })
	}
	return nil
}

// recordsOf returns the records of a log in a segment, at most a shared log's
// size of them. s.mu is held.
func (s *Store) recordsOf(n uint32, id int64) ([]byte, error) {
	g := s.segs[n] // a Writer's own pointer may be to an older generation
	if g == nil {
		return nil, fmt.Errorf("%w: log %d in segment %d", ErrNotFound, id, n)
	}
	e, err := g.find(id)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(g.path())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rs := records{src: f, off: int64(e.off), end: int64(e.off) + int64(e.span), id: id, only: true}
	var b []byte
	for {
		r, _, err := rs.next()
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		b = appendRecord(b, &r)
	}
}

// find returns the entry of a log that is in the segment and not dead. s.mu is held.
func (g *segment) find(id int64) (entry, error) {
	e, ok := g.fresh[id]
	if !ok && g.base != nil && !g.gone {
		pos, b, err := g.base.find(g.index(), id)
		if damaged(err) {
			if err := g.rebuild(); err != nil {
				return entry{}, err
			}
			return g.find(id)
		}
		if err != nil {
			return entry{}, err
		}
		if pos >= 0 {
			e, ok = b, true
			if g.base.isDead(pos) {
				e.flags |= flagDead
			}
		}
	}
	if !ok || e.flags&flagDead != 0 {
		return entry{}, fmt.Errorf("%w: log %d in segment %d", ErrNotFound, id, g.n)
	}
	return e, nil
}

// each calls f with every entry of the segment; dead ones carry flagDead. s.mu
// is held.
func (g *segment) each(f func(entry)) error {
	if g.base != nil && !g.gone {
		err := g.base.load(g.index())
		if err == nil {
			err = g.base.each(g.index(), func(e entry) {
				if _, ok := g.fresh[e.id]; !ok {
					f(e)
				}
			})
		} else if damaged(err) {
			err = g.rebuild()
		}
		if err != nil {
			return err
		}
	}
	for _, e := range g.fresh {
		f(e)
	}
	return nil
}

// damaged says whether an index file can not be used and must be made anew.
func damaged(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist)
}

// rebuild reads the segment instead of its index, which is written anew when the
// store is closed. What was dead is alive again, except what is marked in fresh.
func (g *segment) rebuild() error {
	f, err := os.Open(g.path())
	if err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	defer f.Close()
	old := g.fresh
	g.base, g.fresh = nil, map[int64]entry{}
	_, _, err = g.scan(f, fileHeader, g.size)
	for id, e := range old {
		g.fresh[id] = e
	}
	if err != nil {
		return fmt.Errorf("rebuild index of %s: %w", g.name(), err)
	}
	return nil
}
