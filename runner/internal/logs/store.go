// Package logs stores what builds write. Small logs share append-only segments,
// larger ones have files of their own, compressed when finished.
//
//	record.go    the record: what every file is made of
//	lines.go     how a log becomes lines
//	segment.go, segindex.go   shared segments and the index beside each
//	file.go, points.go, zst.go   files of their own, their line index, their compressed form
//	sync.go      durability
//	writer.go    writing one log: masking, cap, disk full
//	reader.go, follow.go, view.go   reading it, also while it is written
//	recover.go   what Open does after a crash
//	remove.go    retention and compaction
//	mask.go, display.go   secrets; what a person sees of a line
//
// What Write acknowledged is in a file: it survives the end of the process at
// any moment, except for the last bytes of output that may still become a
// secret (see [Masker]). It survives a power cut after [Store.Sync], and at the
// latest Options.SyncEvery later.
package logs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"bothy/runner/worker"
)

// What callers tell apart.
var (
	ErrNotFound = errors.New("no such log")
	ErrFenced   = errors.New("write of an attempt that was replaced")
	ErrFinished = errors.New("log is finished")
	ErrCorrupt  = errors.New("damaged log")
	ErrClosed   = errors.New("log store is closed")
	ErrInUse    = errors.New("log is being written")
)

// Defaults of [Options].
const (
	DefaultMaxLogBytes  = 512 << 20
	DefaultSegmentBytes = 16 << 20 // bounds what recovery reads after a crash
	DefaultSyncEvery    = time.Second
)

// maxShared is the size, records included, up to which a log stays in a shared segment.
const maxShared = 64 << 10

// Options of [Open]. The zero value means the defaults.
type Options struct {
	// MaxLogBytes caps what is kept of one log. Headers get a little more.
	MaxLogBytes int64
	// SegmentBytes is the size at which a shared segment is closed: 256 KiB to 1 GiB.
	SegmentBytes int64
	// SyncEvery bounds what a power cut may take.
	SyncEvery time.Duration
	Logger    *slog.Logger // nil: nothing is logged
}

// Ref says where a finished log lies: "seg:SEGMENT:ID" or "file:ID". It stays
// valid over compaction, compression and restarts.
type Ref string

func segRef(n uint32, id int64) Ref { return Ref(fmt.Sprintf("seg:%d:%d", n, id)) }
func fileRef(id int64) Ref          { return Ref("file:" + strconv.FormatInt(id, 10)) }

// parse returns the segment (0: own file) and the id.
func (r Ref) parse() (seg uint32, id int64, err error) {
	kind, rest, _ := strings.Cut(string(r), ":")
	switch kind {
	case "file":
		id, err = strconv.ParseInt(rest, 10, 64)
	case "seg":
		a, b, _ := strings.Cut(rest, ":")
		n, err2 := strconv.ParseUint(a, 10, 32)
		seg = uint32(n)
		id, err = strconv.ParseInt(b, 10, 64)
		if err2 != nil || seg == 0 {
			err = errors.New("bad segment number")
		}
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return 0, 0, fmt.Errorf("log reference %q: %w", string(r), err)
	}
	return seg, id, nil
}

// Info is what is known of a log without reading it.
type Info struct {
	Ref         Ref   // empty while the log is written
	Lines       int64 // including what is no complete line yet
	Bytes       int64 // of output kept, markers and headers included
	Dropped     int64 // bytes of output not kept, see Truncated
	Truncated   bool  // not all output was kept; a line of the log says how much
	Interrupted bool  // the master ended while it was written; a line says so
	Finished    bool
}

// Store holds all logs of one directory. Its methods may be called from many goroutines.
type Store struct {
	dir      string
	o        Options
	log      *slog.Logger
	openFile func(path string, flag int) (file, error)
	syncs    syncer
	dec      func() (*zstd.Decoder, error)

	mu     sync.Mutex // guards what follows; taken after a Writer's, before syncer's
	segs   map[uint32]*segment
	last   uint32 // highest segment number ever
	active *segment
	open   map[int64]*Writer
	maxID  int64
	closed bool

	jobs    sync.Mutex
	queue   []func() error
	working bool
	ctx     context.Context // of the jobs
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// Open opens the log directory, which it makes if it is missing. Nobody else may
// have it open. Logs that were being written when the last master ended are cut
// to their last good record, given a line that says so, and finished.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, openFile) }

func open(dir string, o Options, of func(string, int) (file, error)) (*Store, error) {
	if o.MaxLogBytes <= 0 {
		o.MaxLogBytes = DefaultMaxLogBytes
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	o.SegmentBytes = min(max(o.SegmentBytes, 4*maxShared), 1<<30)
	if o.SyncEvery <= 0 {
		o.SyncEvery = DefaultSyncEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		dir: dir, o: o, log: o.Logger, openFile: of,
		segs: map[uint32]*segment{}, open: map[int64]*Writer{},
		dec: sync.OnceValues(newDecoder),
	}
	s.syncs.every, s.syncs.log = o.SyncEvery, o.Logger
	s.syncs.cond.L = &s.syncs.mu
	s.syncs.closed = true // nothing runs beside recover
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, d := range []string{dir, filepath.Join(dir, "live"), filepath.Join(dir, "done")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open log store: %w", err)
		}
	}
	if err := s.recover(); err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("open log store %s: %w", dir, err), s.Close())
	}
	s.syncs.begin()
	return s, nil
}

// Create begins the log id, which must never have been used before in this
// store (see [Store.MaxID]), for one attempt. mask may be nil.
func (s *Store) Create(id int64, attempt worker.Token, mask *Masker) (*Writer, error) {
	w := &Writer{s: s, id: id, token: attempt, over: make(chan struct{})}
	if mask != nil && !mask.empty() {
		w.masks = new([streams]maskState)
		for i := range w.masks {
			w.masks[i].m = mask
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.open[id] != nil {
		return nil, fmt.Errorf("create log %d: %w", id, ErrInUse)
	}
	s.open[id] = w
	s.maxID = max(s.maxID, id)
	return w, nil
}

// MaxID returns the highest log id that ever came to the store's notice, removed
// logs included as far as they left traces. New ids must be above it.
func (s *Store) MaxID() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxID
}

// Revoke makes every later write to the open logs of an attempt fail with
// [ErrFenced]. Their Finish still works.
func (s *Store) Revoke(attempt worker.Token) {
	s.mu.Lock()
	var ws []*Writer
	for _, w := range s.open {
		if w.token == attempt {
			ws = append(ws, w)
		}
	}
	s.mu.Unlock()
	for _, w := range ws {
		w.Revoke()
	}
}

// Sync returns when everything written before the call is on disk. Concurrent
// callers share the work. After an error the files stay due and a later Sync
// tries again; the system may have given up on some of their bytes, so that only
// a power cut would show whether it succeeded: report the error.
func (s *Store) Sync() error { return s.syncs.sync() }

// Close waits for running compressions to stop and puts everything on disk.
// Logs that are not finished are treated as interrupted by the next [Open].
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var ws []*Writer
	for _, w := range s.open {
		ws = append(ws, w)
	}
	s.mu.Unlock()
	s.cancel()
	s.workers.Wait()
	s.syncs.close()
	for _, w := range ws {
		w.abandon()
	}
	errs := []error{s.syncs.sync()}
	s.workers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		if g.h != nil {
			errs = append(errs, g.h.f.Close())
			g.h = nil
		}
		if len(g.fresh) > 0 && (g != s.active || g.worthIndex()) {
			errs = append(errs, s.indexNow(g))
		}
	}
	return errors.Join(errs...)
}

// job runs f in the background, one job after the other. No goroutine is left
// when there is nothing to do.
func (s *Store) job(f func() error) {
	s.jobs.Lock()
	defer s.jobs.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.queue = append(s.queue, f)
	if s.working {
		return
	}
	s.working = true
	s.workers.Go(func() {
		for {
			s.jobs.Lock()
			if len(s.queue) == 0 || s.ctx.Err() != nil {
				s.working, s.queue = false, nil
				s.jobs.Unlock()
				return
			}
			f := s.queue[0]
			s.queue = s.queue[1:]
			s.jobs.Unlock()
			if err := f(); err != nil && s.ctx.Err() == nil {
				s.log.Error("maintain logs", "err", err)
			}
		}
	})
}
