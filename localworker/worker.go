package localworker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"bothy/localworker/internal/workspace"
	"bothy/runner/worker"
)

// Worker is one local worker. While idle it is a small struct without a
// goroutine.
type Worker struct {
	host *Host
	name string
	dir  string

	mu    sync.Mutex
	area  *workspace.Area // nil before the first build or sweep
	conn  *conn           // nil while not attached
	swept bool
}

var _ worker.Kind = (*Worker)(nil)

// NewWorker returns the worker of that name. workDir is where its builds' directories
// are; empty: workers/NAME in the base directory, and relative: below the base
// directory. Two workers must not share one.
func (h *Host) NewWorker(name, workDir string) (*Worker, error) {
	if name == "" {
		return nil, fmt.Errorf("local worker without a name")
	}
	if workDir == "" {
		workDir = filepath.Join("workers", name)
	}
	if !filepath.IsAbs(workDir) {
		workDir = filepath.Join(h.o.BaseDir, workDir)
	}
	return &Worker{host: h, name: name, dir: workDir}, nil
}

// Attach attaches the worker at once. After the connection was closed it may be
// attached again. What a crash left in its directory is removed in the background.
func (w *Worker) Attach(ctx context.Context) (worker.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if w.host.isClosed() {
		return nil, fmt.Errorf("attach worker %s: %w", w.name, errClosed)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil && !w.conn.isClosed() {
		return nil, fmt.Errorf("attach worker %s: it is attached", w.name)
	}
	if !w.swept {
		if err := w.sweep(); err != nil {
			return nil, fmt.Errorf("attach worker %s: %w", w.name, err)
		}
		w.swept = true
	}
	w.conn = &conn{w: w, done: make(chan struct{})}
	return w.conn, nil
}

// Release does nothing: a local worker needs nothing beyond its connection.
func (w *Worker) Release(context.Context, bool) error { return nil }

// workspace returns the worker's directories. The caller holds mu.
func (w *Worker) workspace() (*workspace.Area, error) {
	if w.area != nil {
		return w.area, nil
	}
	o := w.host.o
	area, err := workspace.New(workspace.Options{
		Dir: w.dir, BaseDir: o.BaseDir,
		KeepFailed: o.KeepFailed, KeepFailedBytes: o.KeepFailedBytes,
		Logger: o.Logger.With("worker", w.name),
	})
	if err != nil {
		return nil, err
	}
	w.area = area
	return area, nil
}

// sweep begins to remove leftovers if there are any. Idle workers, most of which
// never had a directory, are spared the Area.
func (w *Worker) sweep() error {
	left, err := workspace.Leftovers(w.dir)
	if err != nil || len(left) == 0 {
		return err
	}
	area, err := w.workspace()
	if err != nil {
		return err
	}
	h := w.host
	h.task("removing left-over directories", func() {
		for _, dir := range left {
			if h.isClosed() {
				return
			}
			h.removeLeftover(leftover{area, dir})
		}
	})
	return nil
}
