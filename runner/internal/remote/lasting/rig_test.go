package lasting

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is one direction of a connection in memory.
type wire struct {
	packets chan []byte
	cut     chan struct{}
}

// end is one end of a connection in memory, which keeps up to 16 packets.
type end struct {
	in, out wire
	once    *sync.Once
	deaf    atomic.Bool // what comes is lost
	sent    func(packet []byte)
}

// pipe returns the two ends of a connection. Closing either cuts it, and what is
// under way is lost.
func pipe() (a, b *end) {
	cut := make(chan struct{})
	ab, ba := wire{make(chan []byte, 16), cut}, wire{make(chan []byte, 16), cut}
	once := new(sync.Once)
	return &end{in: ba, out: ab, once: once}, &end{in: ab, out: ba, once: once}
}

var errPipe = errors.New("the pipe is cut")

func (e *end) Read() ([]byte, error) {
	for {
		select {
		case <-e.in.cut:
			return nil, errPipe
		default:
		}
		select {
		case p := <-e.in.packets:
			if !e.deaf.Load() {
				return p, nil
			}
		case <-e.in.cut:
			return nil, errPipe
		}
	}
}

func (e *end) Write(packets [][]byte) error {
	for _, p := range packets {
		if e.sent != nil {
			e.sent(p)
		}
		select {
		case e.out.packets <- append([]byte(nil), p...):
		case <-e.out.cut:
			return errPipe
		}
	}
	return nil
}

func (e *end) Close() error {
	e.once.Do(func() { close(e.in.cut) })
	return nil
}

// side is a stream and what it delivered.
type side struct {
	*Stream
	ended chan error

	mu   sync.Mutex
	got  [][]byte
	hold chan struct{} // Deliver waits for it, if it is not nil
	more chan struct{} // has an element when there is more
}

func newSide(t testing.TB, change func(*Options)) *side {
	t.Helper()
	s := &side{ended: make(chan error, 1), more: make(chan struct{}, 1)}
	tools, err := NewTools()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Deliver: func(msg []byte) {
			if s.hold != nil {
				<-s.hold
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, msg)
			select {
			case s.more <- struct{}{}:
			default:
			}
		},
		Ended: func(err error) { s.ended <- err }, Tools: tools, Dead: 30 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s.Stream = New(o)
	t.Cleanup(func() {
		s.Close(errors.New("the test is over"), false)
		if s.hold != nil {
			select {
			case <-s.hold:
			default:
				close(s.hold)
			}
		}
		<-s.ended
	})
	return s
}

// connect makes a connection of two sides, as a handshake would, and returns what
// cuts it, and waits until both have noticed.
func connect(a, b *side) (cut func()) {
	ea, eb := pipe()
	return join(a, b, ea, eb)
}

func join(a, b *side, ea, eb *end) (cut func()) {
	hasA, hasB := a.Received(), b.Received()
	var wg sync.WaitGroup
	wg.Go(func() { _ = a.Serve(ea, hasB) })
	wg.Go(func() { _ = b.Serve(eb, hasA) })
	return func() {
		ea.Close()
		wg.Wait()
	}
}

func (s *side) messages() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.got...)
}

// await waits until n messages were delivered.
func (s *side) await(t testing.TB, n int) [][]byte {
	t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		got := s.messages()
		if len(got) >= n {
			return got
		}
		select {
		case <-s.more:
		case <-limit:
			t.Fatalf("%d messages of %d", len(got), n)
		}
	}
}

func testSpool(t testing.TB, max int64) *Spool {
	t.Helper()
	p, err := NewSpool(t.TempDir(), max, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
