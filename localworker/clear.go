package localworker

import "bothy/localworker/internal/workspace"

// leftover is the directory of an ended build that is to be removed.
type leftover struct {
	area *workspace.Area
	path string
}

// clear removes a directory that a build left. That can take longer than the
// build did and is no reason to keep its slot: it is done in the background, for
// one directory after the other, and Close waits for it. When as many wait as
// builds can run it is done at once, so that the disk never holds much more than
// the builds need. What cannot be removed is no fault of the build.
func (h *Host) clear(l leftover) {
	slots := h.o.Budget.slots()
	h.mu.Lock()
	now := h.closed || len(h.leftovers) >= slots
	first := len(h.leftovers) == 0
	if !now {
		h.leftovers = append(h.leftovers, l)
	}
	h.mu.Unlock()
	switch {
	case now:
		h.removeLeftover(l)
	case first:
		h.task("removing the directories of builds", h.clearAll)
	}
}

// clearAll removes what waits; what is being removed stays in the list so long.
func (h *Host) clearAll() {
	for more := true; more; {
		h.mu.Lock()
		l := h.leftovers[0]
		h.mu.Unlock()
		h.removeLeftover(l)
		h.mu.Lock()
		h.leftovers = h.leftovers[1:]
		more = len(h.leftovers) > 0
		h.mu.Unlock()
	}
}

func (h *Host) removeLeftover(l leftover) {
	if err := l.area.RemoveLeftover(l.path); err != nil {
		h.o.Logger.Warn("left-over directory, tried again with the next start", "error", err)
	}
}
