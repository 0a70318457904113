//go:build unix

package spawn

import (
	"time"

	"golang.org/x/sys/unix"
)

// usage is what reaped processes used.
type usage struct {
	cpu    time.Duration
	maxRSS int64 // bytes
}

func (u *usage) add(r *unix.Rusage) {
	u.cpu += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	u.maxRSS = max(u.maxRSS, int64(r.Maxrss)*rssUnit)
}

// ownPeak is the largest resident size that this process had, in bytes.
func ownPeak() int64 {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return int64(r.Maxrss) * rssUnit
}
