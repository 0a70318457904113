//go:build unix

package spawn

import (
	"cmp"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/worker"
)

// settleTick is how often it is looked whether the processes that were told to
// end have done so, when nothing else says so.
const settleTick = 20 * time.Millisecond

// crowd is a changing set of processes that is to be ended.
type crowd interface {
	// members lists the living, and whether there is certainly nobody else.
	members() (all []process, sure bool)
	// strike kills all at once if that can be done.
	strike()
	// counts tells whether a process is named in the receipt.
	counts(process) bool
}

// lastHope is how long after the first KILL it is tried to end a crowd. It is
// over giveUp: by then the master has given up.
const lastHope = giveUp + time.Second

// settle ends a crowd: TERM to everybody once, and KILL over and over as soon
// as hard says so. Who is born meanwhile is met in the next round. It returns
// whom it had to end, and whether they are gone.
func settle(c crowd, hard func() bool, wake <-chan struct{}) (ended []worker.Process, done bool) {
	return settleWith(c, 0, hard, wake)
}

// settleWith is settle with another signal than TERM; 0: TERM.
func settleWith(c crowd, gentle int64, hard func() bool, wake <-chan struct{}) (ended []worker.Process, done bool) {
	type id struct {
		pid   int
		start uint64
	}
	told := map[id]bool{}
	var struck time.Time
	tick := time.NewTicker(settleTick)
	defer tick.Stop()
	for {
		all, sure := c.members()
		if len(all) == 0 && sure {
			return ended, true
		}
		if !struck.IsZero() && time.Since(struck) > lastHope {
			return ended, false
		}
		kill, fresh := hard(), false
		for _, p := range all {
			k := id{p.pid, p.start}
			if known := told[k]; !known {
				fresh = true
				told[k] = true
				if len(ended) < maxEnded && c.counts(p) {
					ended = append(ended, worker.Process{PID: p.pid, Name: p.name()})
				}
				if !kill {
					p.signal(cmp.Or(unix.Signal(gentle), unix.SIGTERM))
					p.signal(unix.SIGCONT) // the stopped do not hear TERM
				}
			}
		}
		if kill {
			if struck.IsZero() {
				struck = time.Now()
				fresh = true
			}
			if fresh {
				c.strike()
			}
			for _, p := range all {
				p.signal(unix.SIGKILL)
			}
			if fresh {
				continue // somebody forks: do not give him time
			}
		}
		select {
		case <-wake:
		case <-tick.C:
		}
	}
}
