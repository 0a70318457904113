package agent

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

// sent is what an output has sent, one line per item. Its lock orders what a
// test reads before a timer fires and what the timer then sends.
type sent struct {
	fault error

	mu      sync.Mutex
	updates []string
}

func (s *sent) send(items []msgpack.Item) error {
	if s.fault != nil {
		return s.fault
	}
	var b strings.Builder
	for _, it := range items {
		switch {
		case it.Lines.Text != nil:
			fmt.Fprintf(&b, "%s%s %q;", it.Name, it.Log, it.Lines.Text)
		default:
			fmt.Fprintf(&b, "%s=%v;", it.Name, it.Value)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates = append(s.updates, b.String())
	return nil
}

// is compares what was sent since the last call.
func (s *sent) is(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprintf("%q", s.updates) != fmt.Sprintf("%q", want) {
		t.Errorf("sent %q, want %q", s.updates, want)
	}
	s.updates = nil
}

func TestOutputIsGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sent
		o := newOutput(settings{size: 1000, timeout: 5 * time.Second, endLines: true}, s.send)
		out := func(text string) {
			if err := o.Output("", worker.Stdout, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		out("a\nb")
		out("c\n")
		o.stderr("e\n")
		out("d\n")
		if err := o.Output("l", worker.Stdout, []byte("f\n")); err != nil {
			t.Error(err)
		}
		time.Sleep(4999 * time.Millisecond)
		synctest.Wait()
		s.is(t)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		s.is(t, `stdout "a\nbc\n";stderr "e\n";stdout "d\n";logl "f\n";`)

		out(strings.Repeat("x\n", 500))
		s.is(t, fmt.Sprintf("stdout %q;", strings.Repeat("x\n", 500)))

		out("partial")
		o.value("rc", int64(3))
		if err := o.close(); err != nil {
			t.Error(err)
		}
		s.is(t, `rc=3;stdout "partial\n";`)
		o.header("late\n")
		time.Sleep(time.Minute)
		synctest.Wait()
		s.is(t)
	})
}

func TestOutputKeepsUnfinishedLines(t *testing.T) {
	var s sent
	o := newOutput(settings{size: 1000, timeout: time.Hour}, s.send)
	o.header("h\n")
	if err := o.Output("", worker.Stdout, []byte("1.2.3")); err != nil {
		t.Error(err)
	}
	if err := o.close(); err != nil {
		t.Error(err)
	}
	s.is(t, `header "h\n";stdout "1.2.3";`)
}

func TestOutputTellsThatTheMasterIsGone(t *testing.T) {
	gone := errors.New("gone")
	s := sent{fault: gone}
	o := newOutput(settings{size: 1, timeout: time.Hour}, s.send)
	if err := o.Output("", worker.Stdout, []byte("a\n")); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if err := o.close(); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// A master that takes nothing makes the command wait.
func TestOutputWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		take := make(chan struct{})
		o := newOutput(settings{size: 10, timeout: time.Second}, func([]msgpack.Item) error { <-take; return nil })
		written := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 100 {
				if err := o.Output("", worker.Stdout, []byte("0123456789\n")); err != nil {
					t.Error(err)
				}
				written++
			}
		}()
		synctest.Wait()
		if written > 1 {
			t.Errorf("%d pieces were taken while the master took none", written)
		}
		close(take)
		<-done
		if err := o.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		for _, want := range []time.Duration{1500, 2250, 3375, 5062, 7593} {
			d := b.failed().Truncate(time.Millisecond)
			if d < want*time.Millisecond || d >= (want+1001)*time.Millisecond {
				t.Errorf("%v, want %v ms and up to a second more", d, int64(want))
			}
		}
		for range 20 {
			b.failed()
		}
		if d := b.failed(); d < maxRetry || d > maxRetry+retryJitter {
			t.Errorf("at last %v, want %v and up to a second more", d, maxRetry)
		}
		b.worked()
		if d := b.failed(); d > 2500*time.Millisecond {
			t.Errorf("after a success %v", d)
		}
		start := time.Now()
		if !wait(t.Context(), time.Minute) || time.Since(start) != time.Minute {
			t.Errorf("waited %v", time.Since(start))
		}
	})
}
