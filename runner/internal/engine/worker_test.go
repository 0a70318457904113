package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/worker"
)

// fleet is the workers of a test. What their commands do is looked up by the
// program's name; a program nobody wrote a script for succeeds at once.
type fleet struct {
	mu      sync.Mutex
	kinds   map[string]*fakeKind
	scripts map[string]script
	prepare func(worker.BuildSpec) error // nil: every build can be prepared
	ending  func(worker.BuildSpec)       // nil: builds end at once
	started []worker.BuildSpec           // in order
	now     []worker.BuildSpec           // not ended
	kept    []string                     // builds whose directory was kept
	left    map[string][]worker.Process  // what builds of a builder leave running
	faults  []string                     // what an engine must never do
	absent  bool                         // remote workers that are made from now on stay away
	check   func(now []worker.BuildSpec, by map[string]int) string
}

type script func(*fakeCommand) (worker.Exit, error)

func newFleet() *fleet {
	return &fleet{kinds: map[string]*fakeKind{}, scripts: map[string]script{}, left: map[string][]worker.Process{}}
}

func (f *fleet) attach(w config.Worker) (worker.Kind, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := &fakeKind{fleet: f, name: w.Name, remote: w.Kind == config.WorkerRemote, attached: make(chan struct{}, 1)}
	if f.absent && k.remote {
		k.away = make(chan struct{})
	}
	f.kinds[w.Name] = k
	return k, nil
}

// on says what a program does.
func (f *fleet) on(program string, s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts[program] = s
}

func (f *fleet) kind(name string) *fakeKind {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kinds[name]
}

// order is "builder number" of every build that was started.
func (f *fleet) order() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, s := range f.started {
		out = append(out, fmt.Sprint(s.Builder, " ", s.Number))
	}
	return out
}

func (f *fleet) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func (f *fleet) begin(b *fakeBuild) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = append(f.started, b.spec)
	f.now = append(f.now, b.spec)
	b.conn.kind.running++
	if f.check != nil {
		by := map[string]int{}
		for name, k := range f.kinds {
			by[name] = k.running
		}
		if fault := f.check(f.now, by); fault != "" {
			f.faults = append(f.faults, fault)
		}
	}
}

func (f *fleet) end(b *fakeBuild) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = slices.DeleteFunc(f.now, func(s worker.BuildSpec) bool { return s.Token == b.spec.Token })
	b.conn.kind.running--
}

// fakeKind is one worker. It attaches at once unless it is away.
type fakeKind struct {
	fleet    *fleet
	name     string
	remote   bool          // it has a process of its own
	running  int           // guarded by fleet.mu, as is all below
	away     chan struct{} // not nil: Attach waits until it is closed
	slow     time.Duration // how long Attach takes to give up waiting
	refuse   error         // what Attach returns
	attempts int           // of Attach
	conn     *fakeConn
	attached chan struct{}

	told     atomic.Int32 // how often the process was told to end
	stubborn atomic.Bool  // it does not
	closed   atomic.Int32 // connections closed by the engine
	released atomic.Bool
}

func (k *fakeKind) Attach(ctx context.Context) (worker.Conn, error) {
	k.fleet.mu.Lock()
	k.attempts++
	away, refuse, slow := k.away, k.refuse, k.slow
	k.fleet.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	if away != nil {
		select {
		case <-away:
		case <-ctx.Done():
			time.Sleep(slow)
			return nil, ctx.Err()
		}
	}
	k.fleet.mu.Lock()
	defer k.fleet.mu.Unlock()
	k.conn = &fakeConn{kind: k, done: make(chan struct{})}
	if k.remote {
		return &fakeRemote{k.conn}, nil
	}
	return k.conn, nil
}

func (k *fakeKind) Release(context.Context, bool) error {
	k.released.Store(true)
	return nil
}

// lose cuts the present connection; with stay the worker does not come back
// until the returned function is called.
func (k *fakeKind) lose(stay bool) (back func()) {
	k.fleet.mu.Lock()
	defer k.fleet.mu.Unlock()
	if stay && k.away == nil {
		k.away = make(chan struct{})
	}
	if k.conn != nil {
		k.conn.cut()
	}
	return k.comes
}

// fakeRemote is the connection to a worker with a process of its own, which
// takes a moment to end when it is told to, and does not come back.
type fakeRemote struct{ *fakeConn }

func (c *fakeRemote) Shutdown(context.Context) error {
	k := c.kind
	k.fleet.mu.Lock()
	k.told.Add(1)
	stubborn := k.stubborn.Load()
	if !stubborn && k.away == nil {
		k.away = make(chan struct{})
	}
	k.fleet.mu.Unlock()
	if !stubborn {
		time.AfterFunc(200*time.Millisecond, c.cut) // Buildbot: remote_shutdown
	}
	return nil
}

// comes lets a worker come back that was told to end, or was lost.
func (k *fakeKind) comes() {
	k.fleet.mu.Lock()
	away := k.away
	k.away = nil
	k.fleet.mu.Unlock()
	if away != nil {
		close(away)
	}
}

type fakeConn struct {
	kind *fakeKind
	once sync.Once
	done chan struct{}
	hold fakeHold
}

func (c *fakeConn) Info() worker.Info {
	return worker.Info{"os_id": "test", "address": "192.0.2.7:5000", "version": "4.1", "admin": "Ann <ann@example.com>"}
}
func (c *fakeConn) Ping(context.Context) error { return c.Err() }
func (c *fakeConn) Done() <-chan struct{}      { return c.done }
func (c *fakeConn) cut()                       { c.once.Do(func() { close(c.done) }) }

func (c *fakeConn) Err() error {
	select {
	case <-c.done:
		return fmt.Errorf("%w: connection reset", worker.ErrLost)
	default:
		return nil
	}
}

func (c *fakeConn) Close() error {
	c.kind.closed.Add(1)
	c.cut()
	return nil
}

func (c *fakeConn) StartBuild(_ context.Context, spec worker.BuildSpec) (worker.Build, error) {
	f := c.kind.fleet
	f.mu.Lock()
	prepare := f.prepare
	f.mu.Unlock()
	if err := c.Err(); err != nil {
		return nil, err
	}
	if prepare != nil {
		if err := prepare(spec); err != nil {
			return nil, err
		}
	}
	b := &fakeBuild{conn: c, spec: spec}
	f.begin(b)
	return b, nil
}

type fakeBuild struct {
	conn *fakeConn
	spec worker.BuildSpec

	mu    sync.Mutex
	busy  bool
	ended bool
}

func (b *fakeBuild) Dir() string                { return "/build/" + b.spec.Token.String() }
func (b *fakeBuild) Properties() map[string]any { return map[string]any{"got_revision": "r1"} }

func (b *fakeBuild) Run(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	f := b.conn.kind.fleet
	b.mu.Lock()
	if b.busy || b.ended {
		f.fault("build %s: %q is run beside another command or after the end", b.spec.Token, cmd.Argv)
	}
	b.busy = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.busy = false
		b.mu.Unlock()
	}()
	if err := b.conn.Err(); err != nil {
		return worker.Exit{}, err
	}
	argv := cmd.Argv
	if len(argv) == 3 && argv[1] == "-c" {
		argv = strings.Fields(argv[2])
	}
	f.mu.Lock()
	s := f.scripts[argv[0]]
	f.mu.Unlock()
	if s == nil {
		return worker.Exit{}, nil
	}
	return s(&fakeCommand{Command: cmd, ctx: ctx, sink: sink, build: b, args: argv[1:]})
}

func (b *fakeBuild) End(_ context.Context, keep worker.KeepDir) (worker.Receipt, error) {
	f := b.conn.kind.fleet
	f.mu.Lock()
	ending := f.ending
	f.mu.Unlock()
	if ending != nil {
		ending(b.spec)
	}
	b.mu.Lock()
	again := b.ended
	b.ended = true
	b.mu.Unlock()
	if again {
		f.fault("build %s is ended twice", b.spec.Token)
		return worker.Receipt{}, nil
	}
	f.end(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := worker.Receipt{Ended: f.left[b.spec.Builder]}
	if keep == worker.RetainDir {
		r.Kept = "/kept/" + b.spec.Token.String()
		f.kept = append(f.kept, fmt.Sprint(b.spec.Builder, " ", b.spec.Number))
	}
	return r, nil
}

// fakeCommand is a command that a script carries out.
type fakeCommand struct {
	worker.Command
	ctx   context.Context
	sink  worker.Sink
	build *fakeBuild
	args  []string
}

// print writes output as a real worker does: what the sink refuses ends it.
func (c *fakeCommand) print(log, text string) error {
	return c.sink.Output(log, worker.Stdout, []byte(text))
}

// env returns a variable of the command's environment.
func (c *fakeCommand) env(name string) string {
	for _, kv := range slices.Backward(c.Env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// sleep lets d pass. It returns true if the command came to its end, else what
// Run returns. A stop takes the whole grace: the command ignores TERM.
func (c *fakeCommand) sleep(d time.Duration) (worker.Exit, error, bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return worker.Exit{}, nil, true
	case <-c.build.conn.done:
		return worker.Exit{}, fmt.Errorf("command %s: %w", c.Label, worker.ErrLost), false
	case <-c.Kill:
	case <-c.ctx.Done():
		grace := time.NewTimer(c.SigtermTime)
		defer grace.Stop()
		select {
		case <-grace.C:
		case <-c.Kill:
		case <-c.build.conn.done:
			return worker.Exit{}, worker.ErrLost, false
		}
	}
	return worker.Exit{Code: -1, Signal: "SIGKILL", Stopped: worker.Cancelled}, nil, false
}

// sleeps is a script that takes d, or the duration that is its argument.
func sleeps(d time.Duration) script {
	return func(c *fakeCommand) (worker.Exit, error) {
		if len(c.args) > 0 {
			var err error
			if d, err = time.ParseDuration(c.args[0]); err != nil {
				return worker.Exit{}, err
			}
		}
		exit, err, _ := c.sleep(d)
		return exit, err
	}
}

// exits is a script that ends with a status.
func exits(code int) script {
	return func(*fakeCommand) (worker.Exit, error) { return worker.Exit{Code: code}, nil }
}

// loses is a script whose worker goes away after d.
func loses(d time.Duration) script {
	return func(c *fakeCommand) (worker.Exit, error) {
		if err := c.print("", "before the loss\n"); err != nil {
			return worker.Exit{}, err
		}
		time.AfterFunc(d, func() { c.build.conn.cut() })
		exit, err, _ := c.sleep(time.Hour)
		return exit, err
	}
}

// fakeHost is a machine budget.
type fakeHost struct {
	mu      sync.Mutex
	slots   int
	cpus    float64
	memory  int64
	blocked string
	others  bool // another runner holds all of it, which Capacity does not tell
	// what another runner has of it, which Capacity tells
	taken     int
	takenNeed worker.Need
	used      worker.Need
	builds    int
	most      int
	needs     []worker.Need // as reserved
	changed   chan struct{}
}

func newFakeHost(slots int) *fakeHost {
	return &fakeHost{slots: slots, cpus: float64(slots), memory: int64(slots) << 30, changed: make(chan struct{}, 1)}
}

func (h *fakeHost) Capacity() Capacity {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Capacity{Slots: h.slots, CPUs: h.cpus, Memory: h.memory, Blocked: h.blocked, OtherBuilds: h.taken, OtherNeed: h.takenNeed}
}

func (h *fakeHost) Reserve(n worker.Need) (any, func(), bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	alone := h.builds+h.taken == 0
	fits := h.builds+h.taken < h.slots && h.used.CPUs+h.takenNeed.CPUs+n.CPUs <= h.cpus && h.used.Memory+h.takenNeed.Memory+n.Memory <= h.memory
	if h.others || !alone && !fits {
		return nil, nil, false
	}
	h.builds++
	h.most = max(h.most, h.builds)
	h.used.CPUs += n.CPUs
	h.used.Memory += n.Memory
	h.needs = append(h.needs, n)
	var once sync.Once
	return n, func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.builds--
			h.used.CPUs -= n.CPUs
			h.used.Memory -= n.Memory
		})
	}, true
}

func (h *fakeHost) Changed() <-chan struct{} { return h.changed }

// set changes the machine and says so.
func (h *fakeHost) set(f func(*fakeHost)) {
	h.mu.Lock()
	f(h)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *fakeHost) inUse() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.builds
}

var errNoDisk = errors.New("no space left on the test's disk")
