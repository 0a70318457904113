package queue

import (
	"slices"
	"strings"
)

// LockDef is a lock as configured.
type LockDef struct {
	Name      string
	Max       int            // how many may hold it at the same time
	PerWorker bool           // each worker has its own
	MaxFor    map[string]int // by worker: instead of Max, for a lock that is per worker
}

// Lock is what a builder or a step wants of a lock.
type Lock struct {
	Name      string
	Exclusive bool // nobody else may hold it; Count does not matter
	Count     int  // 0: always to be had
}

// idle reports whether the access takes nothing.
func (l Lock) idle() bool { return !l.Exclusive && l.Count <= 0 }

// lock is what is known about a lock.
type lock struct {
	def       LockDef
	known     bool                 // SetLock was called for it, and RemoveLock not since
	instances map[string]*instance // by worker; "" for a lock that is not per worker
}

// instance is one counter: the lock itself, or that of a worker.
type instance struct {
	holders   map[int64]Lock // by request
	counting  int
	exclusive int
	waiting   int // steps that wait for it
}

// instanceOn returns the counter that matters on a worker.
func (l *lock) instanceOn(worker string) *instance {
	if !l.def.PerWorker {
		worker = ""
	}
	in := l.instances[worker]
	if in == nil {
		in = &instance{holders: map[int64]Lock{}}
		l.instances[worker] = in
	}
	return in
}

func (l *lock) maxOn(worker string) int {
	if n, ok := l.def.MaxFor[worker]; ok && l.def.PerWorker {
		return n
	}
	return l.def.Max
}

// free reports whether the access could be granted, waiters apart.
func (l *lock) free(worker string, want Lock) bool {
	in := l.instanceOn(worker)
	switch {
	case want.idle():
		return true
	case want.Exclusive:
		return in.counting == 0 && in.exclusive == 0
	}
	return in.exclusive == 0 && in.counting+want.Count <= l.maxOn(worker)
}

// freeForRequest reports whether a build could take the lock: steps go first.
func (l *lock) freeForRequest(worker string, want Lock) bool {
	return want.idle() || l.known && l.instanceOn(worker).waiting == 0 && l.free(worker, want)
}

func (l *lock) take(owner int64, worker string, want Lock) {
	if want.idle() {
		return
	}
	in := l.instanceOn(worker)
	in.holders[owner] = want
	if want.Exclusive {
		in.exclusive++
	} else {
		in.counting += want.Count
	}
}

func (l *lock) give(owner int64, worker string) {
	in := l.instanceOn(worker)
	held, ok := in.holders[owner]
	if !ok {
		return
	}
	delete(in.holders, owner)
	if held.Exclusive {
		in.exclusive--
	} else {
		in.counting -= held.Count
	}
}

// mergeLocks sorts locks by name and makes one of those with the same name.
func mergeLocks(locks []Lock) []Lock {
	out := slices.Clone(locks)
	slices.SortStableFunc(out, func(a, b Lock) int { return strings.Compare(a.Name, b.Name) })
	n := 0
	for _, l := range out {
		if n > 0 && out[n-1].Name == l.Name {
			out[n-1].Exclusive = out[n-1].Exclusive || l.Exclusive
			out[n-1].Count += l.Count
			continue
		}
		out[n] = l
		n++
	}
	return out[:n]
}

// lockNamed returns the lock, known or not.
func (q *Queue) lockNamed(name string) *lock {
	l := q.locks[name]
	if l == nil {
		l = &lock{def: LockDef{Name: name}, instances: map[string]*instance{}}
		q.locks[name] = l
	}
	return l
}

// takeLocks and giveLocks keep the seats of the worker as they should be: its
// own locks say who may start there.
func (q *Queue) takeLocks(owner int64, worker string, locks []Lock) {
	for _, want := range locks {
		q.lockNamed(want.Name).take(owner, worker, want)
	}
	q.refresh(q.workers[worker])
}

func (q *Queue) giveLocks(owner int64, worker string, locks []Lock) {
	for _, want := range locks {
		q.lockNamed(want.Name).give(owner, worker)
	}
	q.refresh(q.workers[worker])
}
