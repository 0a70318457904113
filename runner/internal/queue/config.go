package queue

import (
	"maps"
	"reflect"
	"slices"
)

// Builder is what the queue must know about a builder.
type Builder struct {
	Name      string
	Workers   []string // names of the workers that may run it
	Locks     []Lock   // held from the start of a build to its end
	Exclusive bool     // one build of it at a time on each worker
	Collapse  bool     // a new request supersedes older ones with the same key
}

type builder struct {
	def   Builder
	names []string // of the workers, sorted
	locks []Lock   // merged
	group *group
}

// only returns the names of the workers that may run a request for one worker.
func (b *builder) only(worker string) []string {
	if _, ok := slices.BinarySearch(b.names, worker); !ok {
		return nil
	}
	return []string{worker}
}

// SetBuilder adds or changes a builder. Running builds keep what they hold.
func (q *Queue) SetBuilder(b Builder) {
	if old := q.builders[b.Name]; old != nil && reflect.DeepEqual(old.def, b) {
		return
	}
	b.Workers, b.Locks = slices.Clone(b.Workers), slices.Clone(b.Locks)
	names := slices.Clone(b.Workers)
	slices.Sort(names)
	q.builders[b.Name] = &builder{def: b, names: slices.Compact(names), locks: mergeLocks(b.Locks)}
	q.stale = true
}

// RemoveBuilder forgets a builder. Its pending requests stay and cannot start.
func (q *Queue) RemoveBuilder(name string) {
	delete(q.builders, name)
	q.stale = true
}

// SetLock adds or changes a lock. If there are now fewer than are held, the
// holders keep them.
func (q *Queue) SetLock(d LockDef) {
	l := q.lockNamed(d.Name)
	if l.known && reflect.DeepEqual(l.def, d) {
		return
	}
	d.MaxFor = maps.Clone(d.MaxFor)
	l.def, l.known = d, true
	q.stale = true
}

// RemoveLock forgets a lock: builders that name it cannot start. Steps of
// running builds use it as it was.
func (q *Queue) RemoveLock(name string) {
	q.lockNamed(name).known = false
	q.stale = true
}

// SetWorker adds or changes a worker.
func (q *Queue) SetWorker(d Worker) {
	w := q.workerNamed(d.Name)
	if h := q.hostNamed(d.Host); h != w.host {
		w.move(h)
	}
	w.def, w.known = d, true
	q.refresh(w)
	q.wake()
}

// RemoveWorker forgets a worker. Its running builds keep what they hold.
func (q *Queue) RemoveWorker(name string) {
	if w := q.workers[name]; w != nil {
		w.known = false
		q.refresh(w)
		q.wake()
		q.stale = q.stale || len(w.seats) == 0 // forget it altogether
	}
}

// SetHost adds or changes a host. If it is now smaller than what runs there,
// nothing starts until it fits again. A host without a name is ignored.
func (q *Queue) SetHost(d Host) {
	if h := q.hostNamed(d.Name); h != nil {
		h.set(d)
		q.wake()
	}
}

// RemoveHost forgets a host: nothing starts on its workers.
func (q *Queue) RemoveHost(name string) {
	if h := q.hosts[name]; h != nil {
		h.known = false
		q.wake()
	}
}

// settle builds the index anew when the configuration has changed.
func (q *Queue) settle() {
	if !q.stale {
		return
	}
	q.stale = false
	q.groups, q.active = map[string]*group{}, nil
	q.recountLocks()
	for name, w := range q.workers {
		if w.seats = nil; !w.known && w.load == 0 {
			delete(q.workers, name)
		}
	}
	for _, b := range q.builders {
		b.group = q.groupFor(b, b.names)
		b.group.permanent = true
	}
	for _, it := range q.pending {
		it.shape = nil
		q.place(it)
	}
	q.grant()
	q.wake()
}

// recountLocks counts anew who holds and who waits for locks, since a lock may
// have become one per worker, or ceased to be.
func (q *Queue) recountLocks() {
	for _, l := range q.locks {
		clear(l.instances)
	}
	for id, r := range q.running {
		for _, want := range r.Locks {
			q.lockNamed(want.Name).take(id, r.Worker, want)
		}
	}
	for id, st := range q.steps {
		for _, want := range st.locks {
			switch l := q.lockNamed(want.Name); {
			case st.has:
				l.take(id, st.worker, want)
			case !want.idle():
				l.instanceOn(st.worker).waiting++
			}
		}
	}
}
