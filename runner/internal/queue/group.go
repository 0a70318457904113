package queue

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// Worker is a worker as the queue sees it.
type Worker struct {
	Name      string
	Host      string // whose capacity its builds use; "": they have a machine of their own
	MaxBuilds int    // at the same time; 0: any number
	Blocked   string // why it takes no builds, such as "paused by ana"; "": it takes them
}

// workerState is what is known about a worker. It exists while a builder names
// the worker, the worker is configured, or a build runs on it.
type workerState struct {
	def    Worker
	known  bool // SetWorker was called for it, and RemoveWorker not since
	host   *host
	builds map[string]int // running, by builder
	load   int            // running in all
	last   int64          // rises with every start in the queue: the larger, the more recent
	seats  []*seat
}

// group is a set of workers together with what builds on them must have.
type group struct {
	key       string
	builder   string // of which only one build may run on a worker; "": no such rule
	wants     []Lock // what every build of the group takes
	locks     []groupLock
	lanes     []*lane
	seats     []*seat
	shapes    []*shape // sorted by their first requests
	byNeed    map[need]*shape
	permanent bool // it belongs to a builder: kept when nothing is pending
	active    int  // index in Queue.active, -1: no shapes
}

// groupLock is one of a group's locks.
type groupLock struct {
	*lock
	want Lock
}

// lane holds the workers of a group that share a host.
type lane struct {
	group  *group
	host   *host
	open   seats // that could take a build now, as a heap
	locked int   // how many could, but for a lock of their own
}

// seat is the place of a worker in a group.
type seat struct {
	worker *workerState
	lane   *lane
	state  seatState
	index  int // in lane.open, while open
}

type seatState uint8

const (
	closed seatState = iota // it takes no build of the group, whatever locks say
	locked                  // a lock of the worker is not free
	open
)

func (s *seat) before(o *seat) bool {
	if s.worker.load != o.worker.load {
		return s.worker.load < o.worker.load
	}
	return s.worker.last < o.worker.last
}

// seats implements heap.Interface: the least loaded worker is the first.
type seats []*seat

func (s seats) Len() int           { return len(s) }
func (s seats) Less(i, j int) bool { return s[i].before(s[j]) }

func (s seats) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *seats) Push(x any) {
	st := x.(*seat)
	st.index = len(*s)
	*s = append(*s, st)
}

func (s *seats) Pop() any {
	last := len(*s) - 1
	st := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return st
}

// groupKey names what makes groups differ. names and locks are sorted.
func groupKey(names []string, builder string, locks []Lock) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%q ", n)
	}
	fmt.Fprintf(&b, "/ %q /", builder)
	for _, l := range locks {
		fmt.Fprintf(&b, " %q %t %d", l.Name, l.Exclusive, l.Count)
	}
	return b.String()
}

// groupFor returns the group of builds of a builder on the given workers, which
// are sorted.
func (q *Queue) groupFor(b *builder, names []string) *group {
	exclusive := ""
	if b.def.Exclusive {
		exclusive = b.def.Name
	}
	key := groupKey(names, exclusive, b.locks)
	if g := q.groups[key]; g != nil {
		return g
	}
	g := &group{key: key, builder: exclusive, wants: b.locks, byNeed: map[need]*shape{}, active: -1}
	for _, want := range b.locks {
		g.locks = append(g.locks, groupLock{q.lockNamed(want.Name), want})
	}
	for _, name := range names {
		w := q.workerNamed(name)
		s := &seat{worker: w, lane: g.laneOf(w.host)}
		w.seats = append(w.seats, s)
		g.seats = append(g.seats, s)
		s.update()
	}
	q.groups[key] = g
	return g
}

// drop forgets a group.
func (q *Queue) drop(g *group) {
	delete(q.groups, g.key)
	for _, s := range g.seats {
		s.worker.seats = slices.DeleteFunc(s.worker.seats, func(o *seat) bool { return o == s })
	}
}

// laneOf returns the lane of a host, which may be nil.
func (g *group) laneOf(h *host) *lane {
	for _, l := range g.lanes {
		if l.host == h {
			return l
		}
	}
	l := &lane{group: g, host: h}
	g.lanes = append(g.lanes, l)
	return l
}

// ready reports whether the group could hold anything up or start anything: it
// has workers for it, and a host that is open. With locks the host does not
// matter, since locks may have to be kept for one that waits for the host.
func (g *group) ready() bool {
	for _, l := range g.lanes {
		if len(l.open)+l.locked > 0 && (len(g.locks) > 0 || l.host.open()) {
			return true
		}
	}
	return false
}

// update puts the seat where the state of its worker says.
func (s *seat) update() {
	next := s.nextState()
	switch {
	case s.state == open && next == open:
		heap.Fix(&s.lane.open, s.index)
	case s.state == open:
		heap.Remove(&s.lane.open, s.index)
	case next == open:
		heap.Push(&s.lane.open, s)
	}
	if s.state == locked {
		s.lane.locked--
	}
	if next == locked {
		s.lane.locked++
	}
	s.state = next
}

func (s *seat) nextState() seatState {
	w, g := s.worker, s.lane.group
	if !w.known || w.def.Blocked != "" || w.full() || g.builder != "" && w.builds[g.builder] > 0 {
		return closed
	}
	for _, l := range g.locks {
		if l.def.PerWorker && !l.freeForRequest(w.def.Name, l.want) {
			return locked
		}
	}
	return open
}

func (w *workerState) hostName() string {
	if w.host == nil {
		return ""
	}
	return w.host.def.Name
}

func (w *workerState) full() bool { return w.def.MaxBuilds > 0 && w.load >= w.def.MaxBuilds }

// move puts the worker's seats into the lanes of another host.
func (w *workerState) move(h *host) {
	for _, s := range w.seats {
		switch s.state {
		case open:
			heap.Remove(&s.lane.open, s.index)
		case locked:
			s.lane.locked--
		}
		s.state = closed
		s.lane = s.lane.group.laneOf(h)
	}
	w.host = h
}

// refresh brings a worker's seats up to date after anything about it changed.
func (q *Queue) refresh(w *workerState) {
	if w == nil {
		return
	}
	for _, s := range w.seats {
		s.update()
	}
}

// workerNamed returns the worker, known or not.
func (q *Queue) workerNamed(name string) *workerState {
	w := q.workers[name]
	if w == nil {
		w = &workerState{def: Worker{Name: name}, builds: map[string]int{}}
		q.workers[name] = w
	}
	return w
}

// hostNamed returns the host, known or not; nil for "".
func (q *Queue) hostNamed(name string) *host {
	if name == "" {
		return nil
	}
	h := q.hosts[name]
	if h == nil {
		h = &host{def: Host{Name: name}}
		q.hosts[name] = h
	}
	return h
}
