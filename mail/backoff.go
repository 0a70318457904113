package mail

import "time"

// GiveUp is how long a message is tried before it has failed.
const GiveUp = 72 * time.Hour

const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// Backoff is the time to wait after the given number of attempts, counted from
// 1, until the next: 1, 2, 4, 8, 16, 32 minutes, then an hour each time. The
// first ones get past greylisting, which usually wants five minutes; there is
// no jitter, since one master is no herd.
func Backoff(attempts int) time.Duration {
	wait := firstRetry
	for range attempts - 1 {
		if wait *= 2; wait >= lastRetry {
			return lastRetry
		}
	}
	return wait
}
