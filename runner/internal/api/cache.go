package api

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what a cache keeps. An answer's age is bounded because it may hold
// what changes with time alone, such as when a quarantine ends.
const (
	maxCached      = 256
	maxCachedBytes = 8 << 20
	maxAge         = time.Second
	// flightTime bounds the making of an answer, which outlives the request that
	// began it.
	flightTime = 30 * time.Second
)

// cache keeps answers as long as the data they were made of has not changed,
// and makes each of them once however many ask for it. An answer is never older
// than the request it is given to: whoever was told that something has happened
// sees it.
//
// Its version functions return the version of the data: another number after
// each change, before anybody is told of it.
type cache struct {
	made, shared atomic.Int64 // for metrics

	mu      sync.Mutex
	entries map[string]*entry
	bytes   int
}

type entry struct {
	last          *flight // has landed well
	running, next *flight
}

// flight is the making of one answer.
type flight struct {
	of      func() uint64
	version uint64 // of the data, read before anything else
	began   time.Time
	make    func(context.Context) (*answer, error)
	done    chan struct{}
	ans     *answer
	err     error
}

// get returns the answer for key. make may run on behalf of others, and after
// the caller is gone.
func (c *cache) get(ctx context.Context, key string, version func() uint64, make func(context.Context) (*answer, error)) (*answer, error) {
	f := c.join(key, version, make)
	select {
	case <-f.done:
		return f.ans, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns a flight that sees everything that is so now.
func (c *cache) join(key string, of func() uint64, make func(context.Context) (*answer, error)) *flight {
	now, version := time.Now(), of()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &entry{}
		if c.entries == nil {
			c.entries = map[string]*entry{}
		}
		c.entries[key] = e
	}
	for _, f := range []*flight{e.last, e.running} {
		if f != nil && f.version == version && now.Sub(f.began) < maxAge {
			c.shared.Add(1)
			return f
		}
	}
	if e.next != nil { // has not begun
		c.shared.Add(1)
		return e.next
	}
	f := &flight{of: of, make: make, done: newDone()}
	if e.running != nil {
		e.next = f
	} else {
		c.begin(key, e, f)
	}
	return f
}

func newDone() chan struct{} { return make(chan struct{}) }

// begin must be called with the lock held.
func (c *cache) begin(key string, e *entry, f *flight) {
	e.running = f
	c.made.Add(1)
	f.version, f.began = f.of(), time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), flightTime)
		defer cancel()
		defer c.land(key, e, f)
		defer func() {
			if p := recover(); p != nil { // the server below would do it, were this its goroutine
				f.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		f.ans, f.err = f.make(ctx)
	}()
}

func (c *cache) land(key string, e *entry, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(f.done)
	c.bytes -= e.size()
	e.last = nil
	if f.err == nil {
		e.last = f
	}
	c.bytes += e.size()
	e.running = nil
	if next := e.next; next != nil {
		e.next = nil
		c.begin(key, e, next)
	}
	if c.bytes > maxCachedBytes || len(c.entries) > maxCached {
		c.clear()
	} else if e.last == nil && e.running == nil {
		delete(c.entries, key)
	}
}

func (e *entry) size() int {
	if e.last == nil {
		return 0
	}
	return e.last.ans.body.size()
}

// clear forgets all answers but leaves flights alone.
func (c *cache) clear() {
	for key, e := range c.entries {
		e.last = nil
		if e.running == nil {
			delete(c.entries, key)
		}
	}
	c.bytes = 0
}
