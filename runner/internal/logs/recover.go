package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bothy/runner/worker"
)

// tail is what was cut off a file: bytes, and the log they seem to be of.
type tail struct {
	bytes int64
	id    int64
}

// place is one of the places where records of an unfinished log were found.
type place struct {
	seg *segment
	own *rescan // nil: in seg
	e   entry
}

// recover makes the store ready. It reads the head of every index, the records
// behind the last index, and own files that were not finished: after a clean
// Close there are none of the latter two.
func (s *Store) recover() error {
	segs, err := s.listSegments()
	if err != nil {
		return err
	}
	cuts := map[int64]int64{} // log id → bytes of a torn record
	unfinished := map[int64][]place{}
	for i, g := range segs {
		cut, err := s.openSegment(g, i == len(segs)-1)
		if err != nil {
			return err
		}
		if cut.bytes > 0 {
			cuts[cut.id] += cut.bytes
		}
		if s.segs[g.n] == nil {
			continue
		}
		es, err := g.unfinished()
		if err != nil {
			return err
		}
		for _, e := range es {
			unfinished[e.id] = append(unfinished[e.id], place{seg: g, e: e})
		}
	}
	if err := s.recoverOwn(unfinished, cuts); err != nil {
		return err
	}
	s.noteDone()
	for id, ps := range unfinished {
		if err := s.interrupted(id, ps, cuts[id]); err != nil {
			s.log.Error("finish interrupted log", "log", id, "err", err)
		}
	}
	return nil
}

// listSegments returns the newest generation of every segment by number, and
// removes what an interrupted compaction or index left.
func (s *Store) listSegments() ([]*segment, error) {
	des, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	newest := map[uint32]*segment{}
	for _, de := range des {
		base, ok := strings.CutSuffix(de.Name(), ".seg")
		n, gen, named := parseSegmentName(base)
		if have := newest[n]; ok && named && (have == nil || have.gen < gen) {
			newest[n] = &segment{n: n, gen: gen, dir: s.dir}
		}
	}
	for _, de := range des {
		base, ext, _ := strings.Cut(de.Name(), ".")
		n, gen, named := parseSegmentName(base)
		g := newest[n]
		if named && g != nil && g.gen == gen && (ext == "seg" || ext == "idx") || !named && ext != "tmp" {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, de.Name())); err != nil {
			s.log.Warn("remove stale log file", "file", de.Name(), "err", err)
		}
	}
	var segs []*segment
	for _, g := range newest {
		segs = append(segs, g)
	}
	slices.SortFunc(segs, func(a, b *segment) int { return int(a.n) - int(b.n) })
	return segs, nil
}

// openSegment takes a segment into the store. newest: it may be appended to.
func (s *Store) openSegment(g *segment, newest bool) (tail, error) {
	s.last = max(s.last, g.n)
	st, err := os.Stat(g.path())
	if err != nil {
		return tail{}, err
	}
	size := st.Size()
	x, err := openIndex(g)
	switch {
	case err == nil && x.covers <= size:
		g.base, g.size = x, x.covers
		s.maxID = max(s.maxID, x.max)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.log.Warn("log index is not usable and is made anew", "segment", g.name(), "err", err)
	}
	if g.base != nil && g.size == size && (!newest || size >= s.o.SegmentBytes) {
		s.segs[g.n] = g
		return tail{}, nil
	}
	f, err := s.openFile(g.path(), os.O_RDWR)
	if err != nil {
		return tail{}, err
	}
	if _, _, err := checkFileHeader(f, magicSegment); err != nil {
		s.log.Error("log segment is not usable", "segment", g.name(), "bytes", size, "err", err)
		err := f.Close()
		if size <= fileHeader {
			err = errors.Join(err, os.Remove(g.path()))
		}
		return tail{}, err
	}
	h := &handle{f: f, dir: s.dir}
	var cut tail
	from := max(g.size, fileHeader)
	g.fresh = map[int64]entry{}
	g.size = from
	if size > from {
		end, bad, err := g.scan(f, from, size)
		if err != nil {
			return tail{}, errors.Join(fmt.Errorf("scan log segment %s: %w", g.name(), err), f.Close())
		}
		g.size = end
		if end < size {
			cut = tail{bytes: size - end, id: bad.id}
			s.log.Warn("cut the torn end of a log segment", "segment", g.name(), "offset", end, "bytes", cut.bytes, "log", bad.id)
			if newest {
				if err := f.Truncate(end); err != nil {
					return tail{}, errors.Join(fmt.Errorf("cut log segment %s: %w", g.name(), err), f.Close())
				}
			}
		}
		s.syncs.mark(h)
	}
	for id := range g.fresh {
		s.maxID = max(s.maxID, id)
	}
	s.segs[g.n] = g
	g.h = h
	if newest && g.size < s.o.SegmentBytes {
		s.active = g
		return cut, nil
	}
	if !newest {
		g.size = size // what is behind the damage is left where it is
	}
	s.seal(g)
	return cut, nil
}

// unfinished returns the logs of the segment that have no end and are not known
// to be continued elsewhere.
func (g *segment) unfinished() ([]entry, error) {
	var es []entry
	if len(g.fresh) == 0 && (g.base == nil || !g.base.pending(g.index())) {
		return nil, nil
	}
	err := g.each(func(e entry) {
		if e.flags&(flagFinished|flagDead) == 0 {
			es = append(es, e)
		}
	})
	return es, err
}

// recoverOwn looks at the files of logs that are not compressed yet.
func (s *Store) recoverOwn(unfinished map[int64][]place, cuts map[int64]int64) error {
	des, err := os.ReadDir(filepath.Join(s.dir, "live"))
	if err != nil {
		return err
	}
	for _, de := range des {
		id, ok := ownID(de.Name())
		if !ok {
			continue
		}
		s.maxID = max(s.maxID, id)
		if err := s.recoverFile(id, unfinished, cuts); err != nil {
			s.log.Error("recover log file", "log", id, "err", err)
		}
	}
	return nil
}

func (s *Store) recoverFile(id int64, unfinished map[int64][]place, cuts map[int64]int64) error {
	path := s.livePath(id)
	if _, err := os.Stat(s.donePath(id)); err == nil {
		delete(unfinished, id)
		return os.Remove(path) // its compressed form is complete: it was renamed into place
	}
	f, err := s.openFile(path, os.O_RDWR)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	size := st.Size()
	h := &handle{f: f, dir: filepath.Dir(path)}
	if _, err := readTrailer(f, size); err == nil {
		s.finishedOwn(id, h, unfinished)
		return nil
	}
	c, err := scanOwn(f, size)
	if err != nil || c.recs == 0 {
		s.log.Warn("remove a log file without a record", "log", id, "bytes", size, "err", err)
		return errors.Join(f.Close(), os.Remove(path))
	}
	if size > c.end {
		if c.finished == nil {
			s.log.Warn("cut the torn end of a log", "log", id, "offset", c.end, "bytes", size-c.end)
			cuts[id] += size - c.end
		}
		if err := f.Truncate(c.end); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if c.finished != nil {
		if _, err := f.WriteAt(c.finished.append(nil), c.end); err != nil {
			return errors.Join(err, f.Close())
		}
		s.finishedOwn(id, h, unfinished)
		return nil
	}
	c.h = h
	unfinished[id] = append(unfinished[id], place{own: c})
	return nil
}

// finishedOwn has a finished file synced, since the crash may have come before
// that, and compressed.
func (s *Store) finishedOwn(id int64, h *handle, unfinished map[int64][]place) {
	s.syncs.last(h)
	s.job(func() error { return s.compress(id) })
	s.forget(unfinished[id], id)
	delete(unfinished, id)
}

// forget marks copies of a log that is complete elsewhere, once that is on disk.
func (s *Store) forget(ps []place, id int64) {
	for _, p := range ps {
		if p.seg != nil {
			n := p.seg.n
			s.syncs.after(func() { s.bury(n, id) })
		}
	}
}

// noteDone finds the highest id among the compressed logs.
func (s *Store) noteDone() {
	done := filepath.Join(s.dir, "done")
	des, err := os.ReadDir(done)
	if err != nil {
		return
	}
	top := int64(-1)
	for _, de := range des {
		if n, err := strconv.ParseInt(de.Name(), 16, 64); err == nil {
			top = max(top, n)
		}
	}
	if top < 0 {
		return
	}
	files, err := os.ReadDir(filepath.Join(done, strconv.FormatInt(top, 16)))
	if err != nil {
		return
	}
	for _, de := range files {
		if id, ok := ownID(de.Name()); ok {
			s.maxID = max(s.maxID, id)
		}
	}
}

// interrupted ends a log whose writer is gone: the place with the most records
// is the log, others are what it was moved from, or a torn copy of it.
func (s *Store) interrupted(id int64, ps []place, cut int64) error {
	recs := func(p place) uint32 {
		if p.own != nil {
			return p.own.recs
		}
		return p.e.recs
	}
	best := ps[0]
	for _, p := range ps[1:] {
		if recs(p) >= recs(best) {
			best = p
		}
	}
	if s.endedElsewhere(id) {
		s.forget(ps, id)
		if best.own != nil { // the beginning of a move that failed
			return errors.Join(best.own.h.f.Close(), os.Remove(s.livePath(id)))
		}
		return nil
	}
	w := &Writer{s: s, id: id, flags: flagInterrupted, over: make(chan struct{})}
	if best.own != nil {
		c := best.own
		w.own = &ownFile{path: s.livePath(id), h: c.h, size: c.end, index: c.index}
		w.token, w.seq, w.lines = c.token, c.recs, c.lines
	} else {
		w.seg, w.size = best.seg, int64(best.e.size)
		if err := w.replay(); err != nil {
			return err
		}
	}
	for _, p := range ps {
		switch {
		case p.own != nil && p.own != best.own:
			err := errors.Join(p.own.h.f.Close(), os.Remove(s.livePath(id)))
			if err != nil {
				return err
			}
		case p.seg != nil && p.seg != best.seg:
			s.forget([]place{p}, id)
		}
	}
	w.bytes = w.lines.raw
	if w.bytes >= s.o.MaxLogBytes {
		w.flags |= flagTruncated
	}
	s.mu.Lock()
	s.open[id] = w
	s.mu.Unlock()
	text := "… the log ends here: Bothy ended while it was being written\n"
	if cut > 0 {
		text = fmt.Sprintf("… the log ends here: Bothy ended while it was being written (%d bytes of a torn record were cut)\n", cut)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now().UnixNano()
	if err := w.marker(now, nil, text); err != nil {
		return err
	}
	return w.end(now)
}

// endedElsewhere says whether a segment has the end of the log.
func (s *Store) endedElsewhere(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		if !g.may(id) {
			continue
		}
		if e, err := g.find(id); err == nil && e.flags&flagFinished != 0 {
			return true
		}
	}
	_, err := os.Stat(s.donePath(id))
	return err == nil
}

// replay counts what a shared log has.
func (w *Writer) replay() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	e, err := w.seg.find(w.id)
	if err != nil {
		return err
	}
	f, err := os.Open(w.seg.path())
	if err != nil {
		return err
	}
	defer f.Close()
	rs := records{src: f, off: int64(e.off), end: int64(e.off) + int64(e.span), id: w.id, only: true}
	for {
		r, _, err := rs.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w.token, w.seq = r.token, r.seq+1
		w.lines.add(streamIndex(worker.Stream(r.kind)), r.payload, 0)
	}
}
