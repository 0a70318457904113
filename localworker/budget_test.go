package localworker

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/worker"
)

// fakeMachine is a machine whose limits a test sets.
type fakeMachine struct {
	mu    sync.Mutex
	facts facts
	reads int
}

func (m *fakeMachine) read() facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return m.facts
}

func (m *fakeMachine) set(f facts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts = f
}

func (m *fakeMachine) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func newLedger() *ledger { return &ledger{budgets: map[*Budget]struct{}{}} }

func reserve(t *testing.T, b *Budget, cpus float64, memory int64) *Reservation {
	t.Helper()
	r, ok := b.Reserve(worker.Need{CPUs: cpus, Memory: memory})
	if !ok {
		t.Fatalf("%v CPUs and %d bytes were not granted", cpus, memory)
	}
	return r
}

func refused(t *testing.T, b *Budget, cpus float64, memory int64) {
	t.Helper()
	if r, ok := b.Reserve(worker.Need{CPUs: cpus, Memory: memory}); ok {
		r.Release()
		t.Fatalf("%v CPUs and %d bytes were granted", cpus, memory)
	}
}

// told reports whether a change was told since the last call.
func told(b *Budget) bool {
	select {
	case <-b.Changed():
		return true
	default:
		return false
	}
}

func TestReserve(t *testing.T) {
	m := &fakeMachine{facts: facts{slots: 3, cpus: 2, memory: 100}}
	b := newBudget(newLedger(), nil, m.read)
	defer b.Close()
	x := reserve(t, b, 1, 60)
	refused(t, b, 0.5, 41)
	refused(t, b, 1.5, 10)
	y := reserve(t, b, 0.5, 10)
	z := reserve(t, b, 0.5, 10)
	refused(t, b, 0, 0) // no slot
	z.Release()
	z.Release()
	reserve(t, b, 0.1, 1).Release()
	x.Release()
	refused(t, b, 1, 1000) // larger than the machine: not beside another
	y.Release()
	huge := reserve(t, b, 1, 1000)
	refused(t, b, 0, 0) // and none beside it
	huge.Release()
	if told(b) || b.Capacity() != (Capacity{Slots: 3, CPUs: 2, Memory: 100}) {
		t.Errorf("the runner's own builds changed its capacity: %+v", b.Capacity())
	}
}

func TestFractionsOfCPUsAddUp(t *testing.T) {
	m := &fakeMachine{facts: facts{slots: 10, cpus: 1, memory: 100}}
	b := newBudget(newLedger(), nil, m.read)
	defer b.Close()
	for range 10 {
		defer reserve(t, b, 0.1, 1).Release()
	}
}

func TestRunnersOfOneProcessShareTheMachine(t *testing.T) {
	l := newLedger()
	m := &fakeMachine{facts: facts{slots: 2, cpus: 4, memory: 100}}
	small := &fakeMachine{facts: facts{slots: 1, cpus: 1, memory: 50}} // configured so
	a, b := newBudget(l, nil, m.read), newBudget(l, nil, small.read)
	defer a.Close()
	r := reserve(t, a, 1, 30)
	if told(a) || !told(b) {
		t.Error("the wrong runner was told")
	}
	want := Capacity{Slots: 0, CPUs: 0, Memory: 20, Blocked: "another runner of this process uses the machine"}
	if got := b.Capacity(); got != want {
		t.Errorf("capacity %+v, want %+v", got, want)
	}
	refused(t, b, 1, 10)
	refused(t, b, 100, 1000) // alone means alone in the process
	r.Release()
	if !told(b) || told(b) || told(a) {
		t.Error("the release was not told once to the other runner only")
	}
	rb := reserve(t, b, 1, 10)
	if got := a.Capacity(); got != (Capacity{Slots: 1, CPUs: 3, Memory: 90}) {
		t.Errorf("capacity %+v", got)
	}
	told(a)
	b.Close()
	if !told(a) || a.Capacity().Slots != 2 {
		t.Errorf("a closed budget still holds: %+v", a.Capacity())
	}
	rb.Release()
	refused(t, b, 1, 1)
}

func TestLimitsAreReadWhileBuildsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMachine{facts: facts{slots: 2, cpus: 2, memory: 100}}
		b := newBudget(newLedger(), nil, m.read)
		defer b.Close()
		time.Sleep(time.Hour)
		if n := m.count(); n != 1 {
			t.Fatalf("idle for an hour: %d looks at the machine", n)
		}
		m.set(facts{slots: 4, cpus: 4, memory: 400})
		r := reserve(t, b, 1, 300) // looks first, since nobody did for long
		if !told(b) || m.count() != 2 {
			t.Fatalf("%d looks, want 2", m.count())
		}
		samples := 0
		r.measure(func() int64 { samples++; return 0 })
		m.set(facts{slots: 1, cpus: 1, memory: 50})
		time.Sleep(readEvery - 1)
		if told(b) {
			t.Fatal("told early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := b.Capacity(); !told(b) || got != (Capacity{Slots: 1, CPUs: 1, Memory: 50}) {
			t.Fatalf("capacity %+v", got)
		}
		time.Sleep(5 * readEvery)
		synctest.Wait()
		if samples != 6 || m.count() != 8 || told(b) {
			t.Errorf("after 12 s: %d samples, %d looks", samples, m.count())
		}
		r.measure(nil)
		r.Release()
		time.Sleep(time.Hour)
		if n := m.count(); n != 8 {
			t.Errorf("looked at the machine %d times while idle", n-8)
		}
	})
}

func TestMemoryPressureBlocksWhileBuildsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMachine{facts: facts{slots: 4, cpus: 4, memory: 400, high: true}}
		b := newBudget(newLedger(), nil, m.read)
		defer b.Close()
		r := reserve(t, b, 1, 100) // a first build may always start
		time.Sleep(readEvery)
		synctest.Wait()
		if got := b.Capacity().Blocked; got != "memory pressure is high" || !told(b) {
			t.Fatalf("blocked: %q", got)
		}
		refused(t, b, 1, 1)
		m.set(facts{slots: 4, cpus: 4, memory: 400})
		time.Sleep(readEvery)
		synctest.Wait()
		if got := b.Capacity().Blocked; got != "" || !told(b) {
			t.Fatalf("blocked: %q", got)
		}
		m.set(facts{slots: 4, cpus: 4, memory: 400, high: true})
		time.Sleep(readEvery)
		synctest.Wait()
		told(b)
		r.Release()
		if got := b.Capacity().Blocked; got != "" || !told(b) {
			t.Errorf("blocked without builds: %q", got)
		}
	})
}

// A look that takes long must not count after the builds it belonged to.
func TestALateLookIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMachine{facts: facts{slots: 4, cpus: 4, memory: 400}}
		release := make(chan struct{})
		var slow atomic.Bool
		b := newBudget(newLedger(), nil, func() facts {
			if slow.Load() {
				<-release
			}
			return m.read()
		})
		defer b.Close()
		r := reserve(t, b, 1, 100)
		slow.Store(true)
		m.set(facts{slots: 1, cpus: 1, memory: 1, high: true})
		time.Sleep(readEvery)
		synctest.Wait()
		r.Release()
		close(release)
		synctest.Wait()
		if got := b.Capacity(); got.Blocked != "" || got.Slots != 4 {
			t.Errorf("capacity %+v", got)
		}
	})
}

func TestAPanicInALookIsNotTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeMachine{facts: facts{slots: 4, cpus: 4, memory: 400}}
		var bad atomic.Bool
		b := newBudget(newLedger(), nil, func() facts {
			if bad.Swap(false) {
				panic("bad file")
			}
			return m.read()
		})
		defer b.Close()
		r := reserve(t, b, 1, 100)
		samples := 0
		r.measure(func() int64 {
			if samples++; samples == 1 {
				panic("bad process")
			}
			return 0
		})
		time.Sleep(readEvery + 1)
		bad.Store(true)
		time.Sleep(readEvery)
		m.set(facts{slots: 2, cpus: 2, memory: 200})
		time.Sleep(readEvery)
		synctest.Wait()
		if b.Capacity().Slots != 2 || samples != 2 {
			t.Errorf("capacity %+v, %d samples", b.Capacity(), samples)
		}
		r.measure(nil)
		r.Release()
	})
}

func TestSharedCountsTheWholeProcess(t *testing.T) {
	a, err := Shared(MachineOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Shared(MachineOptions{ConfiguredCPUs: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	before := a.Capacity()
	r := reserve(t, b, 0.25, 1<<20)
	defer r.Release()
	after := a.Capacity()
	if after.Memory != before.Memory-1<<20 || after.CPUs != before.CPUs-0.25 {
		t.Errorf("capacity was %+v and is %+v", before, after)
	}
	if _, err := Shared(MachineOptions{ConfiguredCPUs: -1}, nil); err == nil {
		t.Error("a negative number of CPUs was accepted")
	}
}

func TestReservationsFromManyGoroutines(t *testing.T) {
	l := newLedger()
	m := &fakeMachine{facts: facts{slots: 3, cpus: 3, memory: 300}}
	budgets := []*Budget{newBudget(l, nil, m.read), newBudget(l, nil, m.read)}
	var mu sync.Mutex
	running, most := 0, []int{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				r, ok := budgets[i%2].Reserve(worker.Need{CPUs: 1, Memory: 100})
				if !ok {
					continue
				}
				mu.Lock()
				running++
				most = append(most, running)
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
				running--
				mu.Unlock()
				r.Release()
			}
		})
	}
	wg.Wait()
	if n := slices.Max(most); n > 3 {
		t.Errorf("%d builds at once", n)
	}
	if u := l.total(); u.builds != 0 || u.memory != 0 {
		t.Errorf("left over: %+v", u)
	}
	for _, b := range budgets {
		b.Close()
	}
}
