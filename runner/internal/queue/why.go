package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Predicate names what keeps a request from a worker.
type Predicate string

// The predicates, in the order in which they are asked.
const (
	Ready          Predicate = "ready" // nothing does: it starts at the next call of Next, or one of higher rank does
	Held           Predicate = "held"
	StillRuns      Predicate = "still-runs"
	BuilderUnknown Predicate = "builder-unknown"
	NoWorkers      Predicate = "no-workers"
	OtherWorker    Predicate = "other-worker" // it is for another worker
	NotOfBuilder   Predicate = "not-of-builder"
	WorkerUnknown  Predicate = "worker-unknown"
	WorkerBlocked  Predicate = "worker-blocked"
	WorkerFull     Predicate = "worker-full"
	BuilderBusy    Predicate = "builder-busy" // an exclusive builder has a build there
	HostUnknown    Predicate = "host-unknown"
	HostBlocked    Predicate = "host-blocked"
	HostSlots      Predicate = "host-slots"
	HostAlone      Predicate = "host-alone" // it needs the whole host
	HostRoom       Predicate = "host-room"
	HostKept       Predicate = "host-kept" // for a request that was passed over for too long
	LockUnknown    Predicate = "lock-unknown"
	LockSteps      Predicate = "lock-steps" // steps of running builds wait for it
	LockHeld       Predicate = "lock-held"
	LockKept       Predicate = "lock-kept" // for a request of higher rank
)

// Reason is what keeps a request from one worker.
type Reason struct {
	Worker    string // "" if it has nothing to do with workers
	Predicate Predicate
	Reason    string // for people; "ready" if nothing keeps it
}

// Why returns, for each worker of the request's builder, the first predicate
// that keeps the request from it. It returns nil if the request is not pending.
// It changes nothing.
func (q *Queue) Why(id int64, now time.Time) []Reason {
	q.settle()
	it := q.pending[id]
	if it == nil {
		return nil
	}
	b := q.builders[it.Builder]
	switch {
	case b == nil:
		return []Reason{{"", BuilderUnknown, fmt.Sprintf("there is no builder %q", it.Builder)}}
	case len(b.names) == 0:
		return []Reason{{"", NoWorkers, "its builder has no workers"}}
	}
	p := q.begin(now)
	for s := p.next(); s != nil && s.first().before(it); s = p.next() {
		p.visit(s)
	}
	var reasons []Reason
	seen := map[string]bool{}
	for _, name := range b.def.Workers {
		if !seen[name] {
			seen[name] = true
			pred, text := q.obstacle(p, it, b, q.workerNamed(name))
			reasons = append(reasons, Reason{name, pred, text})
		}
	}
	if it.Worker != "" && !seen[it.Worker] {
		reasons = append(reasons, Reason{it.Worker, NotOfBuilder, fmt.Sprintf("builder %s does not run on it", it.Builder)})
	}
	return reasons
}

func (q *Queue) obstacle(p *pass, it *item, b *builder, w *workerState) (Predicate, string) {
	switch {
	case it.Held != "":
		return Held, it.Held
	case it.shape == nil:
		return StillRuns, "its last build has not ended yet"
	case it.Worker != "" && it.Worker != w.def.Name:
		return OtherWorker, fmt.Sprintf("it is for %s only", it.Worker)
	case !w.known:
		return WorkerUnknown, "there is no such worker"
	case w.def.Blocked != "":
		return WorkerBlocked, w.def.Blocked
	case w.full():
		return WorkerFull, fmt.Sprintf("runs %d of %d builds", w.load, w.def.MaxBuilds)
	case b.def.Exclusive && w.builds[it.Builder] > 0:
		return BuilderBusy, fmt.Sprintf("runs a build of %s, which is exclusive", it.Builder)
	}
	if pred, text := w.host.obstacle(it.shape.need); pred != Ready {
		return pred, text
	}
	if by := p.keptFor(w.host); by != nil {
		return HostKept, fmt.Sprintf("%s is kept for request %d, which was passed over since %s",
			w.host.def.Name, by.ID, by.bypass.since.Format(time.TimeOnly))
	}
	for _, k := range it.shape.group.locks {
		if pred, text := p.lockObstacle(k, w); pred != Ready {
			return pred, "lock " + k.def.Name + " " + text
		}
	}
	return Ready, string(Ready)
}

func (p *pass) lockObstacle(k groupLock, w *workerState) (Predicate, string) {
	name := w.def.Name
	if k.want.idle() {
		return Ready, ""
	}
	if !k.known {
		return LockUnknown, "is not configured"
	}
	in := k.instanceOn(name)
	switch {
	case in.waiting > 0:
		return LockSteps, fmt.Sprintf("is waited for by steps of %d running builds", in.waiting)
	case !k.free(name, k.want) && k.want.Exclusive:
		return LockHeld, fmt.Sprintf("is wanted alone, and held by %s", in.owners())
	case !k.free(name, k.want):
		return LockHeld, fmt.Sprintf("is held by %s: %d wanted, %d of %d free", in.owners(), k.want.Count, in.left(k.maxOn(name)), k.maxOn(name))
	}
	if c := p.claimOn(k, w); c != nil {
		return LockKept, fmt.Sprintf("is kept for request %d, which goes first", c.by.ID)
	}
	return Ready, ""
}

// left returns how many are free for a count.
func (in *instance) left(maxCount int) int {
	if in.exclusive > 0 {
		return 0
	}
	return max(0, maxCount-in.counting)
}

// owners names the requests whose builds hold the lock.
func (in *instance) owners() string {
	if len(in.holders) == 0 {
		return "nobody"
	}
	ids := make([]int64, 0, len(in.holders))
	for id := range in.holders {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	const most = 5
	var b strings.Builder
	b.WriteString("the builds of requests")
	for i, id := range ids {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(ids)-most)
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d", id)
	}
	return b.String()
}
