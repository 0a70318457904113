package queue

import (
	"fmt"
	"slices"
)

// stepLocks are the locks that a step of a running build has or waits for.
type stepLocks struct {
	owner  int64
	worker string
	locks  []Lock
	has    bool
}

// AcquireStep takes locks for a step of the running build of request owner, all
// of them or none. If it cannot, the step waits, first come first served: its
// owner will be in a later answer of [Queue.Granted]. An error means that the
// locks can never be had: the build holds one already, or nobody knows it, or
// more is wanted than there is.
func (q *Queue) AcquireStep(owner int64, worker string, locks []Lock) (granted bool, err error) {
	q.settle()
	run := q.running[owner]
	if run == nil {
		return false, fmt.Errorf("taking locks for a step: request %d has no running build", owner)
	}
	if q.steps[owner] != nil {
		return false, fmt.Errorf("taking locks for a step: one of request %d has locks already, or waits for them", owner)
	}
	locks = mergeLocks(locks)
	for _, want := range locks {
		if err := q.checkStepLock(run, worker, want); err != nil {
			return false, fmt.Errorf("taking lock %s for a step: %w", want.Name, err)
		}
	}
	st := &stepLocks{owner: owner, worker: worker, locks: locks}
	q.steps[owner] = st
	for _, want := range locks {
		if l := q.lockNamed(want.Name); !want.idle() && (l.instanceOn(worker).waiting > 0 || !l.free(worker, want)) {
			q.wait(st)
			return false, nil
		}
	}
	st.has = true
	q.takeLocks(owner, worker, locks)
	return true, nil
}

func (q *Queue) checkStepLock(run *running, worker string, want Lock) error {
	if slices.ContainsFunc(run.Locks, func(held Lock) bool { return held.Name == want.Name }) {
		return fmt.Errorf("the build itself holds it")
	}
	l := q.locks[want.Name]
	if l == nil || !l.known {
		return fmt.Errorf("there is no such lock")
	}
	if maxCount := l.maxOn(worker); !want.Exclusive && want.Count > maxCount {
		return fmt.Errorf("%d wanted, there are %d", want.Count, maxCount)
	}
	return nil
}

func (q *Queue) wait(st *stepLocks) {
	q.waiters = append(q.waiters, st)
	q.noteWaiting(st, 1)
}

func (q *Queue) noteWaiting(st *stepLocks, n int) {
	for _, want := range st.locks {
		if !want.idle() {
			q.lockNamed(want.Name).instanceOn(st.worker).waiting += n
		}
	}
	q.refresh(q.workers[st.worker])
}

// ReleaseStep gives back the locks of the step of a build, or ends its waiting.
// It does nothing if there is no such step.
func (q *Queue) ReleaseStep(owner int64) {
	q.settle()
	q.releaseStep(owner)
	q.grant()
}

func (q *Queue) releaseStep(owner int64) {
	st := q.steps[owner]
	if st == nil {
		return
	}
	delete(q.steps, owner)
	q.granted = slices.DeleteFunc(q.granted, func(id int64) bool { return id == owner })
	if st.has {
		q.giveLocks(owner, st.worker, st.locks)
	} else {
		q.waiters = slices.DeleteFunc(q.waiters, func(w *stepLocks) bool { return w == st })
		q.noteWaiting(st, -1)
	}
	q.wake()
}

// Granted returns the owners whose steps got their locks since the last call, in
// the order in which they got them.
func (q *Queue) Granted() []int64 {
	q.settle()
	g := q.granted
	q.granted = nil
	return g
}

// grant goes through the waiting steps in their order. One that must go on
// waiting keeps what it wants from those behind it.
func (q *Queue) grant() {
	if len(q.waiters) == 0 {
		return
	}
	kept := map[*instance]bool{}
	q.waiters = slices.DeleteFunc(q.waiters, func(st *stepLocks) bool {
		if !q.grantable(st, kept) {
			for _, want := range st.locks {
				if !want.idle() {
					kept[q.lockNamed(want.Name).instanceOn(st.worker)] = true
				}
			}
			return false
		}
		q.noteWaiting(st, -1)
		st.has = true
		q.takeLocks(st.owner, st.worker, st.locks)
		q.granted = append(q.granted, st.owner)
		return true
	})
}

func (q *Queue) grantable(st *stepLocks, kept map[*instance]bool) bool {
	for _, want := range st.locks {
		l := q.lockNamed(want.Name)
		in := l.instanceOn(st.worker)
		if want.idle() {
			continue
		}
		// The lock may have become smaller than what is wanted: then the step has
		// it alone, since it must not wait for ever.
		alone := want.Count > l.maxOn(st.worker) && in.counting == 0 && in.exclusive == 0
		if kept[in] || !alone && !l.free(st.worker, want) {
			return false
		}
	}
	return true
}
