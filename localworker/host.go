package localworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"bothy/localworker/internal/spawn"
	"bothy/osrelease"
	"bothy/runner/worker"
)

// HostOptions describe the master whose local workers run here.
type HostOptions struct {
	// Budget is asked for the number of slots; the caller closes it.
	Budget *Budget
	// BaseDir is the base directory, absolute.
	BaseDir string
	// BaseID names the base directory in cgroups and in the environment of
	// builds: 1 to 64 letters, digits, "_" and "-".
	BaseID string
	// Epoch rises with every start of the master on the base directory; 0: it is
	// told by [Host.SetEpoch], before the first build.
	Epoch int64
	// Version is what the workers say of themselves.
	Version string
	// OSRelease holds the os_* properties; nil: they are read from this system.
	OSRelease map[string]any
	// KeepFailed and KeepFailedBytes bound, per worker, the retained directories
	// of failed builds; 0 bytes: no bound.
	KeepFailed      int
	KeepFailedBytes int64
	// Logger is told what concerns no single build; nil: nobody is.
	Logger *slog.Logger
}

// Host is what the local workers of one master share: containment, and a stock
// of spawners. It starts no process before a build needs one.
type Host struct {
	o HostOptions

	mu     sync.Mutex
	pool   *spawn.Pool                 // nil before the first build
	idle   []*spawn.Spawner            // ready for the next build
	open   map[*spawn.Spawner]struct{} // idle or taken
	busy   int                         // tasks, and spawners being started or closed
	warm   chan struct{}               // closed when Warm's spawner is in stock; nil: none
	early  *spawn.Early                // for the pool, or nil
	known  chan struct{}               // closed when the epoch is known
	ending chan struct{}               // closed with closed
	closed bool
	quiet  chan struct{} // closed when closed and nothing is busy

	leftovers []leftover // to be removed, the first just now
}

var errClosed = errors.New("local workers are closed")

// NewHost returns a Host. It reads os-release when not told, and does no other I/O.
func NewHost(o HostOptions) (*Host, error) {
	if !filepath.IsAbs(o.BaseDir) {
		return nil, fmt.Errorf("base directory %q is not absolute", o.BaseDir)
	}
	if o.Budget == nil {
		return nil, errors.New("local workers need a budget")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OSRelease == nil {
		fields, warnings, err := osrelease.Read("/")
		if err != nil {
			o.Logger.Debug("no os-release", "error", err)
		}
		for _, w := range warnings {
			o.Logger.Warn("os-release: " + w.String())
		}
		o.OSRelease = osrelease.Properties(fields)
	}
	h := &Host{
		o: o, open: map[*spawn.Spawner]struct{}{},
		known: make(chan struct{}), ending: make(chan struct{}), quiet: make(chan struct{}),
	}
	if o.Epoch != 0 {
		close(h.known)
	}
	return h, nil
}

// SetEpoch tells the epoch if NewHost did not know it. It must be called once,
// before the first build and before [Host.Sweep].
func (h *Host) SetEpoch(epoch int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.o.Epoch = epoch
	close(h.known)
}

// Close ends all spawners, and with them whatever still runs on them, and waits
// until that is done. Connections should have been closed before.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		<-h.quiet
		return nil
	}
	h.closed = true
	close(h.ending)
	open := slices.Collect(maps.Keys(h.open))
	h.idle = nil
	h.busy++ // this
	h.mu.Unlock()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, s := range open {
		wg.Go(func() { errs[i] = h.discard(s) })
	}
	wg.Wait()
	h.done()
	<-h.quiet
	if h.pool != nil {
		errs = append(errs, h.pool.Close())
	}
	return errors.Join(errs...)
}

// isClosed tells whether work that is not urgent should end.
func (h *Host) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// task runs f in a goroutine that Close waits for. A panic in it is logged.
func (h *Host) task(what string, f func()) {
	h.begin()
	go func() {
		defer h.done()
		defer func() {
			if p := recover(); p != nil {
				h.o.Logger.Error("panic while "+what, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		f()
	}()
}

func (h *Host) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy++
}

func (h *Host) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
	if !h.closed || h.busy > 0 {
		return
	}
	select {
	case <-h.quiet: // a build ended after all was over
	default:
		close(h.quiet)
	}
}

// take returns a spawner for one build, to be given back or discarded.
func (h *Host) take(ctx context.Context) (*spawn.Spawner, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, errClosed
	}
	if n := len(h.idle); n > 0 {
		defer h.mu.Unlock()
		s := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return s, nil
	}
	if h.pool == nil {
		o := h.spawnOptions()
		o.Early, h.early = h.early, nil
		pool, err := spawn.Open(o)
		if err != nil {
			h.mu.Unlock()
			return nil, err
		}
		h.pool = pool
	}
	pool := h.pool
	h.busy++
	h.mu.Unlock() // a start takes milliseconds
	defer h.done()
	s, err := pool.Start(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	late := h.closed
	if !late {
		h.open[s] = struct{}{}
	}
	h.mu.Unlock()
	if late {
		return nil, errors.Join(errClosed, s.Close())
	}
	return s, nil
}

// Warm starts a spawner in the background, for the build that is about to come.
// Its process starts before the epoch is known.
func (h *Host) Warm() {
	ready := make(chan struct{})
	h.task("starting a spawner", func() {
		defer close(ready)
		if err := h.warmUp(); err != nil {
			h.o.Logger.Debug("no spawner was started early", "error", err) // the build will say so
		}
	})
	h.mu.Lock()
	h.warm = ready
	h.mu.Unlock()
}

func (h *Host) warmUp() error {
	early, err := spawn.Launch(h.o.BaseID)
	if err != nil {
		return err
	}
	select {
	case <-h.known:
	case <-h.ending:
		return early.Close()
	}
	h.mu.Lock()
	h.early = early
	h.mu.Unlock()
	s, err := h.take(context.Background())
	if err == nil {
		h.give(s)
	}
	h.mu.Lock()
	early, h.early = h.early, nil // if there was a pool already
	h.mu.Unlock()
	return errors.Join(err, early.Close())
}

// takeWarm is take that waits for a spawner which is being started already.
func (h *Host) takeWarm(ctx context.Context) (*spawn.Spawner, error) {
	h.mu.Lock()
	warm := h.warm
	h.warm = nil // one build waits, the others start their own
	h.mu.Unlock()
	if warm != nil {
		select {
		case <-warm:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return h.take(ctx)
}

// give puts a spawner on which nothing runs back into stock, or closes it if
// there are more than builds can use.
func (h *Host) give(s *spawn.Spawner) {
	slots := h.o.Budget.slots()
	h.mu.Lock()
	keep := !h.closed && len(h.idle) < slots
	if keep {
		h.idle = append(h.idle, s)
	}
	h.mu.Unlock()
	if keep {
		return
	}
	if err := h.discard(s); err != nil {
		h.o.Logger.Warn("closing a spawner", "error", err)
	}
}

// discard closes a spawner. It may be called more than once.
func (h *Host) discard(s *spawn.Spawner) error {
	h.begin()
	defer h.done()
	err := s.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, s)
	return err
}

func (h *Host) spawnOptions() spawn.Options {
	return spawn.Options{BaseID: h.o.BaseID, Epoch: h.o.Epoch, Logger: h.o.Logger}
}

// Machine returns what this process may use in all, whoever of it does: CPUs,
// and bytes of memory without the reserve.
func (b *Budget) Machine() (cpus float64, memory int64) {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return b.facts.cpus, b.facts.memory
}

// slots returns how many builds the machine is good for, whoever runs them.
func (b *Budget) slots() int {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return b.facts.slots
}

// info returns the facts every worker of the host tells.
func (h *Host) info(dir string) worker.Info {
	info := worker.Info{}
	maps.Copy(info, h.o.OSRelease)
	info["system"] = system
	info["numcpus"] = h.o.Budget.cpus()
	info["version"] = h.o.Version
	info["basedir"] = dir
	return info
}

// cpus returns the CPUs as a whole number, at least 1.
func (b *Budget) cpus() int {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	return max(1, int(b.facts.cpus))
}
