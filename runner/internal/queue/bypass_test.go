package queue

import (
	"testing"
	"time"
)

// Corners of what is kept for whom, which the random model seldom reaches.

func priority(n int) func(*Request) { return func(r *Request) { r.Priority = n } }

// passedOver has request 1 (large, priority 2), passed over at epoch by request
// 3 (priority 1), which runs with request 2.
func passedOver(t *testing.T) *Queue {
	t.Helper()
	q := fixture()
	q.Add(request(2, priority(3)))
	wantStarts(t, q, epoch, 2)
	q.Add(request(1, cpus(4), priority(2)))
	q.Add(request(3, priority(1)))
	wantStarts(t, q, epoch, 3)
	return q
}

func TestTheNextInLineInheritsTheClock(t *testing.T) {
	later := epoch.Add(BypassLimit)
	tests := []struct {
		name      string
		next      Request
		inherits  bool
		submitted time.Time
	}{
		{"passed over as well", request(4, cpus(4), priority(1)), true, epoch.Add(-time.Second)},
		{"submitted afterwards", request(4, cpus(4), priority(2)), false, epoch.Add(time.Second)},
		{"of lower rank than the one that started", request(4, cpus(4)), false, epoch.Add(-time.Second)},
		{"of another shape", request(4, cpus(3)), false, epoch.Add(-time.Second)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := passedOver(t)
			tt.next.Submitted = tt.submitted
			q.Add(tt.next)
			q.Remove(1)
			q.Add(request(5, priority(-1)))
			if tt.inherits {
				wantStarts(t, q, later)
				wantWhy(t, q, 5, later, "w1", HostKept, "request 4")
			} else {
				wantStarts(t, q, later, 5)
			}
		})
	}
}

func TestOnesOwnClockIsNotReplaced(t *testing.T) {
	q := passedOver(t)
	q.Add(request(4, cpus(4), priority(3)))
	at := epoch.Add(5 * time.Minute)
	q.Add(request(5))
	wantStarts(t, q, at, 5) // passes over 4 as well
	q.Remove(4)
	q.Add(request(6))
	later := epoch.Add(BypassLimit)
	wantStarts(t, q, later)
	wantWhy(t, q, 6, later, "w1", HostKept, "request 1")
}

func TestAChangeStartsTheClockAnew(t *testing.T) {
	q := passedOver(t)
	q.SetPriority(1, 2)
	q.Add(request(5))
	wantStarts(t, q, epoch.Add(BypassLimit), 5)
}

func TestOnlyTheHostWhereItWasPassedOverIsKept(t *testing.T) {
	q := passedOver(t)
	q.SetHost(Host{Name: "there", Slots: 4, CPUs: 4, Memory: 8 << 30})
	q.SetWorker(Worker{Name: "w3", Host: "there"})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w1", "w2", "w3"}})
	q.SetBuilder(Builder{Name: "filler", Workers: []string{"w3"}})
	q.Add(request(4, of("filler"), priority(9)))
	q.Add(request(5))
	later := epoch.Add(BypassLimit)
	if as := wantStarts(t, q, later, 4, 5); as[1].Host != "there" {
		t.Errorf("request 5 started on host %s, which is kept", as[1].Host)
	}
	wantStarts(t, q, later)
}

// One clock serves both: passed over for a lock first, for room afterwards.
func TestAClockThatALockStartedServesForRoom(t *testing.T) {
	q := fixture()
	on := []string{"w1", "w2"}
	q.SetLock(LockDef{Name: "gpu", Max: 1})
	q.SetLock(LockDef{Name: "db", Max: 1})
	q.SetBuilder(Builder{Name: "gpu", Workers: on, Locks: []Lock{{Name: "gpu", Count: 1}}})
	q.SetBuilder(Builder{Name: "db", Workers: on, Locks: []Lock{{Name: "db", Count: 1}}})
	q.SetBuilder(Builder{Name: "both", Workers: on, Locks: []Lock{{Name: "gpu", Count: 1}, {Name: "db", Count: 1}}})
	q.Add(request(1, of("gpu")))
	gpu := wantStarts(t, q, epoch, 1)[0]
	q.Add(request(2, of("both"), cpus(3)))
	q.Add(request(3, of("db")))
	db := wantStarts(t, q, epoch, 3)[0] // takes a lock from 2, which waits for the other
	q.Add(request(4))
	q.Add(request(5))
	wantStarts(t, q, epoch, 4, 5)
	q.Release(gpu)
	q.Release(db)
	at := epoch.Add(5 * time.Minute)
	q.Add(request(6))
	wantStarts(t, q, at, 6) // takes room from 2
	later := epoch.Add(BypassLimit)
	q.Add(request(7))
	wantStarts(t, q, later)
	wantWhy(t, q, 7, later, "w1", HostKept, "request 2")
}

// perWorker has w1 here and w2 there, and a lock "disk" on each.
func perWorker() *Queue {
	q := fixture()
	q.SetHost(Host{Name: "there", Slots: 4, CPUs: 4, Memory: 8 << 30})
	q.SetWorker(Worker{Name: "w2", Host: "there"})
	q.SetLock(LockDef{Name: "disk", Max: 4, PerWorker: true})
	q.SetLock(LockDef{Name: "tape", Max: 4, PerWorker: true})
	return q
}

// What a request that is due needs is kept on every worker that could take it.
func TestWorkersLocksAreKeptForARequestThatIsDue(t *testing.T) {
	q := perWorker()
	q.SetBuilder(Builder{Name: "fill", Workers: []string{"w1", "w2"}})
	q.SetBuilder(Builder{Name: "large", Workers: []string{"w1", "w2"}, Locks: []Lock{{Name: "disk", Count: 1}}})
	q.SetBuilder(Builder{Name: "disk", Workers: []string{"w2"}, Locks: []Lock{{Name: "disk", Count: 1}}})
	q.Add(request(1, of("fill")))
	q.Add(request(2, of("fill")))
	wantStarts(t, q, epoch, 1, 2) // one on each
	q.Add(request(3, of("large"), cpus(4)))
	q.Add(request(4, of("fill"), func(r *Request) { r.Worker = "w1" }))
	q.Add(request(5, of("disk")))
	wantStarts(t, q, epoch, 4, 5) // 4 passes over 3 on w1: that host will be kept
	q.Add(request(6, of("disk")))
	q.Add(request(7, of("fill")))
	later := epoch.Add(BypassLimit)
	if as := wantStarts(t, q, later, 7); as[0].Worker != "w2" {
		t.Errorf("request 7 started on %s, whose host is kept", as[0].Worker)
	}
	wantWhy(t, q, 6, later, "w2", LockKept, "disk is kept for request 3")
}

// Of its worker's locks, a request that waits keeps the one it lacks.
func TestAFreeLockOfAWorkerIsNotKept(t *testing.T) {
	q := perWorker()
	disk, tape := Lock{Name: "disk", Count: 1}, Lock{Name: "tape", Count: 1}
	q.SetBuilder(Builder{Name: "disk", Workers: []string{"w1"}, Locks: []Lock{disk}})
	q.SetBuilder(Builder{Name: "tape", Workers: []string{"w1"}, Locks: []Lock{tape}})
	q.SetBuilder(Builder{Name: "both", Workers: []string{"w1"}, Locks: []Lock{{Name: "disk", Exclusive: true}, tape}})
	q.Add(request(1, of("disk")))
	q.Add(request(2, of("both")))
	q.Add(request(3, of("disk")))
	q.Add(request(4, of("tape")))
	wantStarts(t, q, epoch, 1, 4)
	wantWhy(t, q, 2, epoch, "w1", LockHeld, "wanted alone")
	wantWhy(t, q, 3, epoch, "w1", LockKept, "disk is kept for request 2")
}

// Of two workers, one whose lock is kept for another is left out.
func TestAWorkerWhoseLockIsKeptIsLeftOut(t *testing.T) {
	q := perWorker()
	disk := Lock{Name: "disk", Count: 1}
	q.SetBuilder(Builder{Name: "first", Workers: []string{"w1"}, Locks: []Lock{disk}})
	q.SetBuilder(Builder{Name: "alone", Workers: []string{"w1"}, Locks: []Lock{{Name: "disk", Exclusive: true}}})
	q.SetBuilder(Builder{Name: "any", Workers: []string{"w1", "w2"}, Locks: []Lock{disk}})
	q.SetBuilder(Builder{Name: "b", Workers: []string{"w2"}})
	q.Add(request(1, of("first")))
	q.Add(request(2, of("alone")))
	q.Add(request(3))
	q.Add(request(4))
	q.Add(request(5, of("any")))
	as := wantStarts(t, q, epoch, 1, 3, 4, 5)
	if as[3].Worker != "w2" {
		t.Errorf("request 5 took the lock of %s, for which request 2 waits", as[3].Worker)
	}
}

// Time alone can let something start: when a host is kept, a request that only
// waited for a lock waits for the host as well, and no longer keeps the lock.
func TestNothingToDoIsAskedAgainWhenARequestIsDue(t *testing.T) {
	q := passedOver(t)
	q.SetLock(LockDef{Name: "db", Max: 4})
	q.SetWorker(Worker{Name: "remote"})
	q.SetBuilder(Builder{Name: "alone", Workers: []string{"w1"}, Locks: []Lock{{Name: "db", Exclusive: true}}})
	q.SetBuilder(Builder{Name: "remote", Workers: []string{"remote"}, Locks: []Lock{{Name: "db", Count: 1}}})
	q.Add(request(4, of("remote"), priority(1)))
	wantStarts(t, q, epoch, 4)
	q.Add(request(5, of("alone")))
	q.Add(request(6, of("remote")))
	before := epoch.Add(BypassLimit - time.Second)
	wantStarts(t, q, before)
	wantWhy(t, q, 6, before, "remote", LockKept, "request 5")
	wantStarts(t, q, epoch.Add(BypassLimit), 6)
}

func TestWhatARemovedRequestKeptIsFree(t *testing.T) {
	q := fixture()
	on := []string{"w1", "w2"}
	q.SetLock(LockDef{Name: "db", Max: 4})
	q.SetBuilder(Builder{Name: "read", Workers: on, Locks: []Lock{{Name: "db", Count: 1}}})
	q.SetBuilder(Builder{Name: "write", Workers: on, Locks: []Lock{{Name: "db", Exclusive: true}}})
	q.Add(request(1, of("read")))
	q.Add(request(2, of("write")))
	q.Add(request(3, of("read")))
	wantStarts(t, q, epoch, 1)
	q.Remove(2)
	wantStarts(t, q, epoch, 3)
}

// A step must not wait for ever because a reload made its lock smaller.
func TestAStepThatWantsMoreThanThereIsNowHasTheLockAlone(t *testing.T) {
	q := fixture()
	q.SetLock(LockDef{Name: "db", Max: 3})
	q.Add(request(1))
	q.Add(request(2))
	wantStarts(t, q, epoch, 1, 2)
	for id, want := range []bool{true, false} {
		got, err := q.AcquireStep(int64(id+1), "w1", []Lock{{Name: "db", Count: 2}})
		if err != nil || got != want {
			t.Fatalf("step of %d: %v, %v; want %v", id+1, got, err, want)
		}
	}
	q.SetLock(LockDef{Name: "db", Max: 1})
	if g := q.Granted(); len(g) != 0 {
		t.Fatalf("granted %v while the lock is held", g)
	}
	q.ReleaseStep(1)
	if g := q.Granted(); len(g) != 1 || g[0] != 2 {
		t.Errorf("granted %v, want 2", g)
	}
}
