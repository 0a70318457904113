package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"
)

// fixture has workers w1 and w2 without limits on a host with four CPUs, and
// builder b on both.
func fixture() *Queue {
	q := New()
	q.SetHost(Host{Name: "here", Slots: 4, CPUs: 4, Memory: 8 << 30})
	q.SetWorker(Worker{Name: "w1", Host: "here"})
	q.SetWorker(Worker{Name: "w2", Host: "here"})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1", "w2"}})
	return q
}

func request(id int64, f ...func(*Request)) Request {
	r := Request{ID: id, Builder: "b", Submitted: epoch.Add(time.Duration(id) * time.Second), Need: worker.Need{CPUs: 1, Memory: 1 << 30}}
	for _, g := range f {
		g(&r)
	}
	return r
}

func cpus(n float64) func(*Request) { return func(r *Request) { r.Need.CPUs = n } }

func of(builder string) func(*Request) { return func(r *Request) { r.Builder = builder } }

// starts returns the ids that start, in their order.
func starts(q *Queue, now time.Time) (ids []int64, as []Assignment) {
	for a, ok := q.Next(now); ok; a, ok = q.Next(now) {
		ids, as = append(ids, a.Request.ID), append(as, a)
	}
	return ids, as
}

func wantStarts(t *testing.T, q *Queue, now time.Time, want ...int64) []Assignment {
	t.Helper()
	ids, as := starts(q, now)
	if !slices.Equal(ids, want) {
		t.Fatalf("started %v, want %v", ids, want)
	}
	return as
}

// wantWhy checks the reason for one worker.
func wantWhy(t *testing.T, q *Queue, id int64, now time.Time, worker string, p Predicate, text string) {
	t.Helper()
	for _, r := range q.Why(id, now) {
		if r.Worker == worker {
			if r.Predicate != p || !strings.Contains(r.Reason, text) {
				t.Errorf("request %d on %q: %s, %q; want %s, %q", id, worker, r.Predicate, r.Reason, p, text)
			}
			return
		}
	}
	t.Errorf("request %d: nothing is said about %q: %v", id, worker, q.Why(id, now))
}

func TestHighestPriorityThenOldestThenLowestID(t *testing.T) {
	q := fixture()
	q.SetHost(Host{Name: "here", Slots: 9, CPUs: 9, Memory: 9 << 30})
	same := func(r *Request) { r.Submitted = epoch }
	for _, r := range []Request{request(5), request(9, same), request(8, same), request(4), request(1, func(r *Request) { r.Priority = -1 }), request(7, func(r *Request) { r.Priority = 2 })} {
		q.Add(r)
	}
	wantStarts(t, q, epoch, 7, 8, 9, 4, 5, 1)
}

func TestTheLeastLoadedWorkerGetsTheBuild(t *testing.T) {
	q := fixture()
	q.SetWorker(Worker{Name: "w3", Host: "here"})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1", "w2", "w3"}})
	for id := range int64(4) {
		q.Add(request(id))
	}
	as := wantStarts(t, q, epoch, 0, 1, 2, 3)
	got := map[string]bool{as[0].Worker: true, as[1].Worker: true, as[2].Worker: true}
	if len(got) != 3 || as[3].Worker != as[0].Worker {
		t.Errorf("builds went to %s, %s, %s, %s; want each worker once and then the first", as[0].Worker, as[1].Worker, as[2].Worker, as[3].Worker)
	}
	// Of two idle workers the one that rested longer.
	q.Release(as[2])
	q.Release(as[1])
	q.Add(request(5))
	if a := wantStarts(t, q, epoch, 5)[0]; a.Worker != as[1].Worker {
		t.Errorf("the build went to %s, want %s", a.Worker, as[1].Worker)
	}
}

func TestNobodyIsHeldUpByOneThatCannotStart(t *testing.T) {
	q := fixture()
	q.Add(request(1, func(r *Request) { r.Worker = "elsewhere" }))
	q.Add(request(2, cpus(3.5)))
	q.Add(request(3, cpus(3)))
	q.Add(request(4, cpus(0.5)))
	wantStarts(t, q, epoch, 2, 4)
	wantWhy(t, q, 1, epoch, "w1", OtherWorker, "for elsewhere only")
	wantWhy(t, q, 1, epoch, "elsewhere", NotOfBuilder, "does not run on it")
	wantWhy(t, q, 3, epoch, "w1", HostRoom, "needs 3 CPUs and 1 GiB, here has 0 CPUs and 6 GiB free")
}

// A stream of small requests never leaves room for a large one: after ten
// minutes the host drains for it.
func TestARequestIsPassedOverForTenMinutesAtMost(t *testing.T) {
	q, now := fixture(), epoch
	q.Add(request(1))
	running := wantStarts(t, q, now, 1)
	q.Add(request(2, cpus(4)))
	for id := int64(3); ; id++ {
		q.Add(request(id))
		ids, as := starts(q, now)
		running = append(running, as...)
		if slices.Contains(ids, 2) {
			break
		}
		if waited := now.Sub(epoch); waited >= BypassLimit {
			if len(ids) > 0 {
				t.Fatalf("%v started %v after the large request had been passed over", ids, waited)
			}
			wantWhy(t, q, id, now, "w1", HostKept, "kept for request 2")
		} else if len(ids) == 0 {
			t.Fatalf("nothing started after %v, while there was room", waited)
		}
		now = now.Add(time.Minute)
		q.Release(running[0])
		running = running[1:]
	}
	// Each minute one build ended: ten minutes, and the drain of what then ran.
	if waited := now.Sub(epoch); waited > BypassLimit+4*time.Minute {
		t.Errorf("the large request waited %v", waited)
	}
}

func TestAHigherRankMayGoFirstWhileAHostDrains(t *testing.T) {
	q, now := fixture(), epoch
	q.Add(request(1))
	q.Add(request(2, cpus(4)))
	q.Add(request(3))
	wantStarts(t, q, now, 1, 3)
	now = now.Add(BypassLimit)
	q.Add(request(4))
	q.Add(request(5, func(r *Request) { r.Priority = 1 }))
	wantStarts(t, q, now, 5)
	wantWhy(t, q, 4, now, "w2", HostKept, "request 2")
}

func TestANeedBeyondTheHostRunsAlone(t *testing.T) {
	q := fixture()
	q.Add(request(1))
	q.Add(request(2, cpus(9)))
	a := wantStarts(t, q, epoch, 1)
	wantWhy(t, q, 2, epoch, "w1", HostAlone, "more than here has (4 CPUs and 8 GiB)")
	q.Release(a[0])
	wantStarts(t, q, epoch, 2)
	q.Add(request(3, func(r *Request) { r.Need = worker.Need{} }))
	wantStarts(t, q, epoch)
	wantWhy(t, q, 3, epoch, "w1", HostRoom, "free")
}

func TestWhatOthersTakeOfAHost(t *testing.T) {
	q := fixture()
	h := Host{Name: "here", Slots: 4, CPUs: 4, Memory: 8 << 30, Taken: Taken{1, worker.Need{CPUs: 3.5}}}
	q.SetHost(h)
	q.Add(request(1))
	q.Add(request(2, cpus(9)))
	wantStarts(t, q, epoch)
	wantWhy(t, q, 1, epoch, "w1", HostRoom, "0.5 CPUs")
	wantWhy(t, q, 2, epoch, "w1", HostAlone, "1 builds there")
	h.Taken.Need.CPUs, h.Taken.Builds = 0, 4
	q.SetHost(h)
	wantStarts(t, q, epoch)
	wantWhy(t, q, 1, epoch, "w1", HostSlots, "4 of 4 slots of here")
	h.Taken.Builds = 0
	q.SetHost(h)
	wantStarts(t, q, epoch, 1)
}

func TestEveryPredicateHasItsWords(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "gpu", Max: 2})
	q.SetWorker(Worker{Name: "paused", Blocked: "paused by ana: new disk"})
	q.SetWorker(Worker{Name: "small", MaxBuilds: 1})
	q.SetWorker(Worker{Name: "lost", Host: "nowhere"})
	q.SetWorker(Worker{Name: "hot", Host: "furnace"})
	q.SetHost(Host{Name: "furnace", Slots: 1, CPUs: 1, Blocked: "memory pressure is high"})
	all := []string{"w1", "w1", "paused", "small", "lost", "hot", "ghost"}
	q.SetBuilder(Builder{Name: "all", Workers: all})
	q.SetBuilder(Builder{Name: "once", Workers: []string{"w1"}, Exclusive: true})
	q.SetBuilder(Builder{Name: "gpu", Workers: []string{"w1"}, Locks: []Lock{{Name: "gpu", Count: 1}}})
	q.SetBuilder(Builder{Name: "gpus", Workers: []string{"w1"}, Locks: []Lock{{Name: "gpu", Exclusive: true}}})
	q.SetBuilder(Builder{Name: "tpu", Workers: []string{"w1"}, Locks: []Lock{{Name: "tpu", Count: 1}}})
	q.SetBuilder(Builder{Name: "nobody"})

	q.Add(request(1, of("all"), func(r *Request) { r.Worker = "small" }))
	q.Add(request(2, of("once")))
	q.Add(request(3, of("gpu")))
	wantStarts(t, q, epoch, 1, 2, 3)
	q.Add(request(10, of("all"), cpus(5)))
	q.Add(request(11, of("once")))
	q.Add(request(12, of("gpus")))
	q.Add(request(13, of("gpu")))
	q.Add(request(14, of("gpu"), func(r *Request) { r.Priority = 1 }))
	q.Add(request(15, of("tpu")))
	q.Add(request(16, of("nobody")))
	q.Add(request(17, of("unknown")))
	q.Add(request(18, func(r *Request) { r.Held = "its branch is being deleted" }))
	q.Add(request(3, of("gpu")))
	wantStarts(t, q, epoch, 14)

	wantWhy(t, q, 10, epoch, "w1", HostAlone, "more than here has")
	wantWhy(t, q, 10, epoch, "paused", WorkerBlocked, "paused by ana: new disk")
	wantWhy(t, q, 10, epoch, "small", WorkerFull, "runs 1 of 1 builds")
	wantWhy(t, q, 10, epoch, "lost", HostUnknown, `"nowhere"`)
	wantWhy(t, q, 10, epoch, "hot", HostBlocked, "memory pressure is high")
	wantWhy(t, q, 10, epoch, "ghost", WorkerUnknown, "no such worker")
	if n := len(q.Why(10, epoch)); n != 6 {
		t.Errorf("%d reasons, want one for each worker", n)
	}
	wantWhy(t, q, 11, epoch, "w1", BuilderBusy, "runs a build of once")
	wantWhy(t, q, 12, epoch, "w1", LockHeld, "lock gpu is wanted alone, and held by the builds of requests 3, 14")
	wantWhy(t, q, 13, epoch, "w1", LockHeld, "1 wanted, 0 of 2 free")
	wantWhy(t, q, 15, epoch, "w1", LockUnknown, "lock tpu is not configured")
	wantWhy(t, q, 16, epoch, "", NoWorkers, "no workers")
	wantWhy(t, q, 17, epoch, "", BuilderUnknown, `no builder "unknown"`)
	wantWhy(t, q, 18, epoch, "w1", Held, "branch is being deleted")
	wantWhy(t, q, 3, epoch, "w1", StillRuns, "has not ended")
	if q.Why(99, epoch) != nil {
		t.Error("there are reasons for a request that is not pending")
	}
}

func TestCountingDoesNotOvertakeExclusive(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 4})
	q.SetBuilder(Builder{Name: "read", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "db", Count: 1}}})
	q.SetBuilder(Builder{Name: "write", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "db", Exclusive: true}}})
	q.SetBuilder(Builder{Name: "look", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "db"}}})
	q.Add(request(1, of("read")))
	q.Add(request(2, of("write")))
	q.Add(request(3, of("read")))
	q.Add(request(4, of("look")))
	a := wantStarts(t, q, epoch, 1, 4)
	wantWhy(t, q, 3, epoch, "w1", LockKept, "kept for request 2")
	q.Release(a[0])
	w := wantStarts(t, q, epoch, 2)
	q.Release(w[0])
	wantStarts(t, q, epoch, 3)
}

func TestALockThatIsFreeIsNotKeptForOneThatWaitsForAnother(t *testing.T) {
	q, now := fixture(), epoch
	q.SetLock(LockDef{Name: "gpu", Max: 1})
	q.SetLock(LockDef{Name: "db", Max: 1})
	on := []string{"w1", "w2"}
	q.SetBuilder(Builder{Name: "gpu", Workers: on, Locks: []Lock{{Name: "gpu", Count: 1}}})
	q.SetBuilder(Builder{Name: "db", Workers: on, Locks: []Lock{{Name: "db", Count: 1}}})
	q.SetBuilder(Builder{Name: "both", Workers: on, Locks: []Lock{{Name: "gpu", Count: 1}, {Name: "db", Count: 1}}})
	q.Add(request(1, of("gpu")))
	q.Add(request(2, of("both")))
	q.Add(request(3, of("db")))
	as := wantStarts(t, q, now, 1, 3)
	// By turns one of the two is taken; after ten minutes both are kept.
	id := int64(4)
	for i := 0; ; i++ {
		q.Add(request(id, of([]string{"gpu", "db"}[i%2])))
		now = now.Add(time.Minute)
		q.Release(as[0])
		ids, more := starts(q, now)
		if as = append(as[1:], more...); slices.Contains(ids, 2) {
			break
		}
		if i > 12 {
			t.Fatal("the request that needs two locks starves")
		}
		id++
	}
	if now.Sub(epoch) < BypassLimit {
		t.Errorf("both locks were kept after %v", now.Sub(epoch))
	}
}

func TestStepsGetLocksFirstComeFirstServedAndBeforeRequests(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 2})
	q.SetBuilder(Builder{Name: "locked", Workers: []string{"w1"}, Locks: []Lock{{Name: "db", Count: 1}}})
	for id := range int64(4) {
		q.Add(request(id))
	}
	as := wantStarts(t, q, epoch, 0, 1, 2, 3)
	acquire := func(id int64, want bool, l Lock) {
		t.Helper()
		if got, err := q.AcquireStep(id, "w1", []Lock{l}); err != nil || got != want {
			t.Fatalf("step of %d: %v, %v; want %v", id, got, err, want)
		}
	}
	granted := func(want ...int64) {
		t.Helper()
		if got := q.Granted(); !slices.Equal(got, want) {
			t.Fatalf("granted %v, want %v", got, want)
		}
	}
	one, alone := Lock{Name: "db", Count: 1}, Lock{Name: "db", Exclusive: true}
	acquire(0, true, one)
	acquire(1, false, alone)
	acquire(2, false, one) // may not overtake 1
	q.Release(as[3])
	q.Add(request(9, of("locked")))
	wantStarts(t, q, epoch)
	wantWhy(t, q, 9, epoch, "w1", LockSteps, "steps of 2 running builds")
	granted()
	q.ReleaseStep(0)
	granted(1)
	wantStarts(t, q, epoch)
	q.Release(as[1]) // with what its step has
	granted(2)
	wantStarts(t, q, epoch, 9)
	q.ReleaseStep(2)
	q.ReleaseStep(2)
	q.ReleaseStep(77)
	granted()
}

func TestAGrantThatWasGivenUpIsNotTold(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 1})
	q.Add(request(1))
	q.Add(request(2))
	wantStarts(t, q, epoch, 1, 2)
	db := []Lock{{Name: "db", Count: 1}}
	for id, want := range map[int64]bool{1: true} {
		if got, err := q.AcquireStep(id, "w1", db); got != want || err != nil {
			t.Fatal(got, err)
		}
	}
	if got, err := q.AcquireStep(2, "w2", db); got || err != nil {
		t.Fatal(got, err)
	}
	q.ReleaseStep(1)
	q.ReleaseStep(2)
	if g := q.Granted(); len(g) != 0 {
		t.Errorf("granted %v, want none", g)
	}
	if got, err := q.AcquireStep(1, "w1", db); !got || err != nil {
		t.Errorf("the lock was not given back: %v, %v", got, err)
	}
}

func TestAcquireStepRefuses(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 2, PerWorker: true, MaxFor: map[string]int{"w2": 1}})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1"}, Locks: []Lock{{Name: "gpu", Count: 1}}})
	q.SetLock(LockDef{Name: "gpu", Max: 2})
	q.Add(request(1))
	wantStarts(t, q, epoch, 1)
	tests := []struct {
		owner  int64
		worker string
		lock   Lock
		want   string
	}{
		{2, "w1", Lock{Name: "db", Count: 1}, "no running build"},
		{1, "w1", Lock{Name: "gpu", Count: 1}, "the build itself holds it"},
		{1, "w1", Lock{Name: "tpu", Count: 1}, "no such lock"},
		{1, "w1", Lock{Name: "db", Count: 3}, "3 wanted, there are 2"},
		{1, "w2", Lock{Name: "db", Count: 2}, "2 wanted, there are 1"},
	}
	for _, tt := range tests {
		if _, err := q.AcquireStep(tt.owner, tt.worker, []Lock{tt.lock}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt, err, tt.want)
		}
	}
	if ok, err := q.AcquireStep(1, "w2", []Lock{{Name: "db", Count: 1}}); !ok || err != nil {
		t.Fatalf("a refusal left something behind: %v, %v", ok, err)
	}
	if _, err := q.AcquireStep(1, "w1", nil); err == nil {
		t.Error("a second step of a build was let in")
	}
}

func TestCollapseSupersedesOlderRequests(t *testing.T) {
	q := fixture()
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1"}, Collapse: true})
	q.SetBuilder(Builder{Name: "c", Workers: []string{"w1"}})
	key := func(k string) func(*Request) { return func(r *Request) { r.CollapseKey = k } }
	steps := []struct {
		add  Request
		want []int64
	}{
		{request(5, key("main")), nil},
		{request(6, key("dev")), nil},
		{request(7, key("main")), []int64{5}},
		{request(8), nil},
		{request(9), nil},
		{request(4, key("main")), nil}, // older than 7: a retry does not supersede
		{request(10, key("main"), of("c")), nil},
		{request(11, key("main"), of("c")), nil}, // the builder does not collapse
		{request(12, key("main"), func(r *Request) { r.Worker = "w1" }), nil},
		{request(13, key("main"), func(r *Request) { r.Held = "later" }), []int64{4, 7}},
		{request(14, key("main")), []int64{13}},
	}
	for _, s := range steps {
		if got := q.Add(s.add); !slices.Equal(got, s.want) {
			t.Errorf("adding %d superseded %v, want %v", s.add.ID, got, s.want)
		}
	}
	if q.Len() != 7 {
		t.Errorf("%d are pending, want 7", q.Len())
	}
}

func TestRunningBuildsKeepWhatTheyHoldOverAReload(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 2})
	locked := Builder{Name: "b", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "db", Count: 1}}}
	q.SetBuilder(locked)
	q.Add(request(1))
	q.Add(request(2))
	as := wantStarts(t, q, epoch, 1, 2)

	q.SetLock(LockDef{Name: "db", Max: 1})
	q.RemoveWorker(as[0].Worker)
	q.SetWorker(Worker{Name: as[1].Worker, Host: "elsewhere"})
	q.SetHost(Host{Name: "elsewhere", Slots: 1, CPUs: 1, Memory: 1 << 30})
	q.Add(request(3))
	wantStarts(t, q, epoch)
	wantWhy(t, q, 3, epoch, as[0].Worker, WorkerUnknown, "")
	wantWhy(t, q, 3, epoch, as[1].Worker, LockHeld, "requests 1, 2")

	q.Release(as[0])
	wantStarts(t, q, epoch)
	q.Release(as[1])
	if a := wantStarts(t, q, epoch, 3)[0]; a.Host != "elsewhere" {
		t.Errorf("started on host %q", a.Host)
	}
	// What was used of the old host was given back to it.
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w3"}})
	q.SetWorker(Worker{Name: "w3", Host: "here"})
	for id := range int64(4) {
		q.Add(request(10 + id))
	}
	wantStarts(t, q, epoch, 10, 11, 12, 13)
}

func TestANewCountOfALockIsPerWorker(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 1})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "db", Count: 1}}})
	q.Add(request(1))
	q.Add(request(2))
	a := wantStarts(t, q, epoch, 1)[0]
	q.SetLock(LockDef{Name: "db", Max: 1, PerWorker: true})
	b := wantStarts(t, q, epoch, 2)[0]
	if a.Worker == b.Worker {
		t.Errorf("both are on %s, whose lock is single", a.Worker)
	}
}

func TestAReleaseCountsOnce(t *testing.T) {
	q := fixture()
	q.Add(request(1))
	first := wantStarts(t, q, epoch, 1)[0]
	q.Release(first)
	q.Add(request(1))
	second := wantStarts(t, q, epoch, 1)[0]
	q.Release(first) // of the attempt before
	q.Add(request(2, cpus(4)))
	wantStarts(t, q, epoch)
	q.Release(second)
	wantStarts(t, q, epoch, 2)
}

func TestUnknownIDsChangeNothing(t *testing.T) {
	q := fixture()
	if q.Remove(1) || q.SetPriority(1, 1) || q.SetNeed(1, worker.Need{}) || q.SetHeld(1, "x") {
		t.Error("a request that is not there was changed")
	}
	q.Release(Assignment{Request: request(1)})
	q.RemoveHost("none")
	q.RemoveWorker("none")
	q.SetHost(Host{})
	q.Add(request(1))
	wantStarts(t, q, epoch, 1)
}

func TestNeedsThatMakeNoSense(t *testing.T) {
	nan := 0.0
	nan /= nan
	for _, n := range []worker.Need{{CPUs: -1, Memory: -5}, {CPUs: nan}} {
		if got := needOf(n); got != (need{}) {
			t.Errorf("%v is taken as %v", n, got)
		}
	}
	if got := needOf(worker.Need{CPUs: 1e300}); got.cpus != 1e15 {
		t.Errorf("1e300 CPUs are taken as %v", got)
	}
}

func TestLineKeepsItsOrder(t *testing.T) {
	// Retries come back to the front, new ones to the end, others anywhere.
	var l line
	in := map[int64]*item{}
	order := func() (ids []int64) {
		for _, v := range l {
			for _, it := range v.items[v.head:] {
				ids = append(ids, it.ID)
			}
		}
		return ids
	}
	next := uint32(1)
	random := func(n int) int {
		next = next*1664525 + 1013904223
		return int(next>>8) % n
	}
	for i := range 20_000 {
		id := int64(random(300))
		if i%5 == 0 && len(l) > 0 {
			id = l.first().ID
		}
		if it := in[id]; it != nil {
			l.remove(it)
			delete(in, id)
		} else {
			it := &item{Request: request(id, func(r *Request) { r.Priority = int(id % 3) })}
			in[id] = it
			l.insert(it)
		}
		if i%100 != 0 {
			continue
		}
		var want []*item
		for _, it := range in {
			want = append(want, it)
		}
		slices.SortFunc(want, func(a, b *item) int { return a.rank().compare(b.rank()) })
		got := order()
		if len(got) != len(want) {
			t.Fatalf("%d requests in line, want %d", len(got), len(want))
		}
		for j := range want {
			if got[j] != want[j].ID {
				t.Fatalf("after %d changes the line is %v", i, got)
			}
		}
	}
}

// Next must not look again at what it knows, and must look when something has
// changed.
func TestNothingToDoIsRemembered(t *testing.T) {
	q := fixture()
	q.Add(request(1, cpus(4)))
	a := wantStarts(t, q, epoch, 1)[0]
	q.Add(request(2))
	wantStarts(t, q, epoch)
	if !q.idle {
		t.Error("that nothing can start was forgotten")
	}
	if n := testing.AllocsPerRun(10, func() { q.Next(epoch) }); n != 0 {
		t.Errorf("asking again costs %v allocations", n)
	}
	q.Release(a)
	wantStarts(t, q, epoch, 2)
}

func ExampleQueue() {
	q := New()
	q.SetHost(Host{Name: "laptop", Slots: 2, CPUs: 2, Memory: 8 << 30})
	q.SetWorker(Worker{Name: "bot1", Host: "laptop"})
	q.SetBuilder(Builder{Name: "test", Workers: []string{"bot1"}})
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for id := range int64(3) {
		q.Add(Request{ID: id, Builder: "test", Submitted: now, Need: worker.Need{CPUs: 1, Memory: 1 << 30}})
	}
	var last Assignment
	for a, ok := q.Next(now); ok; a, ok = q.Next(now) {
		fmt.Printf("request %d starts on %s\n", a.Request.ID, a.Worker)
		last = a
	}
	for _, r := range q.Why(2, now) {
		fmt.Printf("%s: %s\n", r.Worker, r.Reason)
	}
	q.Release(last)
	a, _ := q.Next(now)
	fmt.Printf("request %d starts on %s\n", a.Request.ID, a.Worker)
	// Output:
	// request 0 starts on bot1
	// request 1 starts on bot1
	// bot1: 2 of 2 slots of laptop are in use
	// request 2 starts on bot1
}
