package logs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Remove deletes finished logs. Those that are gone already are no error; one
// that is being written is [ErrInUse]. A segment of which more than half is dead
// is written anew in the background, one with nothing alive is deleted. The mark
// may be lost in a power cut: the log is then back, see [Store.Orphans].
func (s *Store) Remove(refs ...Ref) error {
	var errs []error
	touched := map[uint32]bool{}
	for _, r := range refs {
		n, id, err := r.parse()
		if err == nil {
			err = s.remove(n, id)
		}
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove log %s: %w", r, err))
		}
		touched[n] = true
	}
	for n := range touched {
		s.tidy(n)
	}
	return errors.Join(errs...)
}

func (s *Store) remove(n uint32, id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.open[id] != nil {
		return ErrInUse
	}
	if n == 0 {
		a, b := os.Remove(s.livePath(id)), os.Remove(s.donePath(id))
		if a == nil || errors.Is(a, fs.ErrNotExist) {
			return b
		}
		return a
	}
	g := s.segs[n]
	if g == nil {
		return ErrNotFound
	}
	return g.kill(id)
}

// bury marks a log in a segment as dead because it is continued elsewhere.
func (s *Store) bury(n uint32, id int64) {
	s.mu.Lock()
	g := s.segs[n]
	var err error
	if g != nil {
		err = g.kill(id)
	}
	s.mu.Unlock()
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Warn("mark log as moved", "log", id, "segment", n, "err", err)
	}
	s.tidy(n)
}

// kill marks a log as dead. s.mu is held.
func (g *segment) kill(id int64) error {
	if _, err := g.find(id); err != nil {
		return err // gone already
	}
	if e, ok := g.fresh[id]; ok {
		e.flags |= flagDead
		g.fresh[id] = e
		if g.late != nil {
			g.late = append(g.late, id)
		}
		return nil
	}
	pos, e, err := g.base.find(g.index(), id)
	if err != nil {
		return err
	}
	if pos < 0 {
		return ErrNotFound
	}
	if g.late != nil {
		g.late = append(g.late, id)
	}
	return g.base.bury(g.index(), pos, e.size)
}

// tidy deletes or compacts a segment if it is due.
func (s *Store) tidy(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segs[n]
	if g == nil || g == s.active || g.fresh != nil || g.base == nil || g.busy || s.closed || !g.base.loaded {
		return
	}
	if g.base.deadBytes*2 <= g.base.covers-fileHeader && g.base.deadCount < g.base.count {
		return
	}
	g.busy = true
	s.job(func() error { return s.compact(g) })
}

// entries returns what is in the segment, dead ones included. s.mu is held.
func (g *segment) entries() ([]entry, error) {
	var es []entry
	err := g.each(func(e entry) { es = append(es, e) })
	return es, err
}

// indexNow writes the index of a segment. s.mu is held.
func (s *Store) indexNow(g *segment) error {
	es, err := g.entries()
	if err != nil {
		return err
	}
	b, x := encodeIndex(g, g.size, es)
	if err := writeFile(g.index(), b, false); err != nil {
		return err
	}
	g.base, g.fresh = x, nil
	return nil
}

// writeIndex indexes a segment that nothing is appended to any more.
func (s *Store) writeIndex(g *segment) error {
	s.mu.Lock()
	if g.gone || g.fresh == nil || g.busy {
		s.mu.Unlock()
		return nil
	}
	es, err := g.entries()
	g.busy, g.late = true, []int64{}
	s.mu.Unlock()
	var b []byte
	var x *segIndex
	if err == nil {
		b, x = encodeIndex(g, g.size, es)
		err = writeFile(g.index(), b, true)
	}
	s.mu.Lock()
	late := g.late
	g.busy, g.late = false, nil
	if err == nil {
		g.base, g.fresh = x, nil
		for _, id := range late {
			err = errors.Join(err, g.kill(id))
		}
	}
	s.mu.Unlock()
	s.tidy(g.n)
	return err
}

// compact writes a segment anew without its dead logs, or deletes it.
func (s *Store) compact(g *segment) error {
	s.mu.Lock()
	alive := map[int64]uint32{}
	err := g.each(func(e entry) {
		if e.flags&flagDead == 0 {
			alive[e.id] = e.off
		}
	})
	covers := g.size
	if err == nil && len(alive) == 0 {
		g.gone = true
		delete(s.segs, g.n)
		s.mu.Unlock()
		return errors.Join(os.Remove(g.index()), os.Remove(g.path()))
	}
	g.late = []int64{}
	s.mu.Unlock()

	var next *segment
	if err == nil {
		next, err = s.rewrite(g, covers, alive)
	}

	s.mu.Lock()
	late := g.late
	g.busy, g.late = false, nil
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("compact log segment %s: %w", g.name(), err)
	}
	g.gone = true
	s.segs[g.n] = next
	for _, id := range late {
		if e := next.kill(id); e != nil && !errors.Is(e, ErrNotFound) {
			err = errors.Join(err, e)
		}
	}
	s.mu.Unlock()
	s.tidy(g.n)
	return errors.Join(err, os.Remove(g.index()), os.Remove(g.path()))
}

// rewrite makes the next generation of g from its logs that are alive; the
// switch is the rename of the segment's file, the index may come later.
func (s *Store) rewrite(g *segment, covers int64, alive map[int64]uint32) (_ *segment, err error) {
	in, err := os.Open(g.path())
	if err != nil {
		return nil, err
	}
	defer in.Close()
	next := &segment{n: g.n, gen: g.gen + 1, dir: g.dir, fresh: map[int64]entry{}, size: fileHeader}
	tmp := next.path() + ".tmp"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(tmp)
		}
	}()
	w := bufio.NewWriterSize(out, 256<<10)
	if _, err := w.Write(appendFileHeader(nil, magicSegment, uint64(next.n), uint64(next.gen))); err != nil {
		return nil, err
	}
	rs := records{src: in, off: fileHeader, end: covers}
	older := map[int64]entry{}
	var b []byte
	for {
		r, at, err := rs.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = s.ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if from, ok := alive[r.id]; !ok || at < int64(from) {
			continue
		}
		b = appendRecord(b[:0], &r)
		next.note(&r, next.size, older)
		next.size += int64(len(b))
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Flush(), out.Sync()); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	es, err := next.entries()
	if err != nil {
		return nil, err
	}
	index, x := encodeIndex(next, next.size, es)
	if err := writeFile(next.index(), index, true); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, next.path()); err != nil {
		return nil, err
	}
	next.base, next.fresh = x, nil
	return next, syncDir(g.dir)
}

// Orphans returns the finished logs whose id known does not know: what an
// attempt wrote of which the database never heard. known is called with the
// store unlocked. It reads all indexes.
func (s *Store) Orphans(known func(id int64) bool) ([]Ref, error) {
	var refs []Ref
	var ids []int64
	err := s.eachOwn(func(id int64) { ids = append(ids, id) })
	for _, id := range ids {
		if !s.isOpen(id) && !known(id) {
			refs = append(refs, fileRef(id))
		}
	}
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	for n := uint32(1); n <= last; n++ {
		s.mu.Lock()
		var es []entry
		if g := s.segs[n]; g != nil {
			var e error
			es, e = g.entries()
			err = errors.Join(err, e)
		}
		s.mu.Unlock()
		for _, e := range es {
			if e.flags&flagDead == 0 && !s.isOpen(e.id) && !known(e.id) {
				refs = append(refs, segRef(n, e.id))
			}
		}
	}
	return refs, err
}

func (s *Store) isOpen(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id] != nil
}

// eachOwn calls f with the id of every log that has a file of its own.
func (s *Store) eachOwn(f func(id int64)) error {
	seen := map[int64]bool{}
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			return err
		}
		if id, ok := ownID(d.Name()); ok && !d.IsDir() && !seen[id] {
			seen[id] = true
			f(id)
		}
		return nil
	})
}

// ownID returns the log a file of live/ or done/ is of.
func ownID(name string) (int64, bool) {
	base, ok := strings.CutSuffix(name, ".log")
	if !ok {
		base, ok = strings.CutSuffix(name, ".zst")
	}
	id, err := strconv.ParseInt(base, 10, 64)
	return id, ok && err == nil
}
