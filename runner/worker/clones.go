package worker

import (
	"context"
	"sync"
)

// Clones sees to it that one build at a time uses a clone that is kept of a git
// source. The zero value is ready. Its methods may be called from many goroutines.
type Clones struct {
	mu   sync.Mutex
	busy map[string]*clone
}

// clone is one that is in use or waited for.
type clone struct {
	free  chan struct{} // holds a value while nobody uses it
	users int           // those who wait and the one that uses it
}

// Lock waits until no other build uses the clone of this path. The error is the
// cause of ctx's end.
func (c *Clones) Lock(ctx context.Context, path string) (unlock func(), err error) {
	c.mu.Lock()
	one := c.busy[path]
	if one == nil {
		if c.busy == nil {
			c.busy = map[string]*clone{}
		}
		one = &clone{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		c.busy[path] = one
	}
	one.users++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(c.busy, path)
		}
	}
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
