package lasting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bothy/runner/internal/remote/wire/bothy"
)

// incoming are the peer's messages.
type incoming struct {
	received   uint64 // the last that came
	done       uint64 // the last that was delivered
	told       uint64 // the last that the peer knows to be done
	untold     int64  // bytes of those between told and done
	queue      []message
	bytes      int64 // of queue
	delivering bool  // a goroutine delivers
	ended      bool  // Ended was called
	due        *time.Timer
	overdue    bool // an acknowledgement is to be sent
}

// message is one that waits for being delivered. Its bytes count until it is.
type message struct {
	seq  uint64
	data []byte
}

var (
	errGap     = errors.New("a message is missing")
	errTooMuch = errors.New("it sends more than the window has room for")
	errBad     = errors.New("not a packet for now")
)

// take deals with a packet that came on a connection. An error ends that.
func (s *Stream) take(a *attachment, packet []byte) error {
	p, err := bothy.Read(packet)
	if err != nil {
		return err
	}
	var msg []byte
	if d, ok := p.(bothy.Data); ok {
		if msg, err = s.o.Tools.unpack(d); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != a {
		return errReplaced
	}
	a.dead.Reset(s.o.Dead)
	if s.err != nil {
		return nil // it is being told so
	}
	switch p := p.(type) {
	case bothy.Data:
		if err := s.settled(p.Done); err != nil {
			return err
		}
		a.rouse()
		return s.queue(p.Seq, msg)
	case bothy.Ack:
		if err := s.settled(p.Done); err != nil {
			return err
		}
		a.rouse()
	case bothy.Ping:
		s.heard = time.Now()
		a.pong, a.ponging = p.ID, true
		a.rouse()
	case bothy.Pong:
		s.answered(p.ID)
		a.rouse() // the time of the next ping is counted from now
	case bothy.Bye:
		s.end(fmt.Errorf("%w: %s", ErrBye, p.Reason), false)
	default:
		return errBad
	}
	return nil
}

// queue takes a message in, to be delivered. The caller holds mu.
func (s *Stream) queue(seq uint64, msg []byte) error {
	in := &s.in
	switch {
	case seq <= in.received:
		return nil // it was sent before the cut, too
	case seq > in.received+1:
		return fmt.Errorf("%w: %d after %d", errGap, seq, in.received)
	}
	if in.bytes += int64(len(msg)); in.bytes > s.o.Backlog {
		s.end(errTooMuch, true)
		return nil
	}
	in.received = seq
	in.queue = append(in.queue, message{seq, msg})
	if !in.delivering {
		in.delivering = true
		go s.deliver()
	}
	return nil
}

// deliver hands the queue's messages on until there is none.
func (s *Stream) deliver() {
	for {
		s.mu.Lock()
		in := &s.in
		if len(in.queue) == 0 {
			in.queue, in.delivering = nil, false
			ended := s.err != nil && !in.ended
			if ended {
				in.ended, in.delivering = true, true
				if in.due != nil {
					in.due.Stop()
				}
			}
			s.mu.Unlock()
			if ended {
				s.o.Ended(s.err)
			}
			return
		}
		m := in.queue[0]
		in.queue[0] = message{}
		in.queue = in.queue[1:]
		s.mu.Unlock()
		s.o.Deliver(m.data)
		s.mu.Lock()
		s.delivered(m)
		s.mu.Unlock()
	}
}

// delivered takes note that a message was dealt with. The caller holds mu.
func (s *Stream) delivered(m message) {
	in := &s.in
	in.bytes -= int64(len(m.data))
	in.done = m.seq
	in.untold += int64(len(m.data))
	switch {
	case s.err != nil || s.at == nil:
	case in.untold >= s.o.Window/8:
		in.overdue = true
		s.at.rouse()
	case in.due == nil:
		in.due = time.AfterFunc(ackWait, s.ackDue)
	}
}

// ackDue is the timer's.
func (s *Stream) ackDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.due = nil
	if s.at != nil && s.in.done > s.in.told {
		s.in.overdue = true
		s.at.rouse()
	}
}

// tell returns what is to be acknowledged now. The caller holds mu.
func (in *incoming) tell() uint64 {
	in.told, in.untold, in.overdue = in.done, 0, false
	return in.done
}

// answered takes note of a pong. The caller holds mu.
func (s *Stream) answered(id uint64) {
	p := &s.ping
	if !p.pending || id != p.id {
		return
	}
	p.pending = false
	p.confirmed = max(p.confirmed, p.sent)
	if p.answered != nil {
		close(p.answered)
		p.answered = nil
	}
}

// Ping returns when the peer has answered a ping, at once with [ErrCut] when there
// is no connection.
func (s *Stream) Ping(ctx context.Context) error {
	s.mu.Lock()
	if s.err != nil || s.at == nil {
		defer s.mu.Unlock()
		if s.err != nil {
			return s.err
		}
		return ErrCut
	}
	p, a := &s.ping, s.at
	p.wanted = true
	if p.answered == nil {
		p.answered = make(chan struct{})
	}
	answered := p.answered
	a.rouse()
	s.mu.Unlock()
	select {
	case <-answered:
		return nil
	case <-a.ctx.Done():
		return ErrCut
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
