package engine

import (
	"context"
	"errors"
	"testing"
)

// TestAskerWhoGoesAway: what the loop finds out for one who has gone is nobody's;
// the race detector looks on.
func TestAskerWhoGoesAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true"))).start()
		k := r.build("b")
		gone, leave := context.WithCancel(t.Context())
		leave()
		for range 100 {
			if why, err := r.e.Why(gone, k.ID); err != nil && (why != nil || !errors.Is(err, context.Canceled)) {
				t.Errorf("why: %v, %v", why, err)
			}
			if s, err := r.e.Status(gone); err != nil && (s.Running > 0 || !errors.Is(err, context.Canceled)) {
				t.Errorf("status: %+v, %v", s, err)
			}
		}
		r.wait(k)
	})
}
