package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

// Both clocks run on, and never back.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		began := c.elapsed()
		time.Sleep(time.Hour)
		if d := c.elapsed() - began; d != time.Hour {
			t.Errorf("%v in an hour", d)
		}
	})
	var c clock
	last := c.now()
	for range 1000 {
		now := c.now()
		if now < last {
			t.Fatalf("%v after %v", now, last)
		}
		last = now
	}
}

// Attempts to come back follow each other soon, and then every few seconds.
func TestRetry(t *testing.T) {
	h := &leased{}
	for i := range 100 {
		limit := min(5*time.Second, 100*time.Millisecond<<min(i, 10))
		if d := h.retry(); d < limit/2 || d > limit {
			t.Errorf("attempt %d after %v, want up to %v", i, d, limit)
		}
	}
}
