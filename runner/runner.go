// Package runner embeds a build runner: a master and any number of in-process
// workers, sized by the CPU and memory that this machine, container or cgroup
// really grants.
//
//	func main() {
//		runner.Helper() // first: a re-executed helper process ends here
//		cfg := &config.Config{Builders: []config.Builder{{
//			Name: "test", Steps: []config.Step{config.Shell("go test ./...")},
//		}}}
//		r, err := runner.Open(cfg, runner.Options{})
//		…
//		go r.Run(ctx)
//		req, err := r.Submit(ctx, runner.Request{Builder: "test"})
//		b, err := req.Wait(ctx)
//	}
//
// Open validates and takes hold of the base directory; it binds no port. Run,
// or Start and Shutdown, run builds. There are no globals, and nothing here
// ends the process; two Runners may live in one process, with a base directory
// each, and share the machine's budget.
//
// Configuration is package [bothy/runner/config]; results, properties and
// interpolation are package [bothy/runner/build].
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"bothy/localworker"
	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/remote"
	"bothy/runner/internal/store"
	"bothy/runner/internal/web"
	"bothy/runner/worker"
)

// commitPace bounds commits under load to 100 a second. Ten short builds then
// share one, and nobody sees 10 ms.
const commitPace = 10 * time.Millisecond

// Helper ends here if this process was started as a helper of a Runner, and
// does nothing otherwise. Call it first in main, before anything that prints,
// listens or starts goroutines. Without it builds are contained less well:
// their processes may outlive a master that is killed, which [Runner] logs and
// "bothy doctor" says.
func Helper() { localworker.Helper() }

// Options are what a Runner gets from its embedder. The zero value is fine.
type Options struct {
	// Logger gets what a person who runs the master should know. Default: none.
	Logger *slog.Logger
	// Steps are the Go functions that steps with func = "NAME" run.
	Steps map[string]StepFunc
	// Foreground starts only what terminals ask for over the control socket, as
	// "bothy run" does; other requests wait for a master.
	Foreground bool
	// Environ is what the environment of steps is taken from, by an allow-list
	// and [config.Machine.PassEnv]. Default: os.Environ().
	Environ []string
	// Auth says who makes a request to [Runner.Handler]. It may be called many
	// times at once. Default: everybody may look, nobody may act.
	Auth func(*http.Request) (Identity, error)
}

// Errors that a caller may want to tell apart, with errors.Is.
var (
	// ErrStopped says that the Runner is stopping or has stopped.
	ErrStopped = engine.ErrStopped
	// ErrDegraded says that nothing can be recorded at present, for instance
	// because the disk is full. The Runner recovers by itself.
	ErrDegraded = engine.ErrDegraded
	// ErrUnknown says that a builder, worker or request does not exist.
	ErrUnknown = engine.ErrUnknown
)

// HeldError says that another process holds the base directory, and which.
type HeldError = basedir.HeldError

// Runner is a master and its workers. Its methods may be called from many
// goroutines.
type Runner struct {
	conf   *config.Config
	log    *slog.Logger
	layout basedir.Layout
	holder *basedir.Holder
	store  *store.Store
	logs   *logs.Store
	// artifacts has files of builds that are kept.
	artifacts *artifacts.Store
	budget    *localworker.Budget
	local     *localworker.Host
	engine    *engine.Engine
	api       *api.API
	page      *web.Web
	auth      func(*http.Request) (Identity, error)
	web       atomic.Pointer[webAccess]
	remote    *remote.Listener
	dialIn    atomic.Pointer[dialIn]
	server    *control.Server
	pipe      *pipeListener

	sessions web.Sessions // they outlive a reload

	foreground bool

	mu      sync.Mutex
	started bool
	closed  bool
	serving sync.WaitGroup
	done    chan struct{}
	err     error
}

// Open validates cfg, takes hold of its base directory, recovers what an
// earlier master left there and prepares a Runner. It binds no port and starts
// no build. A Runner that is never started must be closed with Shutdown.
//
// The configuration must not be changed afterwards.
func Open(cfg *config.Config, o Options) (*Runner, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	warnings, err := cfg.Complete()
	if err != nil {
		return nil, err
	}
	if cfg.File == "" && !o.Foreground { // whoever loaded a file has them already
		for _, w := range warnings {
			log.Warn("configuration", "warning", w.String())
		}
	}
	r := &Runner{conf: cfg, log: log, foreground: o.Foreground, auth: o.Auth, done: make(chan struct{})}
	if err := r.open(o); err != nil {
		return nil, errors.Join(err, r.release(false))
	}
	return r, nil
}

func (r *Runner) open(o Options) error {
	dir, err := r.conf.Abs(r.conf.BaseDir)
	if err != nil {
		return fmt.Errorf("base directory: %w", err)
	}
	if r.layout, err = basedir.Resolve(dir); err != nil {
		return err
	}
	if r.layout.Reason != "" {
		r.log.Info("base directory", "dir", r.layout.Dir, "because", r.layout.Reason)
	}
	if r.holder, err = basedir.Hold(r.layout); err != nil {
		return err
	}
	m := r.conf.Machine
	r.budget, err = localworker.Shared(localworker.MachineOptions{
		ConfiguredCPUs: m.CPUs, ConfiguredMemory: m.Memory, Reserve: m.ReserveMemory, MemoryPerBuild: m.MemoryPerBuild,
	}, r.log)
	if err != nil {
		return err
	}
	if errs := r.conf.CheckMachine(r.budget.Machine()); len(errs) > 0 {
		return config.Errors(errs)
	}
	if err := r.newRemote(); err != nil {
		return err
	}
	r.local, err = localworker.NewHost(localworker.HostOptions{
		Budget: r.budget, BaseDir: r.layout.Dir, BaseID: r.holder.ID(), Version: Version(),
		KeepFailed: max(0, r.conf.Store.KeepFailedWorkspaces), Logger: r.log,
	})
	if err != nil {
		return err
	}
	if o.Foreground {
		r.local.Warm() // a terminal waits for it
	}
	if r.store, err = store.Open(r.layout.StateDB, r.log); err != nil {
		return err
	}
	rec, err := r.store.Start()
	if err != nil {
		return err
	}
	r.local.SetEpoch(rec.Epoch)
	r.remote.SetEpoch(rec.Epoch)
	if r.logs, err = logs.Open(r.layout.LogDir, logs.Options{Logger: r.log}); err != nil {
		return err
	}
	rec.NextLog = max(rec.NextLog, r.logs.MaxID()+1)
	r.artifacts = artifacts.Open(r.layout.ArtifactDir, rec.NextBuild)
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	steps := make(map[string]engine.StepFunc, len(o.Steps))
	for name, f := range o.Steps {
		steps[name] = adaptStep(f)
	}
	r.engine, err = engine.New(engine.Options{
		Config: r.conf, Store: r.store, Logs: r.logs, Recovered: rec, Host: host{r.budget},
		Attach: r.attach,
		Steps:  steps, Logger: r.log, Foreground: o.Foreground,
		BaseDir:    r.layout.Dir,
		Artifacts:  r.artifacts,
		TextLogDir: filepath.Join(r.layout.Dir, "runs"),
		CommitPace: commitPace,
		BaseEnv:    worker.BaseEnv(environ, m.PassEnv),
		Prepare: func(ctx context.Context, c *config.Config) (engine.Prepared, error) {
			return r.prepare(ctx, c, environ)
		},
		Ballast: r.holder.Ballast(),
	})
	if err != nil {
		return err
	}
	return r.newAPI()
}

// release lets go of what Open took. With clean it leaves word that no process of
// a build is left.
func (r *Runner) release(clean bool) error {
	// The last processes and the disk take their time side by side.
	processes := make(chan error, 1)
	go func() {
		if r.local == nil {
			processes <- nil
			return
		}
		processes <- r.local.Close()
	}()
	var errs []error
	if r.remote != nil {
		errs = append(errs, r.remote.Close())
	}
	if r.logs != nil {
		errs = append(errs, r.logs.Close())
	}
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	err := <-processes
	errs = append(errs, err)
	if r.budget != nil {
		r.budget.Close()
	}
	if r.holder != nil {
		if clean && err == nil {
			errs = append(errs, r.holder.Clean())
		}
		errs = append(errs, r.holder.Close())
	}
	return errors.Join(errs...)
}

// Start begins to run builds and returns. It may be called once.
func (r *Runner) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return ErrStopped
	case r.started:
		return errors.New("start the runner: it was started already")
	}
	r.started = true
	swept := true
	if r.holder.Crashed() {
		ended, err := r.local.Sweep(ctx)
		for _, p := range ended {
			r.log.Warn("ended a process of an earlier master", "pid", p.PID, "name", p.Name)
		}
		if err != nil {
			r.log.Warn("sweep of an earlier master's processes", "err", err)
			swept = false // the next one tries again
		}
	}
	r.server = control.NewServer(controlled{r}, r.trusted(), r.log)
	r.pipe = newPipeListener()
	r.serving.Go(func() { r.serve(r.pipe) })
	if r.foreground { // a terminal need not wait for what other terminals come by
		r.serving.Go(func() {
			if ln := r.socket(); ln != nil {
				r.serve(ln)
			}
		})
	} else if ln := r.socket(); ln != nil {
		r.serving.Go(func() { r.serve(ln) })
	}
	go func() {
		r.engine.Run()
		r.api.Close()
		r.page.Close()
		err := r.server.Close()
		r.serving.Wait()
		r.err = errors.Join(err, r.release(swept && err == nil))
		close(r.done)
	}()
	return nil
}

// socket opens the control socket; nil: it cannot be.
func (r *Runner) socket() net.Listener {
	ln, err := r.holder.Listen()
	if err != nil {
		r.log.Warn("no control socket: bothy run cannot hand over to this master", "err", err)
		return nil
	}
	return ln
}

// serve serves a control socket until the server is closed, and closes it.
func (r *Runner) serve(ln net.Listener) {
	if err := r.server.Serve(ln); err != nil {
		r.log.Error("control socket", "err", err)
	}
}

// Run starts the Runner and blocks until ctx ends; then it stops as [Runner.Stop]
// does, and returns when all has ended. It returns nil if that went well.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		r.engine.Stop(engine.Requeue)
	case <-r.done:
	}
	<-r.done
	return r.err
}

// Reload takes over another configuration and says what changed, a change a
// line. All of it is made ready first: an error means that nothing has changed.
// Running builds keep the configuration they started with; pending requests of
// builders that are gone are cancelled; workers that are gone take no more
// builds. The base directory cannot change. cfg must not be changed afterwards.
func (r *Runner) Reload(ctx context.Context, cfg *config.Config) (changes []string, err error) {
	if _, err := cfg.Complete(); err != nil {
		return nil, err
	}
	if errs := cfg.CheckMachine(r.budget.Machine()); len(errs) > 0 {
		return nil, config.Errors(errs)
	}
	diff, err := r.engine.Reload(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	return diff.Lines(), nil
}

// Shutdown starts no more builds, lets those that run finish and waits for all
// to end. Pending requests stay, for the next Runner on this base directory.
// When ctx ends first, Shutdown returns its error, and the Runner goes on
// shutting down. It may be called at any time, and more than once.
func (r *Runner) Shutdown(ctx context.Context) error { return r.end(ctx, engine.Drain) }

// Stop is Shutdown that does not let builds finish: they are ended with their
// grace, recorded as RETRY and queued again.
func (r *Runner) Stop(ctx context.Context) error { return r.end(ctx, engine.Requeue) }

// Kill is Stop without grace and without always_run steps.
func (r *Runner) Kill(ctx context.Context) error { return r.end(ctx, engine.AtOnce) }

func (r *Runner) end(ctx context.Context, mode engine.StopMode) error {
	r.mu.Lock()
	if !r.started && !r.closed {
		r.closed = true
		r.err = r.release(false)
		close(r.done)
	}
	r.closed = true
	r.mu.Unlock()
	r.engine.Stop(mode)
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("shut down: %w", ctx.Err())
	}
}

// Done is closed when the Runner has ended: no build runs, no goroutine of it
// is left, and the base directory is free.
func (r *Runner) Done() <-chan struct{} { return r.done }

// BaseDir returns the directory that holds state, logs and build directories.
// It is not the configured one where that lies on a file system on which
// databases are unsafe.
func (r *Runner) BaseDir() string { return r.layout.Dir }

// InProcessConn returns a connection to the control interface of a Runner that
// was started, the one that "bothy run" speaks over a Unix socket, without a
// socket.
func (r *Runner) InProcessConn() (net.Conn, error) {
	r.mu.Lock()
	pipe := r.pipe
	r.mu.Unlock()
	if pipe == nil {
		return nil, errors.New("connect to the runner: it was not started")
	}
	return pipe.dial()
}

// host makes the budget what the engine asks for.
type host struct{ b *localworker.Budget }

func (h host) Capacity() engine.Capacity {
	c, others := h.b.Share()
	return engine.Capacity{
		Slots: c.Slots, CPUs: c.CPUs, Memory: c.Memory, Blocked: c.Blocked,
		OtherBuilds: others.Builds, OtherNeed: others.Need,
	}
}

func (h host) Reserve(n worker.Need) (slot any, release func(), ok bool) {
	res, ok := h.b.Reserve(n)
	if !ok {
		return nil, nil, false
	}
	return res, res.Release, true
}

func (h host) Changed() <-chan struct{} { return h.b.Changed() }

// controlled is the Runner as the control interface sees it.
type controlled struct{ r *Runner }

func (c controlled) RunSession(ctx context.Context, req control.RunRequest, send func(control.Update) error) error {
	err := c.r.engine.RunSession(ctx, req, send)
	if errors.Is(err, ErrStopped) {
		return fmt.Errorf("%w: %w", control.ErrGone, err)
	}
	if errors.Is(err, ErrDegraded) {
		return &control.RefusedError{Text: err.Error(), Unable: true}
	}
	return err
}

func (c controlled) CancelSession(ctx context.Context, id string, cancel control.Cancel) error {
	return c.r.engine.CancelSession(ctx, id, cancel)
}

func (c controlled) Submit(ctx context.Context, req control.SubmitRequest) (control.Submitted, error) {
	qs := make([]Request, len(req.Builders))
	for i, b := range req.Builders {
		qs[i] = Request{Builder: b, Priority: req.Priority, Reason: req.Reason, Properties: map[string]any{}}
		for name, v := range req.Props {
			qs[i].Properties[name] = v
		}
	}
	reqs, err := c.r.SubmitAll(ctx, qs...)
	var out control.Submitted
	for _, q := range reqs {
		out.Requests = append(out.Requests, q.ID)
	}
	return out, err
}

func (c controlled) Status(ctx context.Context) (control.Status, error) {
	s, err := c.r.engine.Status(ctx)
	s.PID = os.Getpid()
	return s, err
}

func (c controlled) Drain() { c.r.engine.Stop(engine.Drain) }

// reloadTime is how long a terminal waits for a master to notice that the file
// they share was changed a moment ago.
const reloadTime = 2 * time.Second

// Accept refuses a terminal whose configuration is not the one this master has
// loaded: it would run something else than the person sees in the file. If this
// master is itself only a terminal's, the other waits for its end.
func (c controlled) Accept(req control.RunRequest) error {
	same := func() bool { return len(req.Argv) > 0 || req.Digest == c.r.engine.Config().Digest }
	if same() {
		return nil
	}
	if c.r.foreground {
		return control.ErrBusy
	}
	if req.File == c.r.engine.Config().File {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(reloadTime); time.Now().Before(end); <-tick.C {
			if same() {
				return nil
			}
		}
	}
	return fmt.Errorf("the running master (pid %d) has loaded another configuration than %s: its log says why, or wait for it to end", os.Getpid(), req.File)
}

// pipeListener is a listener for connections within the process.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipeListener) dial() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, ErrStopped
	}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "in process" }
