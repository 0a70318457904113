package runner

import (
	"context"
	"net/http"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/secret"
	"bothy/runner/worker"
)

// prepare makes ready what follows from a configuration. Of secrets only those
// of people and workers are asked for now: a store of secrets that is down keeps
// no build from starting that does not need it.
func (r *Runner) prepare(ctx context.Context, c *config.Config, environ []string) (engine.Prepared, error) {
	secrets, err := secret.New(c, environ)
	if err != nil {
		return engine.Prepared{}, err
	}
	web, err := r.webAccess(ctx, c, secrets)
	if err != nil {
		return engine.Prepared{}, err
	}
	workers, err := r.dialInOf(ctx, c, secrets)
	if err != nil {
		return engine.Prepared{}, err
	}
	p := engine.Prepared{
		Secrets: secrets,
		BaseEnv: worker.BaseEnv(environ, c.Machine.PassEnv),
		Mailer:  func(ctx context.Context) (engine.Mailer, error) { return secrets.Relay(ctx, c.Mail) },
		Adopt: func() {
			r.adoptDialIn(workers)
			// Who may listen is asked when they connect.
			if old := r.web.Swap(web); old.credentials != nil || web.credentials != nil {
				still := func(req *http.Request) bool { return r.lets(web, req) }
				r.api.DropListeners(still)
				r.page.CheckStreams(still)
			}
		},
	}
	if r.engine == nil {
		r.web.Store(web) // the first: nobody can have asked yet
		r.adoptDialIn(workers)
	} else {
		p.Restart = needRestart(r.conf, c)
	}
	return p, nil
}
