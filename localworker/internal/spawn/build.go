package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/worker"
)

const (
	// endGrace is what the processes that a build left get between TERM and KILL.
	endGrace = time.Second
	// giveUp is how long after KILL a process may still be there (in an
	// uninterruptible wait, say) until its spawner is given up.
	giveUp = 5 * time.Second
)

// ErrSpawner says that the spawner died or does not obey. What ran on it was
// ended by other means as far as possible; start another one.
var ErrSpawner = errors.New("spawner lost")

// StartError says that a command could not be started: it is not there, not
// executable, or its directory is missing.
type StartError struct {
	Name string // as the command named its program
	Err  error
}

func (e *StartError) Error() string { return fmt.Sprintf("start %q: %v", e.Name, e.Err) }
func (e *StartError) Unwrap() error { return e.Err }

// Is makes a StartError a [worker.ErrStart].
func (e *StartError) Is(target error) bool { return target == worker.ErrStart }

// executor runs the commands of one build at a time, one by one, and tells by
// events what becomes of them.
type executor interface {
	// start begins a command; exactly one of failed and exited follows. It
	// does not keep the descriptors.
	start(r *request, fds []file) error
	// stop ends the processes in its scope, and is answered by gone when none
	// is left. Until then it may be made harder by another stop.
	stop(s stop) error
	// drop forgets a build of which nothing runs any more.
	drop() error
	// events is closed after lost, or after close.
	events() <-chan event
	// memory returns the anonymous and shared memory of the build's processes.
	memory(build int64) int64
	// limit returns the memory limit that the build's processes ran into and
	// what was in use then; zero: unknown.
	limit(build int64) (at, limit int64)
	// alone tells whether nobody but processes of this executor can have been
	// killed for want of memory since it was started.
	alone() bool
	// err says why the executor is dead, nil while it is not.
	err() error
	close() error
}

// Spawner is the place where one build at a time runs.
type Spawner struct {
	exec  executor
	log   *slog.Logger
	tally *tally

	mu    sync.Mutex
	build *Build
	pipes buffers
}

// Begin opens a build. counter must rise from build to build of one pool. The
// caller must End it before the next one. An error that wraps [ErrSpawner] says
// that the spawner died meanwhile.
func (s *Spawner) Begin(counter int64) (*Build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.build != nil {
		return nil, fmt.Errorf("begin build %d: build %d has not ended", counter, s.build.counter)
	}
	if err := s.exec.err(); err != nil {
		return nil, fmt.Errorf("begin build %d: %w", counter, err)
	}
	if counter < 1 {
		return nil, fmt.Errorf("begin build %d: counters start at 1", counter)
	}
	s.build = &Build{s: s, counter: counter, killed: make(chan struct{})}
	s.tally.begin()
	return s.build, nil
}

// tally counts the builds of a pool.
type tally struct{ open, begun atomic.Int64 }

func (t *tally) begin() { t.open.Add(1); t.begun.Add(1) }

// over is called for each build at its end, or that of its spawner.
func (b *Build) over() { b.once.Do(func() { b.s.tally.open.Add(-1) }) }

// only tells whether one build is open and none was begun since the given count.
func (t *tally) only(begun int64) bool { return t.open.Load() == 1 && t.begun.Load() == begun }

// Close ends the spawner, and at once everything that still runs on it.
func (s *Spawner) Close() error {
	s.mu.Lock()
	if s.build != nil {
		s.build.over()
	}
	s.mu.Unlock()
	return s.exec.close()
}

// Build is one build on a spawner. Run and End are called one at a time;
// Sample and Kill at any time.
type Build struct {
	s       *Spawner
	counter int64
	step    int64
	left    bool // processes may be running
	once    sync.Once

	orphans []worker.Process // ended when the spawner died

	killOnce sync.Once
	killed   chan struct{}

	mu    sync.Mutex
	usage worker.Usage
	peak  int64 // sampled in the present step
}

// Kill ends everything that runs at once, without a grace. A Run then returns
// with [worker.Cancelled], and so does every later one.
func (b *Build) Kill() { b.killOnce.Do(func() { close(b.killed) }) }

// Sample measures the memory of the build's processes and returns it in bytes.
// The largest sample becomes part of the usage.
func (b *Build) Sample() int64 {
	n := b.s.exec.memory(b.counter)
	b.mu.Lock()
	b.peak = max(b.peak, n)
	b.mu.Unlock()
	return n
}

// End ends every process that the build left: TERM, a second's grace, KILL. If
// ctx ends, or after [Build.Kill], there is no grace. The receipt names what
// had to be ended, also when the spawner died. The error wraps [ErrSpawner]:
// something withstood KILL.
func (b *Build) End(ctx context.Context) (worker.Receipt, error) {
	s := b.s
	s.mu.Lock()
	if s.build != b {
		s.mu.Unlock()
		return worker.Receipt{}, fmt.Errorf("end build %d: it has ended", b.counter)
	}
	s.mu.Unlock()
	defer func() {
		s.pipes.shrink()
		b.over()
		s.mu.Lock()
		s.build = nil
		s.mu.Unlock()
	}()
	r := worker.Receipt{Usage: b.usage, Ended: b.orphans}
	if !b.left {
		if err := s.exec.drop(); err != nil {
			s.log.Warn("spawner died after a build", "build", b.counter, "err", err)
		}
		return r, nil
	}
	w := waiter{exec: s.exec, scope: theBuild}
	defer w.close()
	w.begin(endGrace)
	done, killed := ctx.Done(), b.killed
	for w.pending {
		select {
		case ev, ok := <-s.exec.events():
			if !ok || ev.kind == lost {
				s.log.Warn("spawner died while a build ended", "build", b.counter, "err", s.exec.err())
				r.Ended = append(r.Ended, ev.ended...)
				return r, nil
			}
			w.event(ev)
			if ev.kind == gone {
				r.Ended = append(r.Ended, ev.ended...)
				r.Usage.CPU = max(r.Usage.CPU, time.Duration(ev.cpu))
				r.Usage.PeakMemory = max(r.Usage.PeakMemory, ev.maxRSS)
			}
		case <-done:
			w.kill()
			done = nil
		case <-killed:
			w.kill()
			killed = nil
		case <-w.timer():
			if err := w.expired(); err != nil {
				return r, fmt.Errorf("end build %d: %w", b.counter, err)
			}
		}
	}
	return r, nil
}

// waiter makes a stop harder as time passes, and waits for its end.
type waiter struct {
	exec    executor
	scope   scope
	signal  int64 // of a gentle end; 0: TERM
	pending bool  // a gone is owed
	killing bool
	t       *time.Timer
}

// begin sends TERM, or KILL when there is no grace.
func (w *waiter) begin(grace time.Duration) {
	w.pending = true
	if grace <= 0 {
		w.kill()
		return
	}
	w.exec.stop(stop{scope: w.scope, signal: w.signal}) // an error also closes events
	w.t = time.NewTimer(grace)
}

func (w *waiter) kill() {
	if w.killing {
		return
	}
	w.pending, w.killing = true, true
	w.exec.stop(stop{scope: w.scope, kill: true})
	w.close()
	w.t = time.NewTimer(giveUp)
}

func (w *waiter) event(e event) {
	if e.kind == gone {
		w.pending = false
	}
}

func (w *waiter) timer() <-chan time.Time {
	if w.t == nil {
		return nil
	}
	return w.t.C
}

func (w *waiter) expired() error {
	if !w.killing {
		w.kill()
		return nil
	}
	w.exec.close()
	return fmt.Errorf("%w: processes still there %v after KILL", ErrSpawner, giveUp)
}

func (w *waiter) close() {
	if w.t != nil {
		w.t.Stop()
	}
}
