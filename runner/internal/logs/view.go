package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A view is where a log lies at one moment, opened.
type view struct {
	src    io.ReaderAt
	file   io.Closer
	off    int64
	end    int64 // of the records known to be complete
	shared bool  // other logs' records may lie between
	points []point
	info   Info
	place  int
	news   <-chan struct{} // closed at the next change; nil: there will be none
}

func (v *view) records(off int64, id int64) *records {
	return &records{src: v.src, off: off, end: v.end, id: id, only: v.shared}
}

func (v *view) close() error {
	if v.file == nil {
		return nil
	}
	err := v.file.Close()
	v.file, v.src = nil, nil
	return err
}

// tries bounds how often a log may move (compaction, compression) between
// looking up its place and opening it.
const tries = 8

// resolve opens a finished log. ref may be empty: then it is looked for.
func (s *Store) resolve(id int64, ref Ref) (view, error) {
	seg, ownID := uint32(0), id
	if ref != "" {
		var err error
		if seg, ownID, err = ref.parse(); err != nil {
			return view{}, err
		}
		if ownID != id {
			return view{}, fmt.Errorf("log reference %q is not of log %d", string(ref), id)
		}
	}
	var err error
	for range tries {
		var v view
		switch {
		case seg != 0:
			v, err = s.openShared(seg, id)
		case ref != "":
			v, err = s.openOwn(id)
		default:
			v, err = s.search(id)
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return v, err
		}
	}
	return view{}, fmt.Errorf("%w: log %d (%v)", ErrNotFound, id, err)
}

func (s *Store) openShared(seg uint32, id int64) (view, error) {
	s.mu.Lock()
	g := s.segs[seg]
	if g == nil {
		s.mu.Unlock()
		return view{}, fmt.Errorf("%w: log %d in segment %d", ErrNotFound, id, seg)
	}
	e, err := g.find(id)
	path := g.path()
	s.mu.Unlock()
	if err != nil {
		return view{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return view{}, err
	}
	v := view{src: f, file: f, off: int64(e.off), end: int64(e.off) + int64(e.span), shared: true}
	v.info = Info{
		Ref: segRef(seg, id), Lines: int64(e.lines), Bytes: int64(e.bytes), Dropped: int64(e.dropped), Finished: e.flags&flagFinished != 0,
		Truncated: e.flags&flagTruncated != 0, Interrupted: e.flags&flagInterrupted != 0,
	}
	return v, nil
}

func (s *Store) openOwn(id int64) (view, error) {
	f, err := os.Open(s.livePath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return s.openDone(id)
	}
	if err != nil {
		return view{}, err
	}
	st, err := f.Stat()
	if err != nil {
		return view{}, errors.Join(err, f.Close())
	}
	t, err := readTrailer(f, st.Size())
	if err != nil {
		return view{}, errors.Join(fmt.Errorf("log %d: %w", id, err), f.Close())
	}
	return view{src: f, file: f, off: fileHeader, end: t.End, points: t.points, info: t.info(id)}, nil
}

func (s *Store) openDone(id int64) (view, error) {
	f, err := os.Open(s.donePath(id))
	if err != nil {
		return view{}, err
	}
	dec, err := s.dec()
	if err != nil {
		return view{}, errors.Join(err, f.Close())
	}
	st, err := f.Stat()
	if err != nil {
		return view{}, errors.Join(err, f.Close())
	}
	z, err := openFrames(f, st.Size(), dec)
	if err != nil {
		return view{}, errors.Join(fmt.Errorf("log %d: %w", id, err), f.Close())
	}
	return view{src: z, file: f, off: fileHeader, end: z.trailer.End, points: z.trailer.points, info: z.trailer.info(id)}, nil
}

func (t *trailer) info(id int64) Info {
	return Info{
		Ref: fileRef(id), Lines: t.Lines, Bytes: t.Bytes, Dropped: t.Dropped, Finished: true,
		Truncated: t.Flags&flagTruncated != 0, Interrupted: t.Flags&flagInterrupted != 0,
	}
}

// search looks for a log wherever it may be: newest place first.
func (s *Store) search(id int64) (view, error) {
	v, err := s.openOwn(id)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	for n := last; n > 0; n-- {
		s.mu.Lock()
		g := s.segs[n]
		may := g != nil && g.may(id)
		s.mu.Unlock()
		if !may {
			continue
		}
		v, err := s.openShared(n, id)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return v, err
		}
	}
	return view{}, fmt.Errorf("%w: log %d", ErrNotFound, id)
}

// may says whether the log can be in the segment.
func (g *segment) may(id int64) bool {
	if _, ok := g.fresh[id]; ok {
		return true
	}
	return g.base != nil && g.base.count > 0 && id >= g.base.min && id <= g.base.max
}

// look brings v up to date with a log that is, or was, written by w.
func (w *Writer) look(v *view, want bool) error {
	for range tries {
		w.mu.Lock()
		n := view{info: w.info, place: w.place}
		if !w.finished {
			n.info = Info{Lines: w.lines.all(), Bytes: w.bytes, Dropped: w.dropped, Truncated: w.flags&flagTruncated != 0}
			if want && !w.closed {
				n.news = w.news()
			}
		}
		path, err := w.where(&n)
		w.mu.Unlock()
		if err != nil {
			return err
		}
		if v.src != nil && v.place == n.place || path == "" {
			n.src, n.file = v.src, v.file
			*v = n
			return nil
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			if !n.info.Finished {
				continue
			}
			place := n.place
			if n, err = w.s.resolve(w.id, n.info.Ref); err != nil {
				return err
			}
			n.place = place
			err = v.close()
			*v = n
			return err
		}
		if err != nil {
			return err
		}
		if err := v.close(); err != nil {
			return errors.Join(err, f.Close())
		}
		n.src, n.file = f, f
		*v = n
		return nil
	}
	return fmt.Errorf("%w: log %d moves", ErrNotFound, w.id)
}

// where fills in the place of the records; path is empty when there are none.
func (w *Writer) where(v *view) (path string, err error) {
	if w.own != nil {
		v.off, v.end, v.points = fileHeader, w.own.size, w.own.index.points
		return w.own.path, nil
	}
	if w.seg == nil {
		return "", nil
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	g := w.s.segs[w.seg.n]
	if g == nil {
		return "", fmt.Errorf("%w: log %d", ErrNotFound, w.id)
	}
	e, err := g.find(w.id)
	if err != nil {
		return "", err
	}
	v.off, v.end, v.shared = int64(e.off), int64(e.off)+int64(e.span), true
	return g.path(), nil
}
