package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"bothy/runner"
	"bothy/runner/config"
	"bothy/runner/config/propose"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
)

// answerTime is how long a master that holds the base directory may take to
// answer on its socket: it may be starting, or ending.
const answerTime = 10 * time.Second

func runRun(ctx context.Context, c *call) error {
	r, err := newRun(c)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.interrupts(ctx, signals)

	err = r.untilDone(ctx)
	if cerr := r.display.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("write the output: %w", cerr)
	}
	switch {
	case r.interrupted.Load() > 0 && !r.unrecorded:
		return exit(exitInterrupted)
	case err != nil:
		return err
	}
	return exit(r.code)
}

// run is one use of "bothy run".
type run struct {
	call        *call
	conf        *config.Config
	req         control.RunRequest
	display     display
	accepted    map[int64]bool // requests on disk; true: we were told that it is finished
	code        int
	waiting     bool // for another run; said once
	ended       bool
	unrecorded  bool // what became of the builds is not on disk
	client      atomic.Pointer[control.Client]
	serving     atomic.Pointer[runner.Runner] // for other terminals, after our builds
	hurried     bool                          // belongs to interrupts
	interrupted atomic.Int32
	reason      atomic.Pointer[string] // of the interrupt
}

func newRun(c *call) (*run, error) {
	r := &run{call: c, accepted: map[int64]bool{}}
	if c.command != nil && (len(c.args) > 0 || len(c.command) == 0) {
		return nil, wrongUsage("run takes builders, or \"--\" and a command; see \"bothy run --help\"")
	}
	note, err := r.configure()
	if err != nil {
		return nil, err
	}
	props, err := properties(c)
	if err != nil {
		return nil, err
	}
	r.req = control.RunRequest{
		Session: rand.Text(), Builders: c.args, Argv: c.command, Props: props, Dir: c.Dir, Env: c.Environ,
		Digest: r.conf.Digest, File: r.conf.File, KeepOn: c.flag("keep-going"),
	}
	if err := r.checkBuilders(); err != nil {
		return nil, err
	}
	r.display = newDisplay(c.Env, displayOptions{
		JSON: c.flag("json"), AdHoc: c.command != nil,
		Single: len(c.args) == 1 || len(c.args) == 0 && len(r.conf.Builders) == 1,
	})
	c.Stderr = beside(r.display, c.Stderr) // log lines must not tear the tree
	if note != "" {
		r.display.Show(control.Update{Kind: control.Note, Time: time.Now(), Text: note})
	}
	return r, nil
}

// configure finds what to run: a file, or what init would propose, or for an
// ad-hoc command nothing at all.
func (r *run) configure() (note string, err error) {
	c := r.call
	file, err := c.configFile()
	switch {
	case err == nil:
		var warnings []config.Warning
		if r.conf, warnings, err = config.Load(file); err != nil {
			return "", &exitError{code: exitUsage, err: err}
		}
		for _, w := range warnings {
			fmt.Fprintln(c.Stderr, "warning:", w)
		}
		return "", nil
	case !errors.Is(err, fs.ErrNotExist) || c.config != "":
		return "", err
	}
	if c.command != nil {
		r.conf = &config.Config{Dir: c.Dir}
		return "", nil
	}
	text, found, perr := propose.Dir(c.Dir)
	if perr != nil {
		return "", &exitError{code: exitUsage, err: perr}
	}
	if len(found) == 0 {
		return "", err
	}
	if r.conf, _, err = config.Parse(filepath.Join(c.Dir, "bothy.toml"), text); err != nil {
		return "", fmt.Errorf("what init proposes: %w", err)
	}
	r.conf.File = ""
	return fmt.Sprintf("no bothy.toml: running what \"bothy init\" would propose for %s", strings.Join(found, ", ")), nil
}

func properties(c *call) (map[string]string, error) {
	pairs, err := c.flags.GetStringArray("property")
	if err != nil {
		return nil, err
	}
	props := make(map[string]string, len(pairs))
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, wrongUsage("-p %s: write NAME=VALUE", p)
		}
		props[name] = value
	}
	return props, nil
}

func (r *run) checkBuilders() error {
	var names []string
	known := map[string]bool{}
	for _, b := range r.conf.Builders {
		names = append(names, b.Name)
		known[b.Name] = true
	}
	for _, n := range r.call.args {
		if !known[n] {
			return wrongUsage("no builder %q%s; the configuration has %s", n, didYouMean(n, names), strings.Join(names, ", "))
		}
	}
	if r.call.command == nil && len(names) == 0 {
		return wrongUsage("%s has no builders", r.call.show(r.conf.File))
	}
	return nil
}

// untilDone runs the session, on this process's own master or on one that
// holds the base directory already. When that one goes, the next serves.
func (r *run) untilDone(ctx context.Context) error {
	for {
		if r.interrupted.Load() > 0 && !r.waits() {
			return nil
		}
		err := r.attempt(ctx)
		switch {
		case r.ended:
			return nil
		case errors.Is(err, control.ErrBusy):
			if err := r.waitForOther(ctx, err); err != nil {
				return err
			}
			continue
		case !errors.Is(err, control.ErrGone) || ctx.Err() != nil:
			return err
		}
		// With the finished ones: they count in the end, and without any the next
		// master would take us for new. It does if nothing was accepted.
		r.req.Reattach = slices.Sorted(maps.Keys(r.accepted))
		r.display.Show(control.Update{Kind: control.Note, Time: time.Now(), Text: "the master has ended; taking over"})
	}
}

// waits reports whether a request is not finished, for all we know.
func (r *run) waits() bool {
	for _, finished := range r.accepted {
		if !finished {
			return true
		}
	}
	return false
}

func (r *run) attempt(ctx context.Context) error {
	own, err := runner.Open(r.conf, runner.Options{
		Logger: r.call.logger(), Foreground: true, Environ: r.call.Environ,
	})
	var held *runner.HeldError
	if errors.As(err, &held) {
		return r.handOver(ctx, err)
	}
	if err != nil {
		return err
	}
	if err := own.Start(ctx); err != nil {
		return errors.Join(err, own.Kill(ctx))
	}
	dial := func(context.Context) (net.Conn, error) { return own.InProcessConn() }
	err = r.session(ctx, dial)
	return errors.Join(err, r.shutdown(ctx, own, dial))
}

// shutdown ends this process's own master. Builds of other terminals that it
// runs finish first, which is said if it takes a while.
func (r *run) shutdown(ctx context.Context, own *runner.Runner, dial func(context.Context) (net.Conn, error)) error {
	ended := make(chan error, 1)
	go func() { ended <- own.Shutdown(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Second):
	}
	// Our builds have ended. A slow disk takes its time too, without any builds.
	if s, err := control.NewClient(dial).Status(ctx); err == nil && s.Running > 0 {
		r.serving.Store(own)
		fmt.Fprintln(r.call.Stderr, "bothy: builds of another terminal still run here; Ctrl-C has that terminal run them again")
	}
	return <-ended
}

// layoutOf finds the base directory of a configuration that was completed.
func layoutOf(conf *config.Config) (basedir.Layout, error) {
	dir, err := conf.Abs(conf.BaseDir)
	if err != nil {
		return basedir.Layout{}, fmt.Errorf("base directory: %w", err)
	}
	return basedir.Resolve(dir)
}

// waitForOther waits a moment for a run with another configuration to end.
func (r *run) waitForOther(ctx context.Context, why error) error {
	if !r.waiting {
		r.waiting = true
		r.display.Show(control.Update{Kind: control.Note, Time: time.Now(), Text: why.Error() + "; waiting for its end"})
	}
	if r.interrupted.Load() > 0 {
		return context.Canceled
	}
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOver has the master that holds the base directory run the session.
func (r *run) handOver(ctx context.Context, held error) error {
	layout, err := layoutOf(r.conf)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(answerTime)
	for {
		conn, err := basedir.Dial(ctx, layout)
		if err == nil {
			err = conn.Close() // it answers
			return errors.Join(err, r.session(ctx, func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) }))
		}
		if h, herr := basedir.Hold(layout); herr == nil { // nobody holds it any more
			return errors.Join(fmt.Errorf("%w: it let go of the base directory", control.ErrGone), h.Close())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w; it does not answer on its control socket: %w", held, err)
		}
		select {
		case <-time.After(50 * time.Millisecond): // starting or ending takes about that long
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// session asks a master for the builds and shows what it tells.
func (r *run) session(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
	client := control.NewClient(dial)
	r.client.Store(client)
	defer r.client.Store(nil)
	err := client.Run(ctx, r.req, func(u control.Update) error {
		switch u.Kind {
		case control.Accepted:
			r.accepted[u.Request] = false
			r.cancel(ctx) // if there was an interrupt before
		case control.BuildNew:
			r.cancel(ctx)
		case control.RequestOK:
			if r.accepted[u.Request] {
				return nil // an earlier master has told it
			}
			r.accepted[u.Request] = true
		case control.End:
			r.ended, r.unrecorded, r.code = true, u.Text != "", u.ExitCode
		}
		r.display.Show(u)
		return nil
	})
	var refused *control.RefusedError
	switch {
	case !errors.As(err, &refused):
	case refused.Unable:
		return &exitError{code: exitInfra, err: err}
	default:
		return &exitError{code: exitUsage, err: err}
	}
	return err
}

// interrupts passes signals on: the first ends the builds with their grace,
// the second at once, a third this process.
func (r *run) interrupts(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case s := <-signals:
			if own := r.serving.Load(); own != nil {
				r.handOff(ctx, own)
				continue
			}
			reason := "interrupted"
			if s != os.Interrupt {
				reason = fmt.Sprintf("stopped by signal: %s", s)
			}
			r.reason.Store(&reason)
			n := r.interrupted.Add(1)
			switch {
			case n > 2:
				os.Exit(exitInterrupted)
			case n == 1:
				r.display.Show(control.Update{Kind: control.Note, Time: time.Now(), Text: "stopping; once more: at once"})
			}
			r.cancel(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// cancel has the master end the builds, as hard as was asked for so far. A
// master that does not know of them yet is asked again by session.
func (r *run) cancel(ctx context.Context) {
	client := r.client.Load()
	if client == nil || r.interrupted.Load() == 0 {
		return
	}
	c := control.Cancel{Now: r.interrupted.Load() > 1, Reason: *r.reason.Load()}
	if err := client.Cancel(ctx, r.req.Session, c); err != nil && ctx.Err() == nil {
		fmt.Fprintln(r.call.Stderr, "bothy: cancel:", err)
	}
}

// handOff ends this process's master, and with it the builds of other
// terminals, which take over; a second call does so at once.
func (r *run) handOff(ctx context.Context, own *runner.Runner) {
	end := own.Stop
	if r.hurried {
		end = own.Kill
	}
	r.hurried = true
	go func() { _ = end(ctx) }() // attempt waits for the same and reports it
}
