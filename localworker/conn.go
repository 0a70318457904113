package localworker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bothy/localworker/internal/workspace"
	"bothy/runner/worker"
)

// closeWait is how long Close waits until the processes of the builds are gone.
// behaviour.md: a killed local worker is gone within 1 s.
const closeWait = 900 * time.Millisecond

// conn is an attached worker.
type conn struct {
	w    *Worker
	done chan struct{}

	mu     sync.Mutex
	closed bool
	builds map[*build]struct{} // nil while there was none
}

var _ worker.Conn = (*conn)(nil)

// errKilled is the end of everything that ran on a closed worker.
var errKilled = fmt.Errorf("%w: it was closed", worker.ErrLost)

func (c *conn) Info() worker.Info { return c.w.host.info(c.w.dir) }

func (c *conn) Done() <-chan struct{} { return c.done }

func (c *conn) Err() error {
	if c.isClosed() {
		return errKilled
	}
	return nil
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Ping answers at once: there is no wire.
func (c *conn) Ping(ctx context.Context) error {
	if err := c.Err(); err != nil {
		return err
	}
	return ctx.Err()
}

// StartBuild fills a directory for the build. A process is only started when a
// command, or git for the directory, needs one.
func (c *conn) StartBuild(ctx context.Context, spec worker.BuildSpec) (worker.Build, error) {
	b, err := c.startBuild(ctx, spec)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c *conn) startBuild(ctx context.Context, spec worker.BuildSpec) (*build, error) {
	c.w.mu.Lock()
	area, err := c.w.workspace()
	c.w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &build{conn: c, spec: spec, cancel: cancel, area: area}
	b.slot, _ = spec.Slot.(*Reservation)
	b.running.Lock() // a Close meanwhile waits for what is begun here
	defer b.running.Unlock()
	if !c.add(b) {
		return nil, errKilled
	}
	b.dir, err = area.Prepare(ctx, b.exec, workspace.Request{
		Builder: spec.Builder, Number: spec.Number, Token: spec.Token,
		Source: spec.Source, Workspace: spec.Workspace,
	})
	if err != nil {
		_, endErr := b.endProcesses(ctx)
		c.remove(b)
		if b.isKilled() {
			return nil, errKilled
		}
		return nil, errors.Join(err, endErr)
	}
	return b, nil
}

func (c *conn) add(b *build) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.builds == nil {
		c.builds = map[*build]struct{}{}
	}
	c.builds[b] = struct{}{}
	return true
}

func (c *conn) remove(b *build) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.builds, b)
}

// Close ends the running builds at once; their commands return an error that is
// [worker.ErrLost]. Each build must still be ended by [worker.Build.End], which
// then clears its directory and returns the receipt.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.done)
	var wg sync.WaitGroup
	for b := range c.builds {
		b.kill()
		wg.Add(1)
		c.w.host.task("ending a build", func() {
			defer wg.Done()
			b.running.Lock()
			defer b.running.Unlock()
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // no grace
			if _, err := b.endProcesses(ctx); err != nil {
				c.w.host.o.Logger.Warn("ending a build", "worker", c.w.name, "builder", b.spec.Builder, "error", err)
			}
		})
	}
	c.mu.Unlock()
	ended := make(chan struct{})
	c.w.host.task("ending builds", func() {
		defer close(ended)
		wg.Wait()
	})
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C: // a process hangs in the kernel, or a sink blocks
	}
	return nil
}
