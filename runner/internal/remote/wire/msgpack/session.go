package msgpack

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Session pairs the requests of one side of a connection with the peer's
// responses. It does no I/O and knows nothing of messages' meaning. Its methods may
// be called from many goroutines.
type Session struct {
	room chan struct{} // holds one token for each request in flight
	done chan struct{} // closed by Close

	mu      sync.Mutex
	next    int64
	waiting map[int64]*Pending
	err     error // set by Close
}

// NewSession returns a session that lets up to max requests be in flight; max must
// be positive. Sequence numbers start at 0.
func NewSession(max int) *Session {
	return &Session{
		room:    make(chan struct{}, max),
		done:    make(chan struct{}),
		waiting: make(map[int64]*Pending),
	}
}

// Pending is a request whose response has not come yet.
type Pending struct {
	session  *Session
	seq      int64
	answered chan struct{}
	response *Response // set before answered is closed
}

// UnknownSeqError says that a response came that answers no request.
type UnknownSeqError struct {
	Seq int64
}

func (e *UnknownSeqError) Error() string {
	return fmt.Sprintf("a response to number %d, which no request has", e.Seq)
}

// ErrSessionClosed says that a session was closed without a reason.
var ErrSessionClosed = errors.New("session closed")

// Begin takes the number of a new request, which must then be sent or given up
// with [Pending.Drop]. While as many are in flight as may be, it waits, until ctx
// ends or the session is closed.
func (s *Session) Begin(ctx context.Context) (*Pending, error) {
	select {
	case s.room <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for responses to earlier requests: %w", context.Cause(ctx))
	case <-s.done:
		return nil, s.reason()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	p := &Pending{session: s, seq: s.next, answered: make(chan struct{})}
	s.waiting[p.seq] = p
	s.next++
	return p, nil
}

// Deliver hands a response to the request it answers. The error is an
// [UnknownSeqError].
func (s *Session) Deliver(seq int64, r *Response) error {
	p := s.take(seq)
	if p == nil {
		return &UnknownSeqError{Seq: seq}
	}
	p.response = r
	close(p.answered)
	return nil
}

// take removes a request from those in flight; nil if it is not one of them.
func (s *Session) take(seq int64) *Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.waiting[seq]
	if p != nil {
		delete(s.waiting, seq)
		<-s.room
	}
	return p
}

// Close ends all waiting with an error; nil means [ErrSessionClosed]. Only the
// first call counts.
func (s *Session) Close(err error) {
	if err == nil {
		err = ErrSessionClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}

// reason is the error Close was given.
func (s *Session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// InFlight returns how many requests have no response yet.
func (s *Session) InFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Seq is the request's sequence number.
func (p *Pending) Seq() int64 { return p.seq }

// Wait returns the response once it has come. When it returns because ctx ended
// the request stays in flight: its response will come, and Wait may be called
// again.
func (p *Pending) Wait(ctx context.Context) (*Response, error) {
	select {
	case <-p.answered:
		return p.response, nil
	default:
	}
	select {
	case <-p.answered:
		return p.response, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the response: %w", context.Cause(ctx))
	case <-p.session.done:
		return nil, p.session.reason()
	}
}

// Drop gives up a request that was not sent.
func (p *Pending) Drop() { p.session.take(p.seq) }
