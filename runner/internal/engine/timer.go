package engine

import (
	"container/heap"
	"time"
)

// deadline is one timer of the loop. The loop has one real timer, set to the
// earliest of them.
type deadline struct {
	at    time.Time
	fire  func(*loop)
	index int // in the heap; -1: not waiting
}

type timerHeap []*deadline

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *timerHeap) Push(x any)        { d := x.(*deadline); d.index = len(*h); *h = append(*h, d) }
func (h *timerHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = -1
	return d
}

// at arranges for fire to run on the loop once d has passed.
func (l *loop) in(d time.Duration, fire func(*loop)) *deadline {
	t := &deadline{at: time.Now().Add(d), fire: fire}
	heap.Push(&l.timers, t)
	return t
}

// cancelTimer is a no-op for a timer that has fired, and for nil.
func (l *loop) cancelTimer(t *deadline) {
	if t != nil && t.index >= 0 {
		heap.Remove(&l.timers, t.index)
	}
}

func (l *loop) fireTimers(now time.Time) {
	for len(l.timers) > 0 && !l.timers[0].at.After(now) {
		heap.Pop(&l.timers).(*deadline).fire(l)
	}
}

func (l *loop) setTimer(now time.Time) {
	if len(l.timers) == 0 {
		l.timer.Stop()
		return
	}
	l.timer.Reset(max(0, l.timers[0].at.Sub(now)))
}
