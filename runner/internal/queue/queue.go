package queue

import (
	"maps"
	"time"

	"bothy/runner/worker"
)

// Queue holds pending requests and what running builds have of workers, hosts
// and locks. It must be used by one goroutine at a time.
type Queue struct {
	builders map[string]*builder
	workers  map[string]*workerState
	hosts    map[string]*host
	locks    map[string]*lock
	groups   map[string]*group
	active   []*group // with shapes, in no order

	pending map[int64]*item
	counts  map[string]int    // of them, by builder
	same    map[sameKey]*item // the last added
	running map[int64]*running

	steps   map[int64]*stepLocks // by request
	waiters []*stepLocks         // those of steps that wait, in their order
	granted []int64

	starts int64 // how many builds were started
	pass   pass  // memory that is used again

	stale     bool      // the index does not follow the configuration
	idle      bool      // nothing can start, unless something changes
	idleUntil time.Time // or this comes; zero: never
}

// Assignment is a request that was given to a worker. What it needs is reserved
// until [Queue.Release].
type Assignment struct {
	Request Request
	Worker  string
	Host    string // "" if the worker has a machine of its own
	Need    worker.Need
	Locks   []Lock // of the builder, sorted by name
	start   int64
}

// running is a build from Next to Release.
type running struct {
	Assignment
	worker *workerState
	host   *host
	need   need
}

// New returns an empty queue.
func New() *Queue {
	return &Queue{
		builders: map[string]*builder{},
		workers:  map[string]*workerState{},
		hosts:    map[string]*host{},
		locks:    map[string]*lock{},
		groups:   map[string]*group{},
		pending:  map[int64]*item{},
		counts:   map[string]int{},
		same:     map[sameKey]*item{},
		running:  map[int64]*running{},
		steps:    map[int64]*stepLocks{},
	}
}

// Len returns the number of pending requests, held ones included.
func (q *Queue) Len() int { return len(q.pending) }

// Counts returns the number of pending requests by builder, without those that
// have none.
func (q *Queue) Counts() map[string]int { return maps.Clone(q.counts) }

// Add makes a request pending. It returns the older pending requests that it
// supersedes (those of a collapsing builder with the same key); they are no
// longer in the queue. A pending request with the same id is replaced. One whose
// build still runs waits for its [Queue.Release].
func (q *Queue) Add(r Request) (collapsed []int64) {
	q.settle()
	q.Remove(r.ID)
	for _, old := range q.superseded(r) {
		q.forget(old)
		collapsed = append(collapsed, old.ID)
	}
	it := &item{Request: r}
	q.pending[r.ID] = it
	q.counts[r.Builder]++
	q.link(it)
	q.place(it)
	return collapsed
}

// Remove takes a pending request out of the queue and reports whether it was in.
func (q *Queue) Remove(id int64) bool {
	q.settle()
	it := q.pending[id]
	if it != nil {
		q.forget(it)
	}
	return it != nil
}

// SetPriority changes the priority of a pending request. Like every change of a
// request it starts its [BypassLimit] anew.
func (q *Queue) SetPriority(id int64, priority int) bool {
	return q.change(id, func(r *Request) { r.Priority = priority })
}

// SetNeed changes what a pending request needs.
func (q *Queue) SetNeed(id int64, n worker.Need) bool {
	return q.change(id, func(r *Request) { r.Need = n })
}

// SetHeld keeps a pending request from starting for the given reason; "" lets
// it go.
func (q *Queue) SetHeld(id int64, reason string) bool {
	return q.change(id, func(r *Request) { r.Held = reason })
}

func (q *Queue) change(id int64, f func(*Request)) bool {
	q.settle()
	it := q.pending[id]
	if it == nil {
		return false
	}
	q.displace(it)
	it.bypass = nil
	f(&it.Request)
	q.place(it)
	return true
}

// place files a request where decisions find it, if it may be started at all.
func (q *Queue) place(it *item) {
	b := q.builders[it.Builder]
	if b == nil || it.Held != "" || q.running[it.ID] != nil {
		return
	}
	g := b.group
	if it.Worker != "" {
		g = q.groupFor(b, b.only(it.Worker))
	}
	g.file(it)
	if g.active < 0 {
		g.active = len(q.active)
		q.active = append(q.active, g)
	}
	q.wake()
}

// displace is the reverse of place.
func (q *Queue) displace(it *item) {
	if it.shape == nil {
		return
	}
	g := it.shape.group
	g.unfile(it)
	q.wake() // what was kept for it may now be had
	if len(g.shapes) > 0 {
		return
	}
	last := len(q.active) - 1
	q.active[g.active] = q.active[last]
	q.active[g.active].active = g.active
	q.active[last] = nil
	q.active = q.active[:last]
	g.active = -1
	if !g.permanent {
		q.drop(g)
	}
}

func (q *Queue) forget(it *item) {
	q.displace(it)
	q.unlink(it)
	delete(q.pending, it.ID)
	if q.counts[it.Builder]--; q.counts[it.Builder] == 0 {
		delete(q.counts, it.Builder)
	}
}

// wake makes the next call of Next look again.
func (q *Queue) wake() { q.idle = false }

// Next picks the request that starts now and reserves what it needs; call it
// until it reports false.
func (q *Queue) Next(now time.Time) (Assignment, bool) {
	q.settle()
	if q.idle && (q.idleUntil.IsZero() || now.Before(q.idleUntil)) {
		return Assignment{}, false
	}
	p := q.begin(now)
	for s := p.next(); s != nil; s = p.next() {
		if seat := p.visit(s); seat != nil {
			return q.start(p, s, seat), true
		}
	}
	q.idle, q.idleUntil = true, p.wake
	return Assignment{}, false
}

// start gives the first request of a shape to the worker on a seat.
func (q *Queue) start(p *pass, s *shape, st *seat) Assignment {
	it, w, need := s.first(), st.worker, s.need
	p.passOver(it, w)
	q.starts++
	a := Assignment{
		Request: it.Request,
		Worker:  w.def.Name,
		Host:    w.hostName(),
		Need:    it.Need,
		Locks:   s.group.wants,
		start:   q.starts,
	}
	q.forget(it)
	q.running[it.ID] = &running{Assignment: a, worker: w, host: w.host, need: need}
	w.host.add(need)
	w.load++
	w.builds[it.Builder]++
	w.last = q.starts
	q.takeLocks(it.ID, w.def.Name, a.Locks)
	return a
}

// Release gives back what a build had, locks of its steps included. It does
// nothing if that was done before.
func (q *Queue) Release(a Assignment) {
	q.settle()
	id := a.Request.ID
	r := q.running[id]
	if r == nil || r.start != a.start {
		return
	}
	q.releaseStep(id)
	delete(q.running, id)
	r.host.remove(r.need)
	r.worker.load--
	if r.worker.builds[r.Request.Builder]--; r.worker.builds[r.Request.Builder] == 0 {
		delete(r.worker.builds, r.Request.Builder)
	}
	q.giveLocks(id, r.Worker, r.Locks)
	q.grant()
	q.wake()
	if it := q.pending[id]; it != nil {
		q.place(it)
	}
}
