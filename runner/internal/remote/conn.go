package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"bothy/runner/worker"
)

// Conn is the connection of a worker that has logged in and told about itself.
// Beyond [worker.Conn] it can tell the worker's environment and end its process.
type Conn struct {
	w     *Worker
	link  link
	log   *slog.Logger
	facts facts
	ids   atomic.Int64

	sweeping sync.Mutex      // held while leftovers are removed; guards swept
	swept    map[string]bool // builders' directories without leftovers

	mu        sync.Mutex
	commands  map[*command]bool
	lanes     map[string]worker.Token // builders' lanes with a build, as announced
	pulsing   bool
	keepalive *time.Timer
}

var (
	_ worker.Conn       = (*Conn)(nil)
	_ worker.Shutdowner = (*Conn)(nil)
	_ worker.Holder     = (*Conn)(nil)
)

// Info returns what the worker said about itself, without its environment, and
// its address and protocol. The four documented os_ keys are always there.
func (c *Conn) Info() worker.Info { return c.facts.info }

// Environ returns the environment of the worker's process, in which its commands
// run; it may hold secrets. Steps should start from it as local ones start from
// the master's.
func (c *Conn) Environ() []string { return c.facts.environ() }

// Done implements [worker.Conn].
func (c *Conn) Done() <-chan struct{} { return c.link.done() }

// Err returns nil while the connection lives, then an error that wraps
// [worker.ErrLost].
func (c *Conn) Err() error {
	if c.link.err() == nil {
		return nil
	}
	return c.lost()
}

// lost is the error of what the connection's end ended.
func (c *Conn) lost() error { return fmt.Errorf("%w: %w", worker.ErrLost, c.link.err()) }

// lostOr returns err, or that the connection was lost, if that is why.
func (c *Conn) lostOr(err error) error {
	if err != nil && c.link.err() != nil {
		return c.lost()
	}
	return err
}

// Ping returns when the worker has answered.
func (c *Conn) Ping(ctx context.Context) error {
	if k, ok := c.link.(*leasedLink); ok {
		return c.lostOr(k.stream.Ping(ctx))
	}
	return c.lostOr(c.link.print(ctx, "ping"))
}

// isCut reports whether the worker is cut off and may come back.
func (c *Conn) isCut() bool {
	k, ok := c.link.(*leasedLink)
	return ok && k.isCut()
}

// isGone reports whether the worker is cut off, or does not answer, and may come
// back.
func (c *Conn) isGone() bool {
	_, ok := c.link.(*leasedLink)
	return ok && !c.alive(killWait)
}

// Hold implements [worker.Holder]. Connections to Buildbot's workers do not outlive
// a cut.
func (c *Conn) Hold() (worker.Hold, <-chan struct{}) {
	if k, ok := c.link.(*leasedLink); ok {
		return k.Hold()
	}
	return worker.Hold{}, nil
}

// Shutdown asks the worker's process to end. What it runs is interrupted first:
// over MessagePack it would be left running.
func (c *Conn) Shutdown(ctx context.Context) error {
	c.interruptAll(ctx)
	if err := c.link.shutdown(ctx); err != nil {
		return c.lostOr(fmt.Errorf("shut worker %s down: %w", c.w.name, err))
	}
	return nil
}

// closeGrace is how long Close tries to have the worker end what it runs.
const closeGrace = 300 * time.Millisecond

// Close interrupts what runs and ends the connection. Buildbot's worker will come
// again.
func (c *Conn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	c.interruptAll(ctx)
	c.link.close(errClosed, true)
	return nil
}

var errClosed = errors.New("closed by the master")

// interruptAll asks the worker to end all commands, and waits for its answers.
func (c *Conn) interruptAll(ctx context.Context) {
	c.mu.Lock()
	all := slices.Collect(maps.Keys(c.commands))
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, cmd := range all {
		wg.Go(func() { _ = c.link.interrupt(ctx, cmd, "the worker is to end") }) // it ends either way
	}
	wg.Wait()
}

// nextID returns the name of a new command in a lane. Between two Bothys it says
// of which attempt the command is.
func (c *Conn) nextID(lane string) string {
	id := strconv.FormatInt(c.ids.Add(1), 10)
	if _, ok := c.link.(*leasedLink); !ok {
		return id
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lanes[lane].String() + "-" + id
}

func (c *Conn) running(cmd *command, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !yes {
		delete(c.commands, cmd)
		return
	}
	if c.commands == nil {
		c.commands = map[*command]bool{}
	}
	c.commands[cmd] = true
}

// alive reports whether the worker shows a sign of life within a time.
func (c *Conn) alive(within time.Duration) bool {
	before, _ := c.link.sign()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if k, ok := c.link.(*leasedLink); ok {
		return k.stream.Ping(ctx) == nil
	}
	if c.link.print(ctx, "ping") == nil {
		return true
	}
	if c.link.err() != nil {
		return false
	}
	after, unread := c.link.sign()
	return unread || after != before
}

// pulse begins to ping the worker. It ends when no build is left. The caller
// holds mu.
func (c *Conn) pulse() {
	c.pulsing = true
	go func() {
		tick := time.NewTicker(PulseInterval)
		defer tick.Stop()
		for c.building() {
			select {
			case <-c.link.done():
				return
			case <-tick.C:
			}
			if c.building() && !c.alive(DeadAfter-PulseInterval) {
				c.link.close(fmt.Errorf("no sign of life for %v", DeadAfter), false)
				return
			}
		}
	}()
}

// builds returns how many builds run.
func (c *Conn) builds() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lanes)
}

// building reports whether a build runs; if none does, the pulse ends.
func (c *Conn) building() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lanes) == 0 {
		c.pulsing = false
	}
	return c.pulsing
}

// setKeepalive makes the master say something every interval; 0: nothing.
func (c *Conn) setKeepalive(interval time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepalive != nil {
		c.keepalive.Stop()
		c.keepalive = nil
	}
	if interval <= 0 || c.link.err() != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(interval, func() {
		ctx, cancel := context.WithTimeout(context.Background(), DeadAfter)
		defer cancel()
		if err := c.link.keepalive(ctx); err != nil {
			c.log.Debug("keepalive was not answered", "err", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.keepalive == t && c.link.err() == nil {
			t.Reset(interval)
		}
	})
	c.keepalive = t
}
