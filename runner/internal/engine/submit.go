package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"bothy/runner/build"
)

// submitPatience is how long a Submit waits that was on its way when nothing
// could be recorded any more: a few tries, the first of them with the room that
// the ballast leaves.
const submitPatience = 3*commitRetry + commitRetry/2

// submitting is a Submit that waits for the disk. Either it is told that its
// requests are there, or that they are refused, whoever comes first.
type submitting struct {
	requests []*request
	answer   func(error)
	told     atomic.Bool
}

// tell answers, unless it was done before.
func (s *submitting) tell(err error) bool {
	if s.told.Swap(true) {
		return false
	}
	s.answer(err)
	return true
}

// Submit accepts all submissions, or none. When it returns without an error
// they are on disk. While nothing can be recorded it refuses them with
// [ErrDegraded].
func (e *Engine) Submit(ctx context.Context, subs ...Submission) ([]*Ticket, error) {
	var tickets []*Ticket
	err := e.await(ctx, func(l *loop, reply func(error)) {
		made, err := l.submit(subs)
		if err != nil {
			reply(err)
			return
		}
		tickets = made
		l.replyRecorded(reply, made)
	})
	switch {
	case err == nil:
		return tickets, nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil, fmt.Errorf("the request may have been accepted: %w", err)
	}
	return nil, err
}

// replyRecorded replies once all so far is on disk, or after [submitPatience]
// that it cannot be recorded; the requests of the tickets then will not run.
func (l *loop) replyRecorded(reply func(error), tickets []*Ticket) {
	s := &submitting{answer: reply}
	for _, k := range tickets {
		s.requests = append(s.requests, k.r)
	}
	l.submits[s] = struct{}{}
	l.onDisk(func() {
		s.tell(nil)
		l.e.post(func(l *loop) { delete(l.submits, s) })
	})
}

// refuseSubmits answers those who still wait for the disk. What they asked for
// will not run.
func (l *loop) refuseSubmits() {
	if l.degraded == nil {
		return
	}
	for s := range l.submits {
		delete(l.submits, s)
		if !s.tell(fmt.Errorf("%w: %w", ErrDegraded, l.degraded)) {
			continue
		}
		for _, r := range s.requests {
			text := "refused: it could not be recorded"
			switch {
			case r.running != nil:
				r.running.stop(stopCause{result: build.Cancelled, text: text, now: true})
			case l.requests[r.row.ID] == r:
				l.queue.Remove(r.row.ID)
				l.finishRequest(r, build.Cancelled, text)
			}
		}
	}
}
