package agent

import (
	"context"
	"math/rand/v2"
	"time"
)

// The times between attempts to connect. Buildbot (ClientService's backoffPolicy):
// 1 s, half as much more each time, up to 60 s, and up to 1 s more at random.
const (
	firstRetry  = time.Second
	retryFactor = 1.5
	maxRetry    = time.Minute
	retryJitter = time.Second
)

// backoff knows how long to wait before the next attempt.
type backoff struct {
	next time.Duration // 0: firstRetry
}

// failed returns how long to wait after a failed attempt.
func (b *backoff) failed() time.Duration {
	if b.next == 0 {
		b.next = firstRetry
	}
	b.next = min(time.Duration(float64(b.next)*retryFactor), maxRetry)
	return b.next + rand.N(retryJitter)
}

// worked says that the last attempt did.
func (b *backoff) worked() { b.next = 0 }

// wait waits for d, and reports whether ctx had not ended by then.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
