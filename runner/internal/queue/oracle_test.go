package queue

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// oracle says the rules of the package comment as plainly as possible: every
// question is answered by looking at everything.
type oracle struct {
	builders map[string]Builder
	workers  map[string]Worker
	hosts    map[string]Host
	locks    map[string]LockDef // as it was last set
	removed  map[string]bool    // locks
	pending  []*oracleRequest
	running  []Assignment
	steps    []*oracleStep // in the order in which they asked
}

type oracleRequest struct {
	Request
	passed bool
	since  time.Time
	by     Request
	where  string
}

type oracleStep struct {
	owner  int64
	worker string
	locks  []Lock
	has    bool
}

func newOracle() *oracle {
	return &oracle{builders: map[string]Builder{}, workers: map[string]Worker{}, hosts: map[string]Host{}, locks: map[string]LockDef{}, removed: map[string]bool{}}
}

func outranks(a, b Request) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	if !a.Submitted.Equal(b.Submitted) {
		return a.Submitted.Before(b.Submitted)
	}
	return a.ID < b.ID
}

func (o *oracle) find(id int64) *oracleRequest {
	for _, r := range o.pending {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (o *oracle) runs(id int64) *Assignment {
	for i := range o.running {
		if o.running[i].Request.ID == id {
			return &o.running[i]
		}
	}
	return nil
}

func (o *oracle) ranked() []*oracleRequest {
	rs := slices.Clone(o.pending)
	sort.Slice(rs, func(i, j int) bool { return outranks(rs[i].Request, rs[j].Request) })
	return rs
}

// wants merges the locks of a builder by name, without those that take nothing.
func wants(locks []Lock) map[string]Lock {
	m := map[string]Lock{}
	for _, l := range locks {
		x := m[l.Name]
		m[l.Name] = Lock{l.Name, x.Exclusive || l.Exclusive, x.Count + l.Count}
	}
	for name, l := range m {
		if !l.Exclusive && l.Count <= 0 {
			delete(m, name)
		}
	}
	return m
}

// candidates are the workers that may run the request by configuration.
func (o *oracle) candidates(r Request) map[string]bool {
	m := map[string]bool{}
	for _, name := range o.builders[r.Builder].Workers {
		if r.Worker == "" || r.Worker == name {
			m[name] = true
		}
	}
	return m
}

// kind is equal for requests that differ in nothing but rank, "" for those that
// must not start.
func (o *oracle) kind(r Request) string {
	b, ok := o.builders[r.Builder]
	if !ok || r.Held != "" || o.runs(r.ID) != nil {
		return ""
	}
	exclusive := ""
	if b.Exclusive {
		exclusive = b.Name
	}
	return fmt.Sprint(o.candidates(r), exclusive, mergeLocks(b.Locks), r.Need)
}

func (o *oracle) firstOfKind(r *oracleRequest) bool {
	k := o.kind(r.Request)
	for _, x := range o.pending {
		if x != r && o.kind(x.Request) == k && outranks(x.Request, r.Request) {
			return false
		}
	}
	return k != ""
}

// due reports whether what the request needs is kept for it.
func (o *oracle) due(r *oracleRequest, now time.Time) bool {
	return o.firstOfKind(r) && r.passed && now.Sub(r.since) >= 10*time.Minute
}

func (o *oracle) load(worker, builder string) (n int) {
	for _, a := range o.running {
		if a.Worker == worker && (builder == "" || a.Request.Builder == builder) {
			n++
		}
	}
	return n
}

// takesBuilds reports whether only host and locks can be in the request's way.
func (o *oracle) takesBuilds(r Request, name string) bool {
	w, ok := o.workers[name]
	return ok && o.candidates(r)[name] && w.Blocked == "" &&
		(w.MaxBuilds == 0 || o.load(name, "") < w.MaxBuilds) &&
		(!o.builders[r.Builder].Exclusive || o.load(name, r.Builder) == 0)
}

func (o *oracle) use(host string) (builds int, cpus float64, memory int64) {
	t := o.hosts[host].Taken
	builds, cpus, memory = t.Builds, t.Need.CPUs, t.Need.Memory
	for _, a := range o.running {
		if a.Host == host {
			builds, cpus, memory = builds+1, cpus+a.Need.CPUs, memory+a.Need.Memory
		}
	}
	return builds, cpus, memory
}

func (o *oracle) tooLarge(r Request, host string) bool {
	h := o.hosts[host]
	return r.Need.CPUs > h.CPUs || r.Need.Memory > h.Memory
}

func (o *oracle) fits(r Request, host string) bool {
	if host == "" {
		return true
	}
	h, ok := o.hosts[host]
	builds, cpus, memory := o.use(host)
	switch {
	case !ok || h.Blocked != "" || builds >= h.Slots:
		return false
	case o.tooLarge(r, host):
		return builds == 0
	}
	return r.Need.CPUs <= h.CPUs-cpus && r.Need.Memory <= h.Memory-memory
}

func (o *oracle) maxOn(lock, worker string) int {
	d := o.locks[lock]
	if n, ok := d.MaxFor[worker]; ok && d.PerWorker {
		return n
	}
	return d.Max
}

// sameCounter reports whether two workers share the counter of a lock.
func (o *oracle) sameCounter(lock, a, b string) bool { return !o.locks[lock].PerWorker || a == b }

// held adds up what builds and steps have of the lock that matters on a worker.
func (o *oracle) held(lock, worker string) (counting, exclusive int) {
	add := func(w string, locks []Lock) {
		if l, ok := wants(locks)[lock]; ok && o.sameCounter(lock, w, worker) {
			if l.Exclusive {
				exclusive++
			} else {
				counting += l.Count
			}
		}
	}
	for _, a := range o.running {
		add(a.Worker, a.Locks)
	}
	for _, s := range o.steps {
		if s.has {
			add(s.worker, s.locks)
		}
	}
	return counting, exclusive
}

func (o *oracle) stepWaits(lock, worker string) bool {
	for _, s := range o.steps {
		if _, ok := wants(s.locks)[lock]; ok && !s.has && o.sameCounter(lock, s.worker, worker) {
			return true
		}
	}
	return false
}

func (o *oracle) free(want Lock, worker string) bool {
	counting, exclusive := o.held(want.Name, worker)
	if want.Exclusive {
		return counting+exclusive == 0
	}
	return exclusive == 0 && counting+want.Count <= o.maxOn(want.Name, worker)
}

func (o *oracle) lockKnown(name string) bool {
	_, ok := o.locks[name]
	return ok && !o.removed[name]
}

// kept is what requests of higher rank keep: locks by name and worker (""
// when not per worker), hosts.
type kept struct {
	locks map[[2]string]bool
	hosts map[string]bool
}

func (o *oracle) lockKey(lock, worker string) [2]string {
	if o.locks[lock].PerWorker {
		return [2]string{lock, worker}
	}
	return [2]string{lock, ""}
}

// missing returns the locks that the request cannot have on a worker.
func (o *oracle) missing(r Request, worker string, k kept) (names []string) {
	for name, want := range wants(o.builders[r.Builder].Locks) {
		if !o.lockKnown(name) || o.stepWaits(name, worker) || !o.free(want, worker) || k.locks[o.lockKey(name, worker)] {
			names = append(names, name)
		}
	}
	return names
}

func (o *oracle) room(r Request, host string, k kept) bool { return o.fits(r, host) && !k.hosts[host] }

func (o *oracle) canStart(r Request, worker string, k kept) bool {
	return o.kind(r) != "" && o.takesBuilds(r, worker) && o.room(r, o.workers[worker].Host, k) && len(o.missing(r, worker, k)) == 0
}

// waiting is what a request that could not start waits for.
type waiting struct {
	r     *oracleRequest
	locks bool     // nothing but locks, on some worker
	hosts []string // nothing but room on these
}

// walk goes through the pending requests from the highest rank down to, and
// without, the one for which stop is true.
func (o *oracle) walk(now time.Time, stop func(*oracleRequest, kept) bool) (k kept, waits []waiting) {
	k = kept{map[[2]string]bool{}, map[string]bool{}}
	for _, r := range o.ranked() {
		if stop(r, k) {
			return k, waits
		}
		if o.kind(r.Request) == "" || o.startable(r.Request, k) != nil {
			continue
		}
		due, w := o.due(r, now), waiting{r: r}
		var locks [][2]string
		keepHost := ""
		for name := range o.candidates(r.Request) {
			if !o.takesBuilds(r.Request, name) {
				continue
			}
			host, missing := o.workers[name].Host, o.missing(r.Request, name, k)
			if due {
				for lock := range wants(o.builders[r.Builder].Locks) {
					locks = append(locks, o.lockKey(lock, name))
				}
			}
			if o.room(r.Request, host, k) {
				w.locks = true
				for _, lock := range missing {
					locks = append(locks, o.lockKey(lock, name))
				}
			} else if len(missing) == 0 {
				w.hosts = append(w.hosts, host)
				if due && r.where == host {
					keepHost = host
				}
			}
		}
		for _, l := range locks {
			k.locks[l] = true
		}
		if keepHost != "" {
			k.hosts[keepHost] = true
		}
		if o.firstOfKind(r) {
			waits = append(waits, w)
		}
	}
	return k, waits
}

// startable returns the least loaded workers on which the request can start.
func (o *oracle) startable(r Request, k kept) (names []string) {
	least := -1
	for name := range o.candidates(r) {
		if !o.canStart(r, name, k) {
			continue
		}
		n := o.load(name, "")
		if least < 0 || n < least {
			least, names = n, nil
		}
		if n == least {
			names = append(names, name)
		}
	}
	return names
}

// next returns the request that must start now, nil if none can, and the workers
// that may get it.
func (o *oracle) next(now time.Time) (best *oracleRequest, workers []string, waits []waiting) {
	_, waits = o.walk(now, func(r *oracleRequest, k kept) bool {
		workers = o.startable(r.Request, k)
		if workers != nil {
			best = r
		}
		return best != nil
	})
	return best, workers, waits
}

// start follows an assignment.
func (o *oracle) start(a Assignment, waits []waiting, now time.Time) {
	for _, w := range waits {
		if w.locks && len(o.common(w.r.Request, a.Request)) > 0 {
			w.r.pass(now, a.Request, "")
		}
		if a.Host != "" && slices.Contains(w.hosts, a.Host) {
			w.r.pass(now, a.Request, a.Host)
		}
	}
	o.drop(a.Request.ID)
	o.running = append(o.running, a)
}

func (o *oracle) common(a, b Request) (names []string) {
	for name := range wants(o.builders[a.Builder].Locks) {
		if _, ok := wants(o.builders[b.Builder].Locks)[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

func (r *oracleRequest) pass(now time.Time, by Request, where string) {
	if !r.passed {
		r.passed, r.since, r.by = true, now, by
	}
	if r.where == "" {
		r.where = where
	}
}

// drop takes a request out; the next of its kind inherits its clock.
func (o *oracle) drop(id int64) {
	r := o.find(id)
	if r == nil {
		return
	}
	first := o.firstOfKind(r)
	o.pending = slices.DeleteFunc(o.pending, func(x *oracleRequest) bool { return x == r })
	if !first || !r.passed {
		return
	}
	for _, x := range o.ranked() {
		if o.kind(x.Request) != o.kind(r.Request) {
			continue
		}
		if !x.passed && !x.Submitted.After(r.since) && outranks(x.Request, r.by) {
			x.passed, x.since, x.by, x.where = true, r.since, r.by, r.where
		}
		return
	}
}

func (o *oracle) add(r Request) (collapsed []int64) {
	o.drop(r.ID)
	if b := o.builders[r.Builder]; b.Collapse && r.CollapseKey != "" {
		for _, x := range slices.Clone(o.pending) {
			older := x.Submitted.Before(r.Submitted) || x.Submitted.Equal(r.Submitted) && x.ID < r.ID
			if older && x.Builder == r.Builder && x.CollapseKey == r.CollapseKey && x.Worker == r.Worker {
				collapsed = append(collapsed, x.ID)
				o.drop(x.ID)
			}
		}
	}
	o.pending = append(o.pending, &oracleRequest{Request: r})
	return collapsed
}

func (o *oracle) change(id int64, f func(*Request)) bool {
	r := o.find(id)
	if r == nil {
		return false
	}
	o.drop(id)
	f(&r.Request)
	o.pending = append(o.pending, &oracleRequest{Request: r.Request})
	return true
}

func (o *oracle) release(id int64) {
	o.running = slices.DeleteFunc(o.running, func(a Assignment) bool { return a.Request.ID == id })
	o.steps = slices.DeleteFunc(o.steps, func(s *oracleStep) bool { return s.owner == id })
}

// grant returns the steps that may go on now, in order, and lets them.
func (o *oracle) grant() (owners []int64) {
	ahead := map[[2]string]bool{}
	for _, s := range o.steps {
		if s.has {
			continue
		}
		can := true
		for name, want := range wants(s.locks) {
			counting, exclusive := o.held(name, s.worker)
			alone := want.Count > o.maxOn(name, s.worker) && counting+exclusive == 0
			if ahead[o.lockKey(name, s.worker)] || !alone && !o.free(want, s.worker) {
				can = false
			}
		}
		if can {
			s.has = true
			owners = append(owners, s.owner)
			continue
		}
		for name := range wants(s.locks) {
			ahead[o.lockKey(name, s.worker)] = true
		}
	}
	return owners
}

// holds reports whether a predicate is true of a request and a worker.
func (o *oracle) holds(p Predicate, r *oracleRequest, worker string, k kept) bool {
	b, known := o.builders[r.Builder]
	w, workerKnown := o.workers[worker]
	h, hostKnown := o.hosts[w.Host]
	builds, _, _ := o.use(w.Host)
	lock := func(f func(want Lock) bool) bool {
		for _, want := range wants(b.Locks) {
			if f(want) {
				return true
			}
		}
		return false
	}
	switch p {
	case Ready:
		return o.canStart(r.Request, worker, k)
	case Held:
		return r.Held != ""
	case StillRuns:
		return o.runs(r.ID) != nil
	case BuilderUnknown:
		return !known
	case NoWorkers:
		return known && len(b.Workers) == 0
	case OtherWorker:
		return r.Worker != "" && r.Worker != worker
	case NotOfBuilder:
		return !slices.Contains(b.Workers, worker)
	case WorkerUnknown:
		return !workerKnown
	case WorkerBlocked:
		return w.Blocked != ""
	case WorkerFull:
		return w.MaxBuilds > 0 && o.load(worker, "") >= w.MaxBuilds
	case BuilderBusy:
		return b.Exclusive && o.load(worker, r.Builder) > 0
	case HostUnknown:
		return w.Host != "" && !hostKnown
	case HostBlocked:
		return h.Blocked != ""
	case HostSlots:
		return builds >= h.Slots
	case HostAlone:
		return o.tooLarge(r.Request, w.Host) && builds > 0
	case HostRoom:
		return !o.tooLarge(r.Request, w.Host) && !o.fits(r.Request, w.Host)
	case HostKept:
		return k.hosts[w.Host]
	case LockUnknown:
		return lock(func(l Lock) bool { return !o.lockKnown(l.Name) })
	case LockSteps:
		return lock(func(l Lock) bool { return o.stepWaits(l.Name, worker) })
	case LockHeld:
		return lock(func(l Lock) bool { return !o.free(l, worker) })
	case LockKept:
		return lock(func(l Lock) bool { return k.locks[o.lockKey(l.Name, worker)] })
	}
	return false
}
