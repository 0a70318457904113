package runner

import (
	"context"

	"bothy/runner/config"
	"bothy/runner/worker"
)

// attach makes the kind that a worker of the configuration is.
func (r *Runner) attach(w config.Worker) (worker.Kind, error) {
	if w.Kind == config.WorkerLocal {
		return r.local.NewWorker(w.Name, w.Workdir)
	}
	return dialsIn{}, nil
}

// dialsIn is the kind of workers that connect to the master by themselves.
// Nothing listens for them: they are never connected.
type dialsIn struct{}

func (dialsIn) Attach(ctx context.Context) (worker.Conn, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (dialsIn) Release(context.Context, bool) error { return nil }
