package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// followPause is how long a follower rests after news, so that a log written a
// byte at a time costs little; it is part of the 100 ms in which output is visible.
const followPause = 20 * time.Millisecond

var errStop = errors.New("the consumer has enough")

// each calls read with every state of the log: once, or with follow until the
// log is finished. read returns how far it came; moved says that this is no
// longer a place in the view.
func (r *Reader) each(ctx context.Context, follow bool, read func(v *view, moved bool, from int64) (int64, error)) error {
	place, at := -1, int64(0)
	for {
		if r.w != nil {
			if err := r.w.look(&r.v, follow); err != nil {
				return fmt.Errorf("read log %d: %w", r.id, err)
			}
		}
		if r.v.src != nil {
			var err error
			if at, err = read(&r.v, place != r.v.place, at); err != nil {
				if errors.Is(err, errStop) {
					return err
				}
				return fmt.Errorf("read log %d: %w", r.id, err)
			}
			place = r.v.place
		}
		if !follow || r.v.news == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.v.news:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.w.over:
		case <-time.After(followPause):
		}
	}
}

// Follow returns the lines from number from on and waits for more until the log
// is finished or ctx ends, which is its last error. A line that is not complete
// is returned with Partial set as far as it is there, and again, longer or
// complete, when it has grown. Text is valid until the next line.
func (r *Reader) Follow(ctx context.Context, from int64) iter.Seq2[Line, error] {
	from = max(from, 0)
	return func(yield func(Line, error) bool) {
		var c *scanner
		var shown [streams]Line // partial lines as last returned
		line := from
		stop := false
		emit := func(l Line) bool {
			if l.No < line {
				return true
			}
			line = l.No + 1
			shown[streamIndex(l.Stream)].Text = nil
			stop = !yield(l, nil)
			return !stop
		}
		partial := func(l Line) bool {
			s := &shown[streamIndex(l.Stream)]
			if l.No < from || l.No == s.No && bytes.Equal(s.Text, l.Text) {
				return true
			}
			*s = l
			s.Text = slices.Clone(l.Text)
			stop = !yield(l, nil)
			return !stop
		}
		err := r.each(ctx, true, func(v *view, moved bool, at int64) (int64, error) {
			var rs *records
			if moved {
				c, rs = r.start(line)
			} else {
				rs = v.records(at, r.id)
			}
			for rs.off < rs.end {
				rec, _, err := rs.next()
				if err != nil {
					if rs.off == rs.end {
						break
					}
					return rs.off, err
				}
				if !c.feed(&rec, emit) {
					return rs.off, errStop
				}
			}
			if v.info.Finished {
				c.rest(false, emit)
			} else {
				c.rest(true, partial)
			}
			if stop {
				return rs.off, errStop
			}
			return rs.off, nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Line{}, err)
		}
	}
}
