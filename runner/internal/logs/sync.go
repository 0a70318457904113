package logs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// file is what the store writes through; tests put failing ones in its place.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

func openFile(path string, flag int) (file, error) { return os.OpenFile(path, flag, 0o600) }

// A handle is a file that is written and must be synced. All but dir and f are
// guarded by syncer.mu.
type handle struct {
	f     file
	dir   string // holds the file's name; synced with it the first time
	named bool   // the name is on disk
	dirty bool
	done  bool // nobody writes any more: close it once synced
}

// syncer makes written files durable: at once for callers of sync, which share
// one round, and within every after the first write for all else.
type syncer struct {
	every time.Duration
	log   *slog.Logger

	mu      sync.Mutex
	cond    sync.Cond // a round ended
	written uint64    // counts marks and afters
	synced  uint64    // everything up to here is on disk
	failed  uint64    // the last failed round covered up to here
	err     error     // of that round
	running bool
	timer   *time.Timer // not nil: set, or its function runs
	closed  bool
	timers  sync.WaitGroup
	dirty   []*handle
	afters  []func()
}

// mark says that h was written.
func (y *syncer) mark(h *handle) {
	y.mu.Lock()
	y.written++
	if !h.dirty {
		h.dirty = true
		y.dirty = append(y.dirty, h)
	}
	y.arm()
	y.mu.Unlock()
}

// last is mark for the last write to h: h is closed when it is synced.
func (y *syncer) last(h *handle) {
	y.mu.Lock()
	h.done = true
	y.mu.Unlock()
	y.mark(h)
}

// after calls f once everything written so far is on disk. f must not wait for
// a round.
func (y *syncer) after(f func()) {
	y.mu.Lock()
	y.written++
	y.afters = append(y.afters, f)
	y.arm()
	y.mu.Unlock()
}

// arm starts the timer that bounds what a power cut loses. y.mu is held.
func (y *syncer) arm() {
	if y.timer != nil || y.closed {
		return
	}
	y.timers.Add(1)
	y.timer = time.AfterFunc(y.every, func() {
		defer y.timers.Done()
		err := y.sync()
		y.mu.Lock()
		defer y.mu.Unlock()
		y.timer = nil
		if err != nil {
			y.log.Error("logs are not on disk", "err", err)
		}
		if len(y.dirty) > 0 || len(y.afters) > 0 {
			y.arm()
		}
	})
}

// sync returns when everything written before the call is on disk.
func (y *syncer) sync() error {
	y.mu.Lock()
	defer y.mu.Unlock()
	want := y.written
	for y.synced < want {
		if !y.running {
			if err := y.round(); err != nil {
				return err
			}
			continue
		}
		y.cond.Wait()
		if y.failed >= want && y.synced < want {
			return y.err
		}
	}
	return nil
}

// round syncs what is dirty. y.mu is held, but not while the disk works.
func (y *syncer) round() error {
	y.running = true
	at, dirty, afters := y.written, y.dirty, y.afters
	y.dirty, y.afters = nil, nil
	for _, h := range dirty {
		h.dirty = false
	}
	y.mu.Unlock()

	var errs []error
	var left []*handle
	dirs := map[string]bool{}
	for _, h := range dirty {
		err := h.f.Sync()
		if err == nil && !h.named && !dirs[h.dir] {
			if err = syncDir(h.dir); err == nil {
				dirs[h.dir] = true
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sync logs: %w", err))
			left = append(left, h)
		} else {
			h.named = true // only rounds touch it, and there is one at a time
		}
	}
	if len(errs) == 0 {
		for _, f := range afters {
			f()
		}
	}

	y.mu.Lock()
	y.running = false
	if len(errs) == 0 {
		y.synced = at
	} else {
		y.failed, y.err = at, errors.Join(errs...)
		y.afters = append(afters, y.afters...)
		for _, h := range left {
			if !h.dirty {
				h.dirty = true
				y.dirty = append(y.dirty, h)
			}
		}
	}
	for _, h := range dirty {
		if h.done && !h.dirty {
			if err := h.f.Close(); err != nil {
				y.log.Error("close log file", "err", err)
			}
		}
	}
	y.cond.Broadcast()
	if len(errs) > 0 {
		return y.err
	}
	return nil
}

// begin lets the timer run.
func (y *syncer) begin() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.closed = false
	if len(y.dirty) > 0 || len(y.afters) > 0 {
		y.arm()
	}
}

// close stops the timer; a last sync is the caller's.
func (y *syncer) close() {
	y.mu.Lock()
	y.closed = true
	if y.timer != nil && y.timer.Stop() {
		y.timers.Done()
	}
	y.mu.Unlock()
	y.timers.Wait()
}
