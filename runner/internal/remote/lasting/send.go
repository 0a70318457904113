package lasting

import (
	"context"
	"errors"
	"time"
)

// outgoing are the messages that the peer has not dealt with.
type outgoing struct {
	entries []entry
	first   uint64 // number of entries[0]
	next    uint64 // the one to be sent next on the connection
	memory  int64  // bytes of entries in memory
	flying  int64  // bytes of entries before next

	room    chan struct{} // closed, and made anew, when there may be room
	waiting int           // who waits for it
	acked   time.Time     // when the peer last acknowledged something
	rate    gauge
}

// entry is a message that the peer has not dealt with.
type entry struct {
	msg  []byte // nil: it is in the spool, or the peer has it
	size int64
	bulk bool
	at   int64 // in the spool, if spooled
	// spooled, and taken off the spool when the entry goes
	spooled bool
	has     bool // the peer has it
}

var errFlood = errors.New("the peer asks for more than it takes")

// Send sends a message: it is the stream's from now on. With bulk it waits while
// there is no room; without, it never does, and must be an answer, or something
// whose number is bounded otherwise. ctx bounds the waiting only.
func (s *Stream) Send(ctx context.Context, msg []byte, bulk bool) error {
	e := entry{msg: msg, size: int64(len(msg)), bulk: bulk}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.err != nil {
			return s.err
		}
		o := &s.out
		if !bulk || o.memory == 0 || o.memory+e.size <= s.o.Window {
			break
		}
		if s.stalled() && s.o.Spool != nil {
			if at, ok := s.o.Spool.put(msg); ok {
				e.msg, e.at, e.spooled = nil, at, true
				break
			}
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	o := &s.out
	if !e.spooled {
		o.memory += e.size
		if o.memory > s.o.Window+maxControl {
			s.end(errFlood, true)
			return s.err
		}
	}
	if len(o.entries) == 0 {
		o.acked = time.Now()
	}
	o.entries = append(o.entries, e)
	if s.at != nil {
		s.at.rouse()
	}
	return nil
}

// stalled reports whether what is sent gets nowhere. The caller holds mu.
func (s *Stream) stalled() bool { return s.at == nil || time.Since(s.out.acked) > stallTime }

// wait waits until there may be room, or the spool may be used. The caller holds
// mu.
func (s *Stream) wait(ctx context.Context) error {
	room := s.out.room
	s.out.waiting++
	s.mu.Unlock()
	t := time.NewTimer(stallTime + time.Millisecond)
	defer t.Stop()
	var err error
	select {
	case <-room:
	case <-t.C:
	case <-s.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	s.out.waiting--
	return err
}

// widen says that there may be room. The caller holds mu.
func (s *Stream) widen() {
	if s.out.waiting > 0 {
		close(s.out.room)
		s.out.room = make(chan struct{})
	}
}

// drop lets go of everything.
func (o *outgoing) drop() {
	o.entries, o.memory, o.flying = nil, 0, 0
	close(o.room)
	o.room = make(chan struct{})
}

var (
	errAck    = errors.New("it acknowledges what was not sent")
	errResume = errors.New("it has not what it had, or what was never sent")
)

// settled takes note that the peer has dealt with messages up to a number. The
// caller holds mu.
func (s *Stream) settled(done uint64) error {
	o := &s.out
	if done < o.first {
		return nil
	}
	if done >= o.next {
		return errAck
	}
	var bytes int64
	n := int(done - o.first + 1)
	for i := range o.entries[:n] {
		e := &o.entries[i]
		bytes += e.size
		s.letGo(e)
		*e = entry{}
	}
	if o.entries = o.entries[n:]; len(o.entries) == 0 {
		o.entries = nil
	}
	o.first += uint64(n)
	o.flying -= bytes
	o.acked = time.Now()
	if s.o.Zstd {
		o.rate.took(bytes, o.waiting > 0, o.acked)
	}
	s.widen()
	return nil
}

// letGo gives up what an entry keeps. The caller holds mu.
func (s *Stream) letGo(e *entry) {
	switch {
	case e.has:
	case e.spooled:
		s.o.Spool.take()
	default:
		s.out.memory -= e.size
	}
	e.msg, e.has = nil, true
}

// rewind makes the stream go on after the last message that the peer has. The
// caller holds mu.
func (s *Stream) rewind(has uint64) error {
	o := &s.out
	if has < o.first-1 || has >= o.first+uint64(len(o.entries)) {
		return errResume
	}
	o.flying = 0
	for i := range o.entries[:has-o.first+1] {
		o.flying += o.entries[i].size
		s.letGo(&o.entries[i])
	}
	o.next = has + 1
	o.acked = time.Now()
	o.rate = gauge{}
	s.widen()
	return nil
}

// gauge finds out whether the way to the peer is so slow that compressing pays.
type gauge struct {
	slow  bool
	since time.Time
	bytes int64
	skip  int // messages not to be tried, since others did not get smaller
}

const (
	// slowRate is what a way carries, in bytes per second, below which
	// compressing is tried. A network of 1 Gbit/s has 125 MB.
	slowRate = 64 << 20
	// gaugeTime is how long a rate is measured.
	gaugeTime = 200 * time.Millisecond
	// minZip is the size below which a message is not compressed.
	minZip = 1 << 10
	// skipAfter is how many messages are left alone after one that did not get
	// smaller by an eighth.
	skipAfter = 32
)

// took counts bytes that arrived while somebody waited for room.
func (g *gauge) took(bytes int64, full bool, now time.Time) {
	if !full || g.slow {
		g.since = time.Time{}
		return
	}
	if g.since.IsZero() {
		g.since, g.bytes = now, 0
		return
	}
	g.bytes += bytes
	if d := now.Sub(g.since); d >= gaugeTime {
		g.slow = float64(g.bytes)/d.Seconds() < slowRate
		g.since, g.bytes = now, 0
	}
}

// wants reports whether a message is to be compressed.
func (g *gauge) wants(e *entry) bool {
	if !g.slow || !e.bulk || e.size < minZip {
		return false
	}
	if g.skip > 0 {
		g.skip--
		return false
	}
	return true
}
