package runner

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/auth"
	"bothy/runner/internal/remote"
	"bothy/runner/internal/secret"
	"bothy/runner/worker"
)

// gracefulTime bounds how long a worker's own wish to be stopped may take to be
// noted.
const gracefulTime = 10 * time.Second

// ServeWorkers accepts remote workers on ln, over MessagePack and Perspective
// Broker, as the [remote] table and the remote workers of the configuration say.
// It returns nil when the Runner has ended, and closes ln. It may be called for
// several listeners.
func (r *Runner) ServeWorkers(ln net.Listener) error {
	if err := r.remote.Serve(ln); !errors.Is(err, remote.ErrListenerClosed) {
		return fmt.Errorf("serve workers: %w", err)
	}
	return nil
}

// newRemote makes what remote workers connect to.
func (r *Runner) newRemote() (err error) {
	r.remote, err = remote.NewListener(remote.Options{
		Password: func(name string) (remote.Password, bool) {
			p, ok := r.dialIn.Load().passwords[name]
			return remote.Password(p), ok
		},
		Builders: func(name string) []string { return r.dialIn.Load().builders[name] },
		Graceful: func(name string) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), gracefulTime)
				defer cancel()
				if err := r.engine.ControlWorker(ctx, name, worker.Stop, name, "the worker asked for it"); err != nil {
					r.log.Warn("worker is not stopped as it asked", "worker", name, "err", err)
				}
			}()
		},
		KeepFailed: r.conf.Store.KeepFailedWorkspaces, Logger: r.log,
	})
	return err
}

// attach makes the kind that a worker of the configuration is.
func (r *Runner) attach(w config.Worker) (worker.Kind, error) {
	if w.Kind == config.WorkerLocal {
		return r.local.NewWorker(w.Name, w.Workdir)
	}
	return r.remote.Worker(w)
}

// dialIn is what a configuration says of the workers that connect by themselves.
type dialIn struct {
	passwords map[string]secret.WorkerPassword
	builders  map[string][]string
	workers   []config.Worker
	tls       *tls.Config
}

// dialIn looks up what remote workers and their master must know.
func (r *Runner) dialInOf(ctx context.Context, c *config.Config, secrets *secret.Chain) (*dialIn, error) {
	d := &dialIn{builders: map[string][]string{}}
	if r.foreground {
		return d, nil // nobody can connect to a terminal's master
	}
	var err error
	var found *secret.Passwords
	if found, err = secrets.Passwords(ctx, &config.Config{Workers: c.Workers, Dir: c.Dir}); err != nil {
		return nil, err
	}
	d.passwords = found.Workers
	for _, w := range c.AllWorkers() {
		if w.Kind != config.WorkerLocal {
			d.workers = append(d.workers, w)
		}
	}
	for _, b := range c.Builders {
		for _, w := range c.WorkersOf(b.Name) {
			d.builders[w] = append(d.builders[w], b.Name)
		}
	}
	var paths [3]string
	for i, p := range []string{c.Remote.TLSCert, c.Remote.TLSKey, c.Remote.ClientCA} {
		if p == "" {
			continue
		}
		if paths[i], err = c.Abs(p); err != nil {
			return nil, fmt.Errorf("[remote]: %w", err)
		}
	}
	if d.tls, err = remote.TLS(paths[0], paths[1], paths[2]); err != nil {
		return nil, err
	}
	return d, nil
}

// adopt makes it count for whoever connects from now on.
func (r *Runner) adoptDialIn(d *dialIn) {
	for name, p := range d.passwords {
		if why := auth.Weakness(name, p.Text); p.Text != "" && why != "" {
			r.log.Warn("the password of a worker is weak", "worker", name, "why", why)
		}
	}
	r.dialIn.Store(d)
	r.remote.SetTLS(d.tls)
	r.remote.Update(d.workers)
}
