package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"time"

	"bothy/runner"
	"bothy/runner/config"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
)

// logger writes what a person who runs a master should know: to stderr, only
// warnings unless BOTHY_DEBUG is set.
func (c *call) logger() *slog.Logger {
	level := slog.LevelWarn
	if c.Getenv("BOTHY_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(c.Stderr, &slog.HandlerOptions{Level: level}))
}

func runServe(ctx context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	file, err := c.configFile()
	if err != nil {
		return err
	}
	conf, warnings, err := config.Load(file)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	if c.flag("drain") {
		return drain(ctx, conf)
	}
	log := slog.New(slog.NewTextHandler(c.Stderr, nil))
	for _, w := range warnings {
		log.Warn(w.String())
	}
	r, err := runner.Open(conf, runner.Options{Logger: log, Environ: c.Environ})
	if err != nil {
		return err
	}
	return serve(ctx, r, conf, log)
}

// loadTime bounds a reload with all the secrets it looks up.
const loadTime = time.Minute

// drain tells the running master to finish what runs and to exit, and waits.
func drain(ctx context.Context, conf *config.Config) error {
	layout, err := layoutOf(conf)
	if err != nil {
		return err
	}
	client := control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) })
	if err := client.Drain(ctx); err != nil {
		return fmt.Errorf("no master to drain: %w", err)
	}
	return nil
}

func serve(ctx context.Context, r *runner.Runner, conf *config.Config, log *slog.Logger) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, serveSignals()...)
	defer signal.Stop(signals)

	ln, err := net.Listen("tcp", conf.Web.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for the web: %w", err), r.Kill(ctx))
	}
	if err := r.Start(ctx); err != nil {
		return errors.Join(err, ln.Close(), r.Kill(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(ln) }()
	log.Info("serving", "url", scheme(conf)+"://"+ln.Addr().String()+"/", "basedir", r.BaseDir(), "builders", len(conf.Builders))

	workers := make(chan error, 1)
	listening := false
	listen := func(conf *config.Config) (net.Listener, error) { // nil: there is one, or no remote worker yet
		if listening || !dialsIn(conf) {
			return nil, nil
		}
		ln, err := net.Listen("tcp", conf.Remote.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen for remote workers: %w", err)
		}
		return ln, nil
	}
	await := func(ln net.Listener) {
		if ln == nil {
			return
		}
		listening = true
		log.Info("awaiting workers", "address", ln.Addr().String())
		go func() { workers <- r.ServeWorkers(ln) }()
	}
	dialIn, err := listen(conf)
	if err != nil {
		return errors.Join(err, r.Stop(ctx))
	}
	await(dialIn)

	var changed <-chan struct{}
	if watch, err := watchFile(conf.File, log); err != nil {
		log.Warn("a change of the configuration takes a SIGHUP", "err", err)
	} else {
		defer watch.close()
		changed = watch.changed
	}

	// A store of secrets may be slow to answer: signals are obeyed meanwhile.
	loads, cancelLoads := context.WithCancel(ctx)
	defer cancelLoads()
	loaded := make(chan reloaded, 1)
	loading, again := false, false
	load := func() {
		if loading {
			again = true
			return
		}
		loading, again = true, false
		file := conf.File
		go func() {
			ctx, cancel := context.WithTimeout(loads, loadTime)
			defer cancel()
			loaded <- reload(ctx, r, file, listen, log)
		}()
	}
	stop := func(how func(context.Context) error) {
		cancelLoads()
		go func() { _ = how(context.WithoutCancel(ctx)) }() // Kill below tells how it went
	}
	stops := 0
	for {
		select {
		case s := <-signals:
			switch {
			case isDrain(s):
				log.Info("draining: finishing what runs")
				stop(r.Shutdown)
			case isReload(s):
				load()
			case stops == 0:
				stops++
				log.Info("stopping: running builds are queued again", "signal", s.String())
				stop(r.Stop)
			default:
				log.Info("stopping at once", "signal", s.String())
				stop(r.Kill)
			}
		case <-changed:
			load()
		case next := <-loaded:
			loading = false
			if next.conf != nil {
				conf = next.conf
			}
			await(next.workers)
			if again {
				load()
			}
		case err := <-workers:
			if err != nil {
				return errors.Join(err, r.Stop(ctx))
			}
			workers = nil
		case <-ctx.Done():
			stop(r.Stop)
			ctx = context.WithoutCancel(ctx)
		case err := <-served:
			if err != nil {
				return errors.Join(err, r.Stop(ctx))
			}
			served = nil
		case <-r.Done():
			return r.Kill(ctx) // what Done left to say
		}
	}
}

func scheme(conf *config.Config) string {
	if conf.Web.TLSCert != "" {
		return "https"
	}
	return "http"
}

// dialsIn reports whether there are workers that connect by themselves.
func dialsIn(conf *config.Config) bool {
	return slices.ContainsFunc(conf.Workers, func(w config.Worker) bool { return w.Kind != config.WorkerLocal })
}
