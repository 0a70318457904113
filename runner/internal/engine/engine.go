// Package engine is the master's loop. One goroutine owns all state that
// changes: requests, running builds, workers, the queue and a heap of timers.
// Everything else speaks to it by posting functions that run on that goroutine.
//
// A turn of the loop takes the events that have come in, lets the queue start
// what can start, and hands what must be remembered to the committer together
// with what others may hear once it is on disk (effects). While one batch is
// being committed the next ones gather, so that they share a transaction.
// Starting a build may come before its commit; replies, events and completions
// never do.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// Capacity is what builds may use of the machine now.
type Capacity struct {
	Slots  int     // builds at the same time
	CPUs   float64 // logical CPUs
	Memory int64   // bytes
	// Blocked says why no build may start, "" if one may.
	Blocked string
	// OtherBuilds and OtherNeed are what other Runners of this process have of it.
	OtherBuilds int
	OtherNeed   worker.Need
}

// Host is the machine budget that in-process workers share.
type Host interface {
	Capacity() Capacity
	// Reserve takes need from the budget; slot goes to the worker with the
	// build. It reports false when the need does not fit beside what runs.
	Reserve(need worker.Need) (slot any, release func(), ok bool)
	// Changed receives after Capacity has changed.
	Changed() <-chan struct{}
}

// Options is what an Engine is made of. All but Steps, SourceDir, Sessions,
// Artifacts and BaseEnv must be given.
type Options struct {
	Config    *config.Config
	Store     *store.Store
	Logs      *logs.Store
	Recovered store.Recovered
	Host      Host
	// Attach makes the kind that a configured worker is.
	Attach func(w config.Worker) (worker.Kind, error)
	// Steps are the Go functions that func steps may name.
	Steps  map[string]StepFunc
	Logger *slog.Logger
	// Foreground starts only requests of sessions: bothy run.
	Foreground bool
	// BaseDir is what the configured cap on disk space is for.
	BaseDir string
	// Artifacts gets the files of builds that are to be kept. Nil: none is.
	Artifacts *artifacts.Store
	// TextLogDir gets a plain text copy of the log of each session's build.
	TextLogDir string
	// BaseEnv is the environment of builds that belong to no session.
	BaseEnv []string
	// Prepare makes ready what follows from a configuration: of Config, and of
	// each that is loaded later. Nil: nothing does.
	Prepare func(ctx context.Context, conf *config.Config) (Prepared, error)
	// CommitPace is the least time between two commits that nobody waits for while
	// builds run; 0: none. What short builds begin and end with then shares
	// transactions and fsyncs, half of what such a build costs the master.
	CommitPace time.Duration
	// Ballast is freed when the disk is full, so that endings can be recorded.
	Ballast Ballast
}

// Prepared is what follows from a configuration and is made ready before any of
// it counts.
type Prepared struct {
	// Secrets finds what steps name. Nil: there are none.
	Secrets Secrets
	// BaseEnv replaces Options.BaseEnv, unless it is nil.
	BaseEnv []string
	// Restart names settings that differ from those of the configuration that the
	// engine was made with, and count from the next start on only.
	Restart []string
	// Adopt is called when the configuration counts, Discard when it never will.
	// Adopt must not block: it runs in the loop. Nil: nothing is to be done.
	Adopt, Discard func()
	// Mailer returns what sends mails; it is asked before each of them. Nil:
	// mails stay queued.
	Mailer func(context.Context) (Mailer, error)
}

// Errors a caller decides on.
var (
	ErrStopped  = errors.New("the master is stopping")
	ErrDegraded = errors.New("the master cannot record anything now")
	ErrUnknown  = errors.New("not known")
	ErrConflict = errors.New("not possible now") // as things are; the text says why
)

// CleanupTime bounds the always_run steps of a build that was stopped.
const CleanupTime = 60 * time.Second

// Engine runs builds. Make one with New, run it with Run.
type Engine struct {
	opt  Options
	log  *slog.Logger
	mail mailbox
	done chan struct{}

	life   context.Context // ends with the loop
	die    context.CancelFunc
	group  sync.WaitGroup // of every goroutine but the loop's
	spawns sync.Mutex     // guards over
	over   bool           // no more is added to group
	logIDs atomic.Int64   // the last log's id
	commit func(*store.Batch) error
	room   quota // of each build
	l      *loop

	conf      atomic.Pointer[config.Config]
	reloading sync.Mutex // held while a configuration is taken over

	logListeners atomic.Int64 // subscribers that want to hear of what is appended to logs

	roster roster
	names  names
}

// New prepares an engine; nothing runs before Run.
func New(o Options) (*Engine, error) {
	e := &Engine{opt: o, log: o.Logger, done: make(chan struct{}), commit: o.Store.Commit, room: quota{maxArtifacts, maxArtifactBytes, maxFailedTests}}
	e.mail.wake = make(chan struct{}, 1)
	e.conf.Store(o.Config)
	e.life, e.die = context.WithCancel(context.Background())
	e.logIDs.Store(o.Recovered.NextLog - 1)
	ready, err := e.prepare(e.life, o.Config)
	if err != nil {
		return nil, err
	}
	l, err := newLoop(e, ready)
	if err != nil {
		return nil, err
	}
	e.l = l
	return e, nil
}

// prepare makes ready what follows from a configuration.
func (e *Engine) prepare(ctx context.Context, conf *config.Config) (Prepared, error) {
	var p Prepared
	if e.opt.Prepare != nil {
		var err error
		if p, err = e.opt.Prepare(ctx, conf); err != nil {
			return Prepared{}, err
		}
	}
	if p.Secrets == nil {
		p.Secrets = noSecrets{}
	}
	return p, nil
}

// Run is the loop. It returns when a Stop has been carried out: no build runs,
// everything is on disk, all goroutines have ended.
func (e *Engine) Run() {
	defer close(e.done)
	e.group.Add(1)
	go e.commitLoop()
	e.l.run()
	e.die()
	close(e.l.jobs)
	for s := range e.l.subscribers {
		s.close()
	}
	e.spawns.Lock()
	e.over = true
	e.spawns.Unlock()
	e.group.Wait()
}

// spawn runs f on a goroutine that the engine's end waits for. It is for callers
// that the end does not wait for by itself, as it does for the loop and for what
// is in group already; it reports false when the end has come.
func (e *Engine) spawn(f func()) bool {
	e.spawns.Lock()
	defer e.spawns.Unlock()
	if e.over {
		return false
	}
	e.group.Go(f)
	return true
}

// Done is closed when Run has returned.
func (e *Engine) Done() <-chan struct{} { return e.done }

// StopMode says what becomes of running builds.
type StopMode int

// How to stop, each harder than the one before.
const (
	Drain   StopMode = iota // let them finish
	Requeue                 // end them with their grace; they are RETRY and queued again
	AtOnce                  // as Requeue, without grace and always_run steps
)

// Stop asks the loop to end; a harder mode may follow a softer one.
func (e *Engine) Stop(mode StopMode) { e.post(func(l *loop) { l.stop(mode) }) }

// post runs f on the loop's goroutine, in order. It reports false when the
// loop has ended.
func (e *Engine) post(f func(*loop)) bool { return e.mail.put(f) }

// call runs f on the loop and waits for it.
func (e *Engine) call(ctx context.Context, f func(*loop)) error {
	ran := make(chan struct{})
	if !e.post(func(l *loop) { f(l); close(ran) }) {
		return ErrStopped
	}
	select {
	case <-ran:
		return nil
	case <-e.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// record is call for what must not be told before it is on disk. It waits for
// that, unless f returns an error.
func (e *Engine) record(ctx context.Context, f func(*loop) error) error {
	reply := make(chan error, 1)
	if !e.post(func(l *loop) {
		if err := f(l); err != nil {
			reply <- err
			return
		}
		l.pace.awaited = true
		l.effect(func() { reply <- nil })
	}) {
		return ErrStopped
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		select {
		case err := <-reply:
			return err
		default:
			return ErrStopped
		}
	}
}

// mailbox is the loop's inbox. It has no bound of its own: its senders wait
// for replies or are builds, of which there are few.
type mailbox struct {
	mu     sync.Mutex
	queue  []func(*loop)
	spare  []func(*loop)
	wake   chan struct{}
	closed bool
}

func (m *mailbox) put(f func(*loop)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.queue = append(m.queue, f)
	if len(m.queue) == 1 {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// take returns what has come in; the slice is valid until the next take.
func (m *mailbox) take() []func(*loop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	clear(m.spare[:cap(m.spare)])
	m.queue, m.spare = m.spare[:0], q
	return q
}

// close refuses what comes from now on and returns what was not yet taken.
func (m *mailbox) close() []func(*loop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.queue
}

// loop is the state that only the loop's goroutine touches.
type loop struct {
	e    *Engine
	opt  *Options
	log  *slog.Logger
	conf *config.Config

	queue    *queue.Queue
	requests map[int64]*request
	submits  map[*submitting]struct{} // that wait for the disk
	builds   map[int64]*running       // by build id
	workers  map[string]*workerState
	touched  []*workerState // whose views are made anew at the end of the turn
	registry registry
	prepared Prepared // of conf
	outbox   outbox
	sessions map[string]*session
	numbers  map[string]int64 // builder → last build number
	history  history
	hashes   map[*config.Builder]string // of configured builders' steps
	// lastResult is that of each builder's last build that was not RETRY, as far
	// as anybody asked.
	lastResult map[string]build.Result

	epoch, counter         int64
	nextRequest, nextBuild int64
	nextEntry              int64     // of the journal
	lastPlace              time.Time // the youngest request's place
	lastAlive              time.Time // until when the master before this one was there

	batch      *store.Batch
	effects    []func()
	logsEnded  bool       // the batch ends logs
	unfinished []*stepLog // logs that could not be finished yet
	commit     bool       // a batch is with the committer
	pace       pacer
	jobs       chan commitJob
	committed  chan commitResult
	degraded   error
	degradedAt time.Time // since when
	ballasted  bool      // the ballast is in its place
	freed      bool      // it was removed, to record what ends
	retryAt    *deadline

	timers timerHeap
	timer  *time.Timer

	subscribers map[*Subscription]struct{}
	tidying     bool // a removal of what is not kept runs
	tidied      bool // there was one
	tidyTimer   *deadline
	sinceTidy   int // builds finished since the last one
	stopping    bool
	stopMode    StopMode
}

func newLoop(e *Engine, ready Prepared) (*loop, error) {
	r := e.opt.Recovered
	l := &loop{
		e: e, opt: &e.opt, log: e.log, conf: e.opt.Config,
		prepared:    ready,
		queue:       queue.New(),
		requests:    map[int64]*request{},
		submits:     map[*submitting]struct{}{},
		builds:      map[int64]*running{},
		workers:     map[string]*workerState{},
		hashes:      map[*config.Builder]string{},
		lastResult:  map[string]build.Result{},
		sessions:    map[string]*session{},
		numbers:     r.Numbers,
		epoch:       r.Epoch,
		nextRequest: r.NextRequest, nextBuild: r.NextBuild, nextEntry: max(1, r.NextEntry),
		registry:    newRegistry(r),
		batch:       store.NewBatch(),
		jobs:        make(chan commitJob, 1),
		committed:   make(chan commitResult, 1),
		subscribers: map[*Subscription]struct{}{},
		timer:       time.NewTimer(time.Hour),
	}
	l.timer.Stop()
	if l.numbers == nil {
		l.numbers = map[string]int64{}
	}
	l.history = history{store: e.opt.Store, entries: map[historyKey]*historyEntry{}}
	alive, err := readAlive(e.opt.Store)
	if err != nil {
		l.log.Warn("when the last master ended is not known", "err", err)
	}
	l.lastAlive = alive
	if err := l.configure(); err != nil {
		return nil, err
	}
	l.takeUpMails(r)
	l.recover(r)
	return l, nil
}

func (l *loop) run() {
	l.attachWorkers()
	if !l.opt.Foreground {
		l.alive()
		l.ballasted = l.e.setAside() // before anything is accepted
	}
	l.tidyLater(retentionFirst)
	l.turn()
	for !l.ended() {
		select {
		case <-l.e.mail.wake:
		case <-l.timer.C:
		case <-l.opt.Host.Changed():
			l.hostChanged()
		case r := <-l.committed:
			l.commitDone(r)
		}
		l.turn()
	}
	l.timer.Stop()
	// What came too late may hold something: a connection, a share of the machine.
	for _, f := range l.e.mail.close() {
		f(l)
	}
	l.releaseWorkers()
}

// turn is one turn of the loop.
func (l *loop) turn() {
	for _, f := range l.e.mail.take() {
		f(l)
	}
	now := time.Now()
	l.fireTimers(now)
	l.decide(now)
	l.showTouched()
	l.flush()
	l.setTimer(now)
}

// ended reports whether a stop has been carried out.
func (l *loop) ended() bool {
	return l.stopping && len(l.builds) == 0 && !l.commit && (l.outbox.busy == 0 || l.outbox.hasty) &&
		(l.batch.Len() == 0 && len(l.effects) == 0 || l.degraded != nil)
}

func (l *loop) stop(mode StopMode) {
	if l.stopping && mode <= l.stopMode {
		return
	}
	l.stopping, l.stopMode = true, mode
	l.log.Debug("stopping", "mode", mode, "running", len(l.builds))
	l.in(mailPatience, func(l *loop) { l.outbox.hasty = true })
	l.noteAlive()
	for _, b := range l.builds {
		switch mode {
		case Requeue:
			b.stop(stopCause{result: build.Retry, text: "the master is stopping", planned: true})
		case AtOnce:
			b.stop(stopCause{result: build.Retry, text: "the master is stopping", planned: true, now: true})
		}
	}
}

// after commits: f runs on the committer's goroutine once all that this turn
// and earlier ones put into the batch is on disk. It must not block.
func (l *loop) effect(f func()) { l.effects = append(l.effects, f) }

func (l *loop) unknown(what, name string) error {
	return fmt.Errorf("%s %q: %w", what, name, ErrUnknown)
}
