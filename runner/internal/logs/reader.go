package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"bothy/runner/worker"
)

// maxText bounds the text one ReadLines returns, and so what it costs in memory.
const maxText = 4 << 20

// Reader reads one log, also while it is written. It serves one goroutine at a
// time and must be closed.
type Reader struct {
	s  *Store
	id int64
	w  *Writer // not nil: the log was being written when the Reader was made
	v  view
}

// Reader opens a log. ref may be empty for one that is being written, or whose
// reference is not known: then it is looked for. An error wraps [ErrNotFound]
// when there is no such log.
func (s *Store) Reader(id int64, ref Ref) (*Reader, error) {
	r := &Reader{s: s, id: id}
	s.mu.Lock()
	r.w = s.open[id]
	s.mu.Unlock()
	var err error
	if r.w != nil {
		err = r.w.look(&r.v, false)
	} else {
		r.v, err = s.resolve(id, ref)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %d: %w", id, err)
	}
	return r, nil
}

// Stat tells of a log without reading it: what a log became whose end the caller
// did not see.
func (s *Store) Stat(id int64, ref Ref) (Info, error) {
	r, err := s.Reader(id, ref)
	if err != nil {
		return Info{}, err
	}
	return r.v.info, r.Close()
}

// Close gives back the Reader's file.
func (r *Reader) Close() error { return r.v.close() }

// look brings the view up to date.
func (r *Reader) look() error {
	if r.w == nil {
		return nil
	}
	return r.w.look(&r.v, false)
}

// Info tells of the log as it is now.
func (r *Reader) Info() (Info, error) {
	err := r.look()
	return r.v.info, err
}

// Lines is the number of lines the log has now, partial ones included.
func (r *Reader) Lines() (int64, error) {
	err := r.look()
	return r.v.info.Lines, err
}

// ReadLines returns up to n lines from line number from on, fewer at the end of
// what is there or when their text comes to more than 4 MiB. On a damaged file
// it returns the lines before the damage and an error wrapping [ErrCorrupt].
func (r *Reader) ReadLines(from int64, n int) ([]Line, error) {
	if err := r.look(); err != nil {
		return nil, fmt.Errorf("read log %d: %w", r.id, err)
	}
	var ls []Line
	size := 0
	err := r.scan(max(from, 0), func(l Line) bool {
		if len(ls) >= n {
			return false
		}
		l.Text = slices.Clone(l.Text)
		ls = append(ls, l)
		size += len(l.Text)
		return len(ls) < n && size < maxText
	})
	if err != nil {
		err = fmt.Errorf("read log %d: %w", r.id, err)
	}
	return ls, err
}

// Scan returns the lines from number from on, up to the end of what is there when
// it begins. Text is valid until the next line. It holds at most one line and
// one record in memory. An error is the last; one that wraps [ErrCorrupt] comes
// behind the lines before the damage. It ends with ctx, whose cause is the error.
func (r *Reader) Scan(ctx context.Context, from int64) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		err := r.look()
		if err == nil {
			stop := false
			err = r.scanUntil(ctx, max(from, 0), func(l Line) bool {
				stop = !yield(l, nil)
				return !stop
			})
			if stop {
				return
			}
		}
		if err != nil {
			yield(Line{}, fmt.Errorf("read log %d: %w", r.id, err))
		}
	}
}

// Watch tells of the log as it is now, and returns a channel that is closed when
// there is more. It is nil if there will be none: the log is finished or, when
// Info does not say so, its store is closed.
func (r *Reader) Watch() (Info, <-chan struct{}, error) {
	if r.w == nil {
		return r.v.info, nil, nil
	}
	if err := r.w.look(&r.v, true); err != nil {
		return Info{}, nil, fmt.Errorf("read log %d: %w", r.id, err)
	}
	return r.v.info, r.v.news, nil
}

// start returns a scanner and the records to feed it with so that line from is found.
func (r *Reader) start(from int64) (*scanner, *records) {
	c := &scanner{}
	off := r.v.off
	if p, ok := seek(r.v.points, from); ok {
		off, c.raw, c.line, c.from = p.off, p.raw, p.line, p.from
		if p.pens != nil {
			c.pens = *p.pens
		}
	}
	return c, r.v.records(off, r.id)
}

// scan calls emit with the lines of the view from line from on.
func (r *Reader) scan(from int64, emit func(Line) bool) error {
	return r.scanUntil(context.Background(), from, emit)
}

func (r *Reader) scanUntil(ctx context.Context, from int64, emit func(Line) bool) error {
	if r.v.src == nil || from >= r.v.info.Lines {
		return nil
	}
	c, rs := r.start(from)
	wanted := func(l Line) bool { return l.No < from || emit(l) }
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rec, _, err := rs.next()
		if err == io.EOF {
			c.rest(!r.v.info.Finished, wanted)
			return nil
		}
		if err != nil {
			c.rest(true, wanted)
			return err
		}
		if !c.feed(&rec, wanted) {
			return nil
		}
	}
}

// Tail returns the last n lines, of the given streams only if there are any
// given. It reads the end of the log, not all of it. It gives up looking for
// lines of rare streams after 100,000 lines.
func (r *Reader) Tail(n int, of ...worker.Stream) ([]Line, error) {
	total, err := r.Lines()
	if err != nil || n <= 0 {
		return nil, err
	}
	const most = 100_000
	for back := int64(n); ; back *= 8 {
		back = min(back, total, most)
		var ls []Line
		size := 0
		err := r.scan(total-back, func(l Line) bool {
			if len(of) > 0 && !slices.Contains(of, l.Stream) {
				return true
			}
			l.Text = slices.Clone(l.Text)
			ls = append(ls, l)
			size += len(l.Text)
			for len(ls) > n || size > maxText && len(ls) > 1 {
				size -= len(ls[0].Text)
				ls = ls[1:]
			}
			return true
		})
		if err != nil {
			return ls, fmt.Errorf("read log %d: %w", r.id, err)
		}
		if len(ls) >= n || back == min(total, most) {
			return ls, nil
		}
	}
}

// A Chunk is what one Write left in the log: as a rule its bytes, unless they
// were masked, capped or more than 256 KiB.
type Chunk struct {
	Stream worker.Stream
	Time   time.Time
	Data   []byte // valid until the next chunk
}

// Chunks returns the log as it was written, from its beginning. With follow it
// waits for more until the log is finished or ctx ends, which is its last error.
func (r *Reader) Chunks(ctx context.Context, follow bool) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		next := uint32(0) // sequence number
		err := r.each(ctx, follow, func(v *view, moved bool, from int64) (int64, error) {
			if moved {
				from = v.off
			}
			rs := v.records(from, r.id)
			for {
				rec, _, err := rs.next()
				if err == io.EOF {
					return rs.off, nil
				}
				if err != nil {
					return rs.off, err
				}
				if rec.seq < next {
					continue
				}
				next = rec.seq + 1
				if rec.kind == kindFinish {
					continue
				}
				c := Chunk{worker.Stream(rec.kind), time.Unix(0, rec.time), rec.payload}
				if !yield(c, nil) {
					return rs.off, errStop
				}
			}
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Chunk{}, err)
		}
	}
}

// WriteRaw copies the log's bytes to w, without what Bothy wrote itself unless
// headers is set.
func (r *Reader) WriteRaw(ctx context.Context, w io.Writer, headers bool) (int64, error) {
	var n int64
	for c, err := range r.Chunks(ctx, false) {
		if err != nil {
			return n, err
		}
		if c.Stream == worker.Header && !headers {
			continue
		}
		m, err := w.Write(c.Data)
		n += int64(m)
		if err != nil {
			return n, fmt.Errorf("copy log %d: %w", r.id, err)
		}
	}
	return n, nil
}
