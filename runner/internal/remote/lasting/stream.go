package lasting

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// ackWait is how long a message that was dealt with may go unacknowledged:
	// mostly the acknowledgement travels with the next message.
	ackWait = 25 * time.Millisecond
	// batchSize is about how much is written at once.
	batchSize = 256 << 10
	// stallTime is how long nothing may have been acknowledged on a connection
	// that stands until what comes goes to the spool.
	stallTime = 2 * time.Second
	// maxControl is how much may wait beyond the window: answers, which the peer
	// bounds by asking.
	maxControl = 64 << 20
	// goodbyeTime is how long the word that the session is over may take.
	goodbyeTime = time.Second
)

// Errors of a [Stream].
var (
	// ErrOver says that the session is over.
	ErrOver = errors.New("the session is over")
	// ErrBye says that the peer has ended the session.
	ErrBye = errors.New("the peer has ended the session")
	// ErrCut says that there is no connection now.
	ErrCut = errors.New("the connection is cut")
	// ErrSilent says that nothing came for too long.
	ErrSilent = errors.New("no sign of life")

	errReplaced = errors.New("replaced by another connection of the session")
	errBusy     = errors.New("the session has a connection")
)

// Options are what a [Stream] is made of. Deliver, Ended, Tools and Dead must be
// given.
type Options struct {
	// Deliver gets the peer's messages: each once, in order, one at a time. While
	// it blocks the peer comes to a halt at the window. The message is its own.
	Deliver func(msg []byte)
	// Ended is called once, when the session is over and Deliver has had what came
	// before, in a goroutine of its own.
	Ended func(err error)
	// Changed, if not nil, is called when a connection has come or gone.
	Changed func()
	// Window is how many bytes of messages may be kept in memory here, and be
	// under way to the peer; default [DefaultWindow].
	Window int64
	// Backlog is how many bytes of the peer's messages may wait for Deliver: more
	// ends the session. Default: Window, and what answers may take.
	Backlog int64
	// Spool takes messages that the window has no room for while the connection
	// is cut; nil: nothing does. The stream closes it.
	Spool *Spool
	// Tools are shared by the streams of a process.
	Tools *Tools
	// Zstd says that the peer understands compressed messages.
	Zstd bool
	// Dead is how long a peer may be silent until its connection counts as lost.
	Dead time.Duration
	// PingEvery is how often the peer is pinged; nil: when [Stream.Ping] asks. It
	// is asked each time.
	PingEvery func() time.Duration
	// Valid, if not nil, is asked before anything is written; an error ends the
	// session.
	Valid func() error
	// Clock is that of [Stream.Confirmed]; nil: the time since New.
	Clock func() time.Duration
}

// DefaultWindow is that of [Options]: 20 MB/s over a way of 200 ms.
const DefaultWindow = 4 << 20

// Stream is one side of a session. Make one with [New], give it connections with
// [Stream.Serve], one after the other, and end it with [Stream.Close].
type Stream struct {
	o    Options
	done chan struct{}

	mu   sync.Mutex
	err  error // the session is over, and why
	at   *attachment
	out  outgoing
	in   incoming
	ping pinging

	cut   time.Time // since when there is no connection
	why   error     // what the last connection ended with, nil: there was none
	heard time.Time // when the peer last sent a ping, or was made welcome
}

// pinging is what is known of our pings.
type pinging struct {
	id        uint64
	pending   bool          // sent and not answered
	wanted    bool          // somebody asks for one
	sent      time.Duration // by Clock
	confirmed time.Duration // sent, of the last one that was answered
	answered  chan struct{} // closed with the next answer; nil: nobody waits
}

// New returns a stream that has no connection yet.
func New(o Options) *Stream {
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	if o.Backlog <= 0 {
		o.Backlog = o.Window + maxControl
	}
	if o.Clock == nil {
		began := time.Now()
		o.Clock = func() time.Duration { return time.Since(began) }
	}
	now := time.Now()
	s := &Stream{o: o, done: make(chan struct{}), cut: now, heard: now}
	s.out = outgoing{first: 1, next: 1, room: make(chan struct{}), acked: now}
	s.ping.confirmed = o.Clock()
	return s
}

// Done is closed when the session is over. What came before may still be
// delivered; see [Options.Ended].
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err says why the session is over, nil if it is not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Cut reports since when there is no connection, and what the last one ended with;
// false if there is one.
func (s *Stream) Cut() (since time.Time, why error, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut, s.why, s.at == nil
}

// Heard is when the peer's last ping came, or [Stream.Confirm] was called.
func (s *Stream) Heard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// Confirmed is when, by Clock, the last ping was sent that the peer has answered.
func (s *Stream) Confirmed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ping.confirmed
}

// Confirm says that the peer was made welcome, which counts as a ping that was
// answered: sent is when, by Clock, it asked.
func (s *Stream) Confirm(sent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ping.confirmed = max(s.ping.confirmed, sent)
	s.heard = time.Now()
}

// Received is up to which message the peer's have come. To be exact there must be
// no connection, see [Stream.Disconnect].
func (s *Stream) Received() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.received
}

// Disconnect drops the connection, if there is one. When it returns, no more
// comes from that, and another can be served.
func (s *Stream) Disconnect(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != nil {
		s.drop(s.at, why)
	}
}

// Close ends the session. With bye the peer is told so, if there is a connection;
// Close does not wait for that. Only the first call counts.
func (s *Stream) Close(why error, bye bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(why, bye)
}

// end is Close. The caller holds mu.
func (s *Stream) end(why error, bye bool) {
	if s.err != nil {
		return
	}
	s.err = fmt.Errorf("%w: %w", ErrOver, why)
	close(s.done)
	s.out.drop()
	if s.o.Spool != nil {
		s.o.Spool.close()
	}
	if a := s.at; a != nil {
		if bye {
			a.bye = why.Error()
			a.saying = true
			a.rouse()
			time.AfterFunc(goodbyeTime, func() { a.cancel(s.err) })
		} else {
			a.cancel(s.err)
		}
	}
	if !s.in.delivering {
		s.in.delivering = true
		go s.deliver()
	}
}
