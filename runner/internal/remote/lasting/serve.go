package lasting

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bothy/runner/internal/remote/wire/bothy"
)

// Conn carries packets. Close may be called at any time, and ends what waits.
type Conn interface {
	// Read returns the next packet, which is valid until the next Read.
	Read() ([]byte, error)
	// Write sends packets, in order.
	Write(packets [][]byte) error
	Close() error
}

// attachment is a connection of the stream. Its fields are under the stream's mu
// but for s, conn and ctx. What is written is written by a goroutine that is there
// only while there is something: idle connections are many.
type attachment struct {
	s      *Stream
	conn   Conn
	ctx    context.Context // ends when the connection is to end; its cause says why
	cancel context.CancelCauseFunc

	dead    *time.Timer // ends the connection when nothing comes
	pong    uint64      // to be answered, if ponging
	ponging bool
	bye     string // to be said, if saying
	saying  bool
	pinged  time.Time   // when the last ping was sent
	pinger  *time.Timer // for the next; nil: there was none

	writing sync.WaitGroup // the writer
	busy    bool           // there is one
	again   bool           // it has to look again
	closed  bool           // there will be none
}

// rouse makes the writer look for what there is to write. The caller holds the
// stream's mu.
func (a *attachment) rouse() {
	switch {
	case a.closed:
	case a.busy:
		a.again = true
	default:
		a.busy = true
		a.writing.Go(a.write)
	}
}

// Serve uses a connection until that or the session ends, and closes it. The peer
// has this side's messages up to has. The error is never nil; it wraps [ErrOver]
// if the session is over.
func (s *Stream) Serve(c Conn, has uint64) error {
	a := &attachment{s: s, conn: c, pinged: time.Now()}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.dead = time.AfterFunc(s.o.Dead, func() { a.cancel(fmt.Errorf("%w for %v", ErrSilent, s.o.Dead)) })
	defer a.dead.Stop()
	if err := s.attach(a, has); err != nil {
		c.Close() // err tells why
		return err
	}
	s.changed()
	defer s.changed()
	closed := context.AfterFunc(a.ctx, func() { c.Close() })
	defer closed()
	for {
		packet, err := c.Read()
		if err == nil {
			err = s.take(a, packet)
		}
		if err != nil {
			a.cancel(err)
			break
		}
	}
	s.mu.Lock()
	a.closed = true
	if a.pinger != nil {
		a.pinger.Stop()
	}
	s.mu.Unlock()
	a.writing.Wait()
	c.Close() // the connection is over either way
	return s.detach(a)
}

func (s *Stream) changed() {
	if s.o.Changed != nil {
		s.o.Changed()
	}
}

// detach parts a connection that has ended from the stream, and returns why it
// ended.
func (s *Stream) detach(a *attachment) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == a {
		s.drop(a, nil)
	}
	if s.err != nil {
		return s.err
	}
	return context.Cause(a.ctx)
}

// attach makes a connection the stream's.
func (s *Stream) attach(a *attachment, has uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.at != nil:
		return errBusy
	}
	if err := s.rewind(has); err != nil {
		s.end(err, false)
		return s.err
	}
	s.at = a
	s.in.overdue = s.in.done > 0 // what was told may be lost
	s.ping.pending = false
	a.rouse()
	return nil
}

// drop parts a connection from the stream. The caller holds mu.
func (s *Stream) drop(a *attachment, why error) {
	a.cancel(why)
	s.at, s.cut, s.why = nil, time.Now(), context.Cause(a.ctx)
	s.widen() // to the spool
}

// write writes what there is.
func (a *attachment) write() {
	w := writer{s: a.s, a: a}
	defer w.free()
	for {
		over, err := w.collect()
		if err == nil && len(w.packets) > 0 {
			err = a.conn.Write(w.packets)
		}
		if err == nil && over {
			err = a.s.Err()
		}
		if err != nil {
			a.cancel(err)
			return // and no other writer comes
		}
		if !w.more && a.rest() {
			return
		}
	}
}

// rest reports whether the writer may go: it is called again when there is
// something to write, or a ping is due.
func (a *attachment) rest() bool {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.again {
		return false
	}
	a.busy = false
	if s.o.PingEvery == nil || s.ping.pending || a.closed {
		return true
	}
	in := time.Until(NextPing(a.pinged, s.o.PingEvery()))
	if a.pinger == nil {
		a.pinger = time.AfterFunc(in, a.pingDue)
	} else {
		a.pinger.Reset(in)
	}
	return true
}

// pingDue is the timer's.
func (a *attachment) pingDue() {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.rouse()
}

// NextPing is when a ping is due after the last one: that long after it or, so that
// the many workers of a master wake it together, on the full second before.
func NextPing(last time.Time, every time.Duration) time.Time {
	due := last.Add(every)
	if every < 10*time.Second {
		return due
	}
	return due.Add(-time.Duration(due.Nanosecond()))
}

// writer gathers packets.
type writer struct {
	s       *Stream
	a       *attachment
	packets [][]byte
	entries []entry
	first   uint64 // number of entries[0]
	buf     *buffer
	more    bool // there is more to write
}

func (w *writer) free() {
	if w.buf != nil {
		w.s.o.Tools.give(w.buf)
		w.buf = nil
	}
	w.packets, w.entries = nil, nil
}

// collect gathers what is to be written now. With over, the session is, and the
// peer is told so by that.
func (w *writer) collect() (over bool, err error) {
	s, a := w.s, w.a
	if s.o.Valid != nil {
		if err := s.o.Valid(); err != nil {
			s.Close(err, false)
			return false, err
		}
	}
	if w.buf == nil {
		w.buf = s.o.Tools.get()
	}
	w.buf.b, w.packets, w.entries = w.buf.b[:0], w.packets[:0], w.entries[:0]
	s.mu.Lock()
	a.again = false
	if s.at != a {
		s.mu.Unlock()
		return false, errReplaced
	}
	if s.err != nil {
		saying := a.saying
		s.mu.Unlock()
		if saying {
			w.packet(bothy.Bye{Reason: a.bye})
		}
		return true, nil
	}
	if a.ponging {
		a.ponging = false
		w.packet(bothy.Pong{ID: a.pong})
	}
	w.ping()
	w.pick()
	if s.in.overdue && len(w.entries) == 0 {
		w.packet(bothy.Ack{Done: s.in.tell()})
	}
	var done uint64
	if len(w.entries) > 0 {
		done = s.in.tell()
	}
	gauge := s.out.rate
	s.mu.Unlock()
	for i := range w.entries {
		if err := w.data(&w.entries[i], w.first+uint64(i), done, &gauge); err != nil {
			return false, err
		}
	}
	if gauge.slow {
		s.mu.Lock()
		s.out.rate.skip = gauge.skip
		s.mu.Unlock()
	}
	return false, nil
}

// packet adds a packet. Packets that are already there stay valid when the buffer
// grows: they keep the old one.
func (w *writer) packet(p bothy.Packet) {
	at := len(w.buf.b)
	w.buf.b = bothy.Append(w.buf.b, p)
	w.packets = append(w.packets, w.buf.b[at:])
}

// ping adds a ping if one is due. The caller holds the stream's mu.
func (w *writer) ping() {
	s, a := w.s, w.a
	p := &s.ping
	due := p.wanted || s.o.PingEvery != nil && !time.Now().Before(NextPing(a.pinged, s.o.PingEvery()))
	if !due || p.pending {
		return
	}
	p.id++
	p.wanted, p.pending, p.sent, a.pinged = false, true, s.o.Clock(), time.Now()
	w.packet(bothy.Ping{ID: p.id})
}

// pick takes the messages that may be sent. The caller holds the stream's mu.
func (w *writer) pick() {
	s := w.s
	o := &s.out
	w.first, w.more = o.next, false
	var bytes int64
	for {
		i := o.next - o.first
		if i >= uint64(len(o.entries)) {
			return
		}
		e := o.entries[i]
		if e.bulk && o.flying > 0 && o.flying+e.size > s.o.Window {
			return
		}
		if bytes > 0 && bytes+e.size > batchSize {
			w.more = true
			return
		}
		bytes += e.size
		o.flying += e.size
		o.next++
		w.entries = append(w.entries, e)
	}
}

// data adds a message.
func (w *writer) data(e *entry, seq, done uint64, g *gauge) error {
	msg := e.msg
	if e.spooled {
		var err error
		if msg, err = w.s.o.Spool.get(e.at, e.size); err != nil {
			if w.a.ctx.Err() == nil { // else somebody else sends it by now
				w.s.Close(err, true)
			}
			return err
		}
	}
	at := len(w.buf.b)
	if g.wants(e) {
		w.buf.b = bothy.AppendData(w.buf.b, seq, done, true)
		head := len(w.buf.b)
		w.buf.b = w.s.o.Tools.zip(w.buf.b, msg)
		if int64(len(w.buf.b)-head) < e.size-e.size/8 {
			w.packets = append(w.packets, w.buf.b[at:])
			return nil
		}
		g.skip = skipAfter
		w.buf.b = w.buf.b[:at]
	}
	w.buf.b = append(bothy.AppendData(w.buf.b, seq, done, false), msg...)
	w.packets = append(w.packets, w.buf.b[at:])
	return nil
}
