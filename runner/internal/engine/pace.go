package engine

import "time"

// pacer holds commits back, see [Options.CommitPace].
type pacer struct {
	last    time.Time // when the latest batch went to the committer
	awaited bool      // somebody waits for what is in the next one
	timer   *deadline // ends the present wait
}

// holdBack reports whether the batch is better committed a little later, and
// sees to it that it then is. The end of the last running build is not held back.
func (l *loop) holdBack() bool {
	p := &l.pace
	now := time.Now()
	wait := l.opt.CommitPace - now.Sub(p.last)
	if wait <= 0 || p.awaited || len(l.builds) == 0 || l.degraded != nil {
		l.cancelTimer(p.timer)
		*p = pacer{last: now}
		return false
	}
	if p.timer == nil {
		p.timer = l.in(wait, func(l *loop) { l.pace.timer = nil })
	}
	return true
}
