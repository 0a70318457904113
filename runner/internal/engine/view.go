package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// WorkerView is a worker as others see it at one moment. It is never written to
// after it was made; nor is what it points to.
type WorkerView struct {
	ID   int64
	Name string
	Kind config.WorkerKind
	// Conf is its entry in the configuration, the last one if it was removed; of
	// a member of a group it is the group's.
	Conf       *config.Worker
	State      worker.State
	Info       worker.Info // what it last said about itself; nil if it never did
	Configured time.Time   // when the configuration first named it
	Removed    time.Time   // zero: the configuration names it
	LastSeen   time.Time   // when it was last connected; while it is, the moment it connected
	Builds     []int64     // ids of the builds that run on it, oldest first
	MaxBuilds  int         // 0: no limit of its own
}

// Blocked says why the worker takes no builds now, "" if it does. Machine,
// locks and max_builds are not looked at: they are no matter of its state.
func (v *WorkerView) Blocked(now time.Time) string {
	if !v.Removed.IsZero() {
		return removedText
	}
	return v.State.Blocked(now)
}

// removedText is said of workers that the configuration no longer names.
const removedText = "it is no longer configured"

// roster is what Workers reads without asking the loop: the workers, and each
// one's view. The loop alone writes.
type roster struct {
	list atomic.Pointer[[]*atomic.Pointer[WorkerView]]
}

// Workers returns all workers that are configured, and those that were removed
// while builds run on them, in the order of their ids. It does not wait for the
// loop and costs no more than the slice it returns.
func (e *Engine) Workers() []*WorkerView {
	p := e.roster.list.Load()
	if p == nil {
		return nil
	}
	views := make([]*WorkerView, len(*p))
	for i, v := range *p {
		views[i] = v.Load()
	}
	return views
}

// Worker returns the view of one worker, nil if there is none of that name.
func (e *Engine) Worker(name string) *WorkerView {
	for _, v := range e.Workers() {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// enrol makes the present set of workers known to Workers.
func (l *loop) enrol() {
	list := make([]*atomic.Pointer[WorkerView], 0, len(l.workers))
	for _, w := range l.workers {
		w.show()
		list = append(list, &w.view)
	}
	slices.SortFunc(list, func(a, b *atomic.Pointer[WorkerView]) int { return int(a.Load().ID - b.Load().ID) })
	l.e.roster.list.Store(&list)
}

// show makes a new view of the worker.
func (w *workerState) show() *WorkerView {
	v := &WorkerView{
		ID: w.row.ID, Name: w.name, Kind: w.conf.Kind, Conf: w.conf, State: w.state, Info: w.info,
		Configured: w.row.Configured, Removed: w.row.Removed, LastSeen: w.row.LastSeen,
		MaxBuilds: w.conf.MaxBuilds,
	}
	for _, b := range w.builds {
		v.Builds = append(v.Builds, b.row.ID)
	}
	w.view.Store(v)
	w.stale = false
	return v
}

// touch has the worker's view made anew at the end of the turn.
func (l *loop) touch(w *workerState) {
	if !w.stale {
		w.stale = true
		l.touched = append(l.touched, w)
	}
}

func (l *loop) showTouched() {
	for _, w := range l.touched {
		if w.stale {
			w.show()
		}
	}
	clear(l.touched)
	l.touched = l.touched[:0]
}

// Builders returns the rows of all builders that were ever known, in the order
// of their ids. The slice must not be changed.
func (e *Engine) Builders() []store.Builder { return *e.names.builders.Load() }

// Schedulers returns the rows of all schedulers that were ever known, in the
// order of their ids. The slice must not be changed.
func (e *Engine) Schedulers() []store.Scheduler { return *e.names.schedulers.Load() }

// KnownWorkers returns the rows of all workers that were ever known, removed
// ones too, in the order of their ids, as of the last change of the
// configuration: LastSeen and State are those of [Engine.Workers]. The slice
// must not be changed.
func (e *Engine) KnownWorkers() []store.Worker { return *e.names.workers.Load() }
