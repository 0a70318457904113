package queue

import (
	"container/heap"
	"slices"
	"time"
)

// pass is one walk over the first requests of all shapes, highest rank first. It
// remembers what those it has seen keep from those that follow.
type pass struct {
	now     time.Time
	cursors cursors
	claims  []claim
	kept    []keptHost
	waits   []wait
	wake    time.Time // when a request will be due that is not yet; zero: none
}

// claim keeps a lock from requests of lower rank.
type claim struct {
	lock *lock
	by   *item
	want Lock
	// lane is nil for a lock that is not per worker. Else the lock is kept on
	// the lane's workers: on all that could take the request but for locks if
	// all is set, else on those where it is not free for it.
	lane *lane
	all  bool
}

// keptHost keeps a host's room from requests of lower rank.
type keptHost struct {
	host *host
	by   *item
}

// wait remembers what would make a request passed over.
type wait struct {
	it   *item
	host *host // only room on it is missing; nil: only locks are
}

// begin returns a pass over what is pending.
func (q *Queue) begin(now time.Time) *pass {
	p := &q.pass
	*p = pass{now: now, cursors: p.cursors[:0], claims: p.claims[:0], kept: p.kept[:0], waits: p.waits[:0]}
	for _, g := range q.active {
		if g.ready() {
			p.cursors = append(p.cursors, cursor{g, 0})
		}
	}
	heap.Init(&p.cursors)
	return p
}

// next returns the shape whose first request comes next, nil after the last.
func (p *pass) next() *shape {
	if len(p.cursors) == 0 {
		return nil
	}
	c := &p.cursors[0]
	s := c.shape()
	if c.i++; c.i == len(c.group.shapes) {
		last := len(p.cursors) - 1
		p.cursors[0] = p.cursors[last]
		p.cursors = p.cursors[:last]
	}
	if len(p.cursors) > 1 {
		heap.Fix(&p.cursors, 0)
	}
	return s
}

// visit returns the seat on which the first request of the shape can start. If
// there is none it notes what the request keeps from those of lower rank.
func (p *pass) visit(s *shape) *seat {
	g := s.group
	free := p.sharedLocksFree(g) == nil
	if free {
		var best *seat
		for _, l := range g.lanes {
			if seat := p.seat(l); seat != nil && (best == nil || seat.before(best)) && p.room(l.host, s.need) {
				best = seat
			}
		}
		if best != nil {
			return best
		}
	}
	p.note(s, free)
	return nil
}

// note is for a request that cannot start.
func (p *pass) note(s *shape, locksFree bool) {
	it := s.first()
	due, at := it.due(p.now)
	if it.bypass != nil && !due && (p.wake.IsZero() || at.Before(p.wake)) {
		p.wake = at
	}
	onlyLocks, usable := false, false
	for _, l := range s.group.lanes {
		if len(l.open)+l.locked == 0 {
			continue
		}
		usable = true
		room := p.room(l.host, s.need)
		switch {
		case room:
			onlyLocks = true
		case locksFree && p.seat(l) != nil:
			p.waits = append(p.waits, wait{it, l.host})
			if due && l.host.def.Name == it.bypass.host {
				p.kept = append(p.kept, keptHost{l.host, it})
			}
		}
		if due || room && l.locked > 0 {
			p.claimOwn(it, l, due)
		}
	}
	if onlyLocks {
		p.waits = append(p.waits, wait{it, nil})
	}
	if onlyLocks || due && usable {
		p.claimShared(it, s.group, due)
	}
}

// claimOwn keeps the locks of a lane's workers.
func (p *pass) claimOwn(it *item, l *lane, all bool) {
	for _, k := range l.group.locks {
		if k.def.PerWorker && !k.want.idle() {
			p.claims = append(p.claims, claim{lock: k.lock, by: it, want: k.want, lane: l, all: all})
		}
	}
}

// claimShared keeps the locks that are not per worker: those that are missing,
// or all.
func (p *pass) claimShared(it *item, g *group, all bool) {
	for _, k := range g.locks {
		if !k.def.PerWorker && !k.want.idle() && (all || !p.sharedLockFree(k)) {
			p.claims = append(p.claims, claim{lock: k.lock, by: it, want: k.want})
		}
	}
}

// sharedLocksFree returns nil, or a lock that is not per worker and not free.
func (p *pass) sharedLocksFree(g *group) *groupLock {
	for i := range g.locks {
		if k := &g.locks[i]; !k.def.PerWorker && !p.sharedLockFree(*k) {
			return k
		}
	}
	return nil
}

func (p *pass) sharedLockFree(k groupLock) bool {
	return k.freeForRequest("", k.want) && p.claimOn(k, nil) == nil
}

// claimOn returns the claim that keeps a lock from a request on a worker, nil if
// none does.
func (p *pass) claimOn(k groupLock, w *workerState) *claim {
	if k.want.idle() {
		return nil
	}
	for i := range p.claims {
		if c := &p.claims[i]; c.lock == k.lock && (c.lane == nil || c.on(w)) {
			return c
		}
	}
	return nil
}

// on reports whether the claim is for the lock of the worker.
func (c *claim) on(w *workerState) bool {
	i := slices.IndexFunc(w.seats, func(s *seat) bool { return s.lane == c.lane })
	return i >= 0 && w.seats[i].state != closed && (c.all || !c.lock.freeForRequest(w.def.Name, c.want))
}

// seat returns the best seat of a lane, nil if it has none to give.
func (p *pass) seat(l *lane) *seat {
	if len(l.open) == 0 {
		return nil
	}
	if !p.contested(l.group) {
		return l.open[0]
	}
	// Somebody waits for a lock of some of these workers. This is rare enough to
	// look at each.
	var best *seat
	for _, s := range l.open {
		if (best == nil || s.before(best)) && !p.claimedFrom(l.group, s.worker) {
			best = s
		}
	}
	return best
}

func (p *pass) contested(g *group) bool {
	return slices.ContainsFunc(g.locks, func(k groupLock) bool {
		return k.def.PerWorker && !k.want.idle() && slices.ContainsFunc(p.claims, func(c claim) bool { return c.lock == k.lock })
	})
}

func (p *pass) claimedFrom(g *group, w *workerState) bool {
	return slices.ContainsFunc(g.locks, func(k groupLock) bool { return k.def.PerWorker && p.claimOn(k, w) != nil })
}

func (p *pass) room(h *host, n need) bool { return h.fits(n) && p.keptFor(h) == nil }

// keptFor returns the request that a host is kept for, nil if it is not.
func (p *pass) keptFor(h *host) *item {
	for _, k := range p.kept {
		if k.host == h {
			return k.by
		}
	}
	return nil
}

// passOver notes which of the requests seen so far are passed over when it
// starts on w.
func (p *pass) passOver(it *item, w *workerState) {
	for _, x := range p.waits {
		switch {
		case x.host == nil && x.it.shape.group.sharesLock(it.shape.group):
			x.it.passedOver(p.now, it.rank(), "")
		case x.host != nil && x.host == w.host:
			x.it.passedOver(p.now, it.rank(), x.host.def.Name)
		}
	}
}

// sharesLock reports whether builds of both groups take the same lock.
func (g *group) sharesLock(o *group) bool {
	return slices.ContainsFunc(g.locks, func(a groupLock) bool {
		return !a.want.idle() && slices.ContainsFunc(o.locks, func(b groupLock) bool { return a.lock == b.lock && !b.want.idle() })
	})
}

// cursor is a place in the sorted shapes of a group.
type cursor struct {
	group *group
	i     int
}

func (c cursor) shape() *shape { return c.group.shapes[c.i] }

// cursors implements heap.Interface, but for Push and Pop, which nobody calls.
type cursors []cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return c[i].shape().filed.compare(c[j].shape().filed) < 0 }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c cursors) Push(any)           {}
func (c cursors) Pop() any           { return nil }
