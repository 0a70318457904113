package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/worker"
)

// Diff says what a new configuration changed.
type Diff struct {
	config.Difference
	// Cancelled are pending requests whose builder is no longer there.
	Cancelled []int64 `json:"cancelled,omitempty"`
	// Restart names settings that changed since the start and count from the next
	// one on.
	Restart []string `json:"restart,omitempty"`
}

// Lines says what changed, a change a line.
func (d Diff) Lines() []string {
	lines := d.Difference.Lines()
	if n := len(d.Cancelled); n > 0 {
		lines = append(lines, "cancelled "+plural(n, "pending request of a removed builder", "pending requests of removed builders"))
	}
	for _, key := range d.Restart {
		lines = append(lines, key+" counts from the next start on")
	}
	return lines
}

// String returns the lines with line ends between them.
func (d Diff) String() string { return strings.Join(d.Lines(), "\n") }

// Config is the present configuration. It must not be written to.
func (e *Engine) Config() *config.Config { return e.conf.Load() }

// Reload takes over another configuration, which must be complete and must not
// be changed afterwards. All of it is made ready first; an error says why it
// cannot be, and then nothing has changed. It counts for everything that starts
// from now on: running builds keep the one they started with. Pending requests
// of builders that are gone are CANCELLED; workers that are gone take no more
// builds and are released when they are idle.
func (e *Engine) Reload(ctx context.Context, conf *config.Config) (Diff, error) {
	e.reloading.Lock()
	defer e.reloading.Unlock()
	old := e.Config()
	if err := e.reloadable(old, conf); err != nil {
		return Diff{}, err
	}
	ready, err := e.prepare(ctx, conf)
	if err != nil {
		return Diff{}, err
	}
	kinds, err := e.newKinds(old, conf)
	if err != nil {
		e.discard(ready, kinds)
		return Diff{}, err
	}
	diff := Diff{Difference: config.Diff(old, conf), Restart: ready.Restart}
	taken := false // by the loop, which sees to what was made ready
	err = e.record(ctx, func(l *loop) error {
		taken = true
		if l.stopping {
			e.group.Add(1)
			go func() {
				defer e.group.Done()
				e.discard(ready, kinds)
			}()
			return ErrStopped
		}
		l.swap(conf, ready, kinds, &diff)
		return nil
	})
	switch {
	case err == nil:
		return diff, nil
	case !errors.Is(err, ErrStopped): // of ctx: the loop may be at it
		return Diff{}, fmt.Errorf("the configuration may have been loaded: %w", err)
	case !taken:
		e.discard(ready, kinds)
	}
	return Diff{}, err
}

// reloadable says why a configuration cannot replace the other one.
func (e *Engine) reloadable(old, conf *config.Config) error {
	was, err := old.Abs(old.BaseDir)
	if err != nil {
		return fmt.Errorf("base directory: %w", err)
	}
	is, err := conf.Abs(conf.BaseDir)
	if err != nil {
		return fmt.Errorf("base directory: %w", err)
	}
	if was != is {
		return fmt.Errorf("basedir was %s and is now %s: that needs a restart: %w", was, is, ErrConflict)
	}
	return e.knowsFuncs(conf)
}

// knowsFuncs checks the Go steps that the configuration names.
func (e *Engine) knowsFuncs(conf *config.Config) error {
	for i := range conf.Builders {
		b := &conf.Builders[i]
		for j := range b.Steps {
			if f := b.Steps[j].Func; f != "" && e.opt.Steps[f] == nil {
				return fmt.Errorf("builder %q, step %q: this program has no step function %q", b.Name, b.Steps[j].Name, f)
			}
		}
	}
	return nil
}

// newKinds makes the workers that are not there yet, or must be made anew.
func (e *Engine) newKinds(old, conf *config.Config) (map[string]worker.Kind, error) {
	before := map[string]config.Worker{}
	for _, w := range old.AllWorkers() {
		before[w.Name] = w
	}
	kinds := map[string]worker.Kind{}
	for _, w := range conf.AllWorkers() {
		if was, ok := before[w.Name]; ok && sameKind(was, w) {
			continue
		}
		kind, err := e.opt.Attach(w)
		if err != nil {
			return kinds, fmt.Errorf("worker %s: %w", w.Name, err)
		}
		kinds[w.Name] = kind
	}
	return kinds, nil
}

// sameKind reports whether the worker can stay as it is: what differs is the
// master's business.
func sameKind(a, b config.Worker) bool {
	for _, w := range []*config.Worker{&a, &b} {
		w.MaxBuilds, w.Properties, w.DefaultProperties, w.NoCanary, w.Remote = 0, nil, nil, false, config.RemoteWorker{}
	}
	return reflect.DeepEqual(a, b)
}

// discard gives back what was made ready and is not wanted.
func (e *Engine) discard(ready Prepared, kinds map[string]worker.Kind) {
	if ready.Discard != nil {
		ready.Discard()
	}
	for name, k := range kinds {
		if err := k.Release(context.WithoutCancel(e.life), true); err != nil {
			e.log.Warn("worker not released", "worker", name, "err", err)
		}
	}
}

// release lets go of a worker, in the background: it may take its time.
func (e *Engine) release(name string, k worker.Kind) {
	e.group.Add(1)
	go func() {
		defer e.group.Done()
		if err := k.Release(context.WithoutCancel(e.life), true); err != nil {
			e.log.Warn("worker not released", "worker", name, "err", err)
		}
	}()
}

// swap makes the new configuration the present one.
func (l *loop) swap(conf *config.Config, ready Prepared, kinds map[string]worker.Kind, diff *Diff) {
	old := l.conf
	l.conf, l.prepared = conf, ready
	l.e.conf.Store(conf)
	clear(l.hashes)
	now := time.Now()
	l.register(conf, now)
	l.setLocks(old, conf)
	l.swapWorkers(conf, kinds, now)
	l.setBuilders(conf)
	for _, name := range diff.Builders.Removed {
		l.queue.RemoveBuilder(name)
	}
	for id, r := range l.requests {
		switch {
		case r.running != nil:
		case l.confOf(r) == nil:
			l.queue.Remove(id)
			l.finishRequest(r, build.Cancelled, noBuilder)
			diff.Cancelled = append(diff.Cancelled, id)
		default:
			l.queue.SetNeed(id, l.need(r))
		}
	}
	slices.Sort(diff.Cancelled)
	l.enrol()
	l.mailLater() // there may be a sender now
	if ready.Adopt != nil {
		ready.Adopt()
	}
	lines := diff.Lines()
	l.log.Debug("configuration loaded", "changes", lines)
	l.journal(entry{kind: aboutMaster, what: "reload", reason: strings.Join(lines, "; ")})
	l.publish(Event{Kind: Reloaded, Text: diff.String()})
}

// setLocks tells the queue of the configuration's locks.
func (l *loop) setLocks(old, conf *config.Config) {
	for _, lk := range conf.Locks {
		l.queue.SetLock(queue.LockDef{Name: lk.Name, Max: lk.MaxCount, PerWorker: lk.Scope == config.LockWorker, MaxFor: lk.MaxCountForWorker})
	}
	if old == nil {
		return
	}
	for _, lk := range old.Locks {
		if !slices.ContainsFunc(conf.Locks, func(n config.Lock) bool { return n.Name == lk.Name }) {
			l.queue.RemoveLock(lk.Name)
		}
	}
}

// setBuilders tells the queue of the configuration's builders.
func (l *loop) setBuilders(conf *config.Config) {
	for i := range conf.Builders {
		b := &conf.Builders[i]
		l.queue.SetBuilder(queue.Builder{
			Name: b.Name, Workers: conf.WorkersOf(b.Name), Locks: queueLocks(b.Locks), Exclusive: b.Exclusive, Collapse: !b.NoCollapse,
		})
	}
	var all []string
	for _, w := range conf.AllWorkers() {
		all = append(all, w.Name)
	}
	l.queue.SetBuilder(queue.Builder{Name: Command, Workers: all})
}

// swapWorkers makes the workers what the new configuration says.
func (l *loop) swapWorkers(conf *config.Config, kinds map[string]worker.Kind, now time.Time) {
	named := map[string]bool{}
	for own, c := range workersOf(conf) {
		name := own.Name
		named[name] = true
		w, kind := l.workers[name], kinds[name]
		switch {
		case w == nil:
			w = l.newWorker(name, c, kind, now)
			l.workers[name] = w
			l.configured(w)
			l.attach(w)
		case kind != nil:
			l.replaceWorker(w, c, kind, w.row.Configured.Equal(now))
		case w.next != nil: // it still has builds of the kind before
			w.next.conf = c
		case !reflect.DeepEqual(*w.conf, *c):
			w.conf = c
			l.configured(w)
		default:
			w.conf = c // the old configuration can go
		}
	}
	for name, w := range l.workers {
		if !named[name] && !w.removed {
			w.removed = true
			l.leave(w)
		}
	}
}

// replacement is what a worker becomes when its builds have ended.
type replacement struct {
	conf *config.Worker
	kind worker.Kind
	anew bool // it is another worker of the same name
}

// replaceWorker makes a worker anew whose entry says something else of how it
// comes about. Its builds end as they began.
func (l *loop) replaceWorker(w *workerState, conf *config.Worker, kind worker.Kind, anew bool) {
	if w.next != nil {
		l.e.release(w.name, w.next.kind)
		anew = anew || w.next.anew
	}
	w.next, w.removed = &replacement{conf, kind, anew}, false
	l.leave(w)
}

// leave lets nothing more start on a worker that is to go, or to be replaced.
func (l *loop) leave(w *workerState) {
	l.wakeWorker(w, time.Time{})
	if w.giveUp != nil {
		w.giveUp()
	}
	l.setWorker(w)
	l.touch(w)
	l.workerIdle(w)
}

// parted is the end of a worker that was to leave: it is idle and closed.
func (l *loop) parted(w *workerState) {
	l.e.release(w.name, w.kind)
	next := w.next
	if w.removed {
		if next != nil {
			l.e.release(w.name, next.kind)
		}
		delete(l.workers, w.name)
		l.queue.RemoveWorker(w.name)
		l.journal(entry{kind: aboutWorker, name: w.name, ref: w.row.ID, what: "removed"})
		w.show()
		if len(l.subscribers) > 0 {
			l.publish(Event{Kind: WorkerChanged, What: "removed", Worker: w.show()})
		}
		l.publishNames()
		l.enrol()
		return
	}
	w.next, w.conf, w.kind = nil, next.conf, next.kind
	was := w.state
	if next.anew { // what it was until now is no loss of the new one
		was.Loss, w.info = worker.Loss{}, nil
		anew(w.row, time.Now())
		l.putWorker(w)
		l.publishNames()
	}
	w.state = worker.NewState(was.Facts)
	w.state.MasterStart = was.MasterStart
	if was.Link == worker.LinkStopped && next.conf.Kind == config.WorkerLocal { // until a person starts it
		w.state.Link, w.state.LinkSince, w.state.End = was.Link, was.LinkSince, was.End
	}
	l.configured(w)
	l.attach(w)
}
