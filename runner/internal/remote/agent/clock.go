package agent

import (
	"sync"
	"time"
)

// clock measures leases. Its zero value is ready.
type clock struct {
	mu    sync.Mutex
	last  time.Time
	since time.Duration
}

// elapsed is a clock for systems of which it is not known which of theirs runs on
// while the machine is suspended: between two readings the larger of what the
// monotonic clock says and the one on the wall. That one may be set forward, which
// ends a lease too early, and never too late.
func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.last.IsZero() {
		c.since += max(now.Sub(c.last), now.Round(0).Sub(c.last.Round(0)))
	}
	c.last = now
	return c.since
}
