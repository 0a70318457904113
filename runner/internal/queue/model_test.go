package queue

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"bothy/runner/worker"
	"pgregory.net/rapid"
)

// model drives a queue and the oracle side by side.
type model struct {
	q      *Queue
	o      *oracle
	now    time.Time
	nextID int64
	// crowded: a configuration that changes little and in which requests stand in
	// each other's way for long; else anything goes.
	crowded bool
}

var (
	someBuilders = []string{"a", "b", "c", "d"}
	someWorkers  = []string{"w1", "w2", "w3", "w4", "w5"}
	someHosts    = []string{"h1", "h2", ""}
	someLocks    = []string{"gpu", "db", "disk"}
)

func TestQueueAgreesWithTheOracle(t *testing.T) {
	rounds := 2 // rapid's own number of checks is a flag; each round has as many
	if os.Getenv("BOTHY_SOAK") != "" {
		rounds = 200
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, agree)
		})
	}
}

func agree(t *rapid.T) {
	m := &model{q: New(), o: newOracle(), now: epoch, crowded: rapid.Bool().Draw(t, "crowded")}
	for _, name := range someLocks {
		m.setLock(t, name)
	}
	for _, name := range someHosts[:2] {
		m.setHost(t, name)
	}
	for _, name := range someWorkers {
		m.setWorker(t, name)
	}
	for _, name := range someBuilders {
		m.setBuilder(t, name)
	}
	pick := func(names []string, f func(*rapid.T, string)) func(*rapid.T) {
		return func(t *rapid.T) { f(t, rapid.SampledFrom(names).Draw(t, "name")) }
	}
	rare := func(f func(*rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			if n := map[bool]int{false: 7, true: 40}[m.crowded]; rapid.IntRange(0, n).Draw(t, "rare") != n {
				t.Skip("not now")
			}
			f(t)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"add":         m.add,
		"add more":    m.add,
		"add again":   rare(m.addAgain),
		"remove":      rare(m.remove),
		"change":      rare(m.change),
		"next":        m.next,
		"drain":       m.drain,
		"release":     m.release,
		"release all": rare(m.releaseAll),
		"turnover":    m.turnover,
		"rush hour":   m.rushHour,
		"step":        m.acquireStep,
		"step ends":   m.releaseStep,
		"time":        m.sleep,
		"builder":     rare(pick(someBuilders, m.setBuilder)),
		"worker":      rare(pick(someWorkers, m.setWorker)),
		"host":        rare(pick(someHosts[:2], m.setHost)),
		"lock":        rare(pick(someLocks, m.setLock)),
		"forget":      rare(m.removeConfig),
		"":            m.check,
	})
}

func (m *model) setLock(t *rapid.T, name string) {
	d := LockDef{Name: name, Max: rapid.IntRange(0, 3).Draw(t, "max"), PerWorker: name == "disk" || rapid.IntRange(0, 5).Draw(t, "per worker") == 5}
	if m.crowded {
		d.Max = 2
	}
	if rapid.Bool().Draw(t, "maxFor") {
		d.MaxFor = map[string]int{"w1": rapid.IntRange(0, 2).Draw(t, "max for w1")}
	}
	m.q.SetLock(d)
	m.o.locks[name] = d
	delete(m.o.removed, name)
	m.granted(t)
}

func (m *model) setHost(t *rapid.T, name string) {
	h := Host{
		Name:   name,
		Slots:  rapid.IntRange(0, 4).Draw(t, "slots"),
		CPUs:   float64(rapid.IntRange(0, 8).Draw(t, "half cpus")) / 2,
		Memory: rapid.Int64Range(0, 4).Draw(t, "memory"),
	}
	if m.crowded {
		h.Slots, h.CPUs, h.Memory = 4, 3, 4
	}
	if rapid.IntRange(0, 5).Draw(t, "taken") == 5 {
		h.Taken = Taken{1, worker.Need{CPUs: 1, Memory: 1}}
	}
	if !m.crowded && rapid.IntRange(0, 9).Draw(t, "blocked") == 9 {
		h.Blocked = "memory pressure is high"
	}
	m.q.SetHost(h)
	m.o.hosts[name] = h
}

func (m *model) setWorker(t *rapid.T, name string) {
	w := Worker{Name: name, Host: rapid.SampledFrom(someHosts).Draw(t, "host"), MaxBuilds: rapid.IntRange(0, 3).Draw(t, "max builds")}
	if m.crowded && w.MaxBuilds == 1 {
		w.MaxBuilds = 4
	}
	if !m.crowded && rapid.IntRange(0, 6).Draw(t, "blocked") == 6 {
		w.Blocked = "paused"
	}
	m.q.SetWorker(w)
	m.o.workers[name] = w
}

func (m *model) setBuilder(t *rapid.T, name string) {
	b := Builder{
		Name:      name,
		Workers:   rapid.SliceOfN(rapid.SampledFrom(someWorkers), 0, 5).Draw(t, "workers"),
		Exclusive: rapid.IntRange(0, 3).Draw(t, "exclusive") == 3,
		Collapse:  rapid.Bool().Draw(t, "collapse"),
	}
	if m.crowded {
		b.Workers = append(b.Workers, "w1", "w2")
		b.Exclusive = false
	}
	if rapid.Bool().Draw(t, "locks") {
		b.Locks = m.someLocks(t)
	}
	m.q.SetBuilder(b)
	m.o.builders[name] = b
}

func (m *model) someLocks(t *rapid.T) (locks []Lock) {
	for range rapid.IntRange(1, 2).Draw(t, "number of locks") {
		l := Lock{Name: rapid.SampledFrom(someLocks).Draw(t, "lock"), Count: rapid.IntRange(0, 2).Draw(t, "count")}
		l.Exclusive = rapid.IntRange(0, 3).Draw(t, "exclusively") == 3
		locks = append(locks, l)
	}
	return locks
}

func (m *model) removeConfig(t *rapid.T) {
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		name := rapid.SampledFrom(someBuilders).Draw(t, "builder")
		m.q.RemoveBuilder(name)
		delete(m.o.builders, name)
	case 1:
		name := rapid.SampledFrom(someWorkers).Draw(t, "worker")
		m.q.RemoveWorker(name)
		delete(m.o.workers, name)
	case 2:
		name := rapid.SampledFrom(someHosts[:2]).Draw(t, "host")
		m.q.RemoveHost(name)
		delete(m.o.hosts, name)
	case 3:
		name := rapid.SampledFrom(someLocks).Draw(t, "lock")
		m.q.RemoveLock(name)
		m.o.removed[name] = true
	}
}

func someNeed(t *rapid.T) worker.Need {
	return worker.Need{CPUs: float64(rapid.SampledFrom([]int{1, 1, 2, 5, 6, 7}).Draw(t, "half cpus")) / 2, Memory: rapid.SampledFrom([]int64{0, 1, 1, 3}).Draw(t, "memory")}
}

func (m *model) request(t *rapid.T, id int64) Request {
	r := Request{
		ID:        id,
		Builder:   rapid.SampledFrom(someBuilders).Draw(t, "builder"),
		Priority:  rapid.SampledFrom([]int{0, 0, 0, 1, 5}).Draw(t, "priority"),
		Submitted: m.now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "ago")) * time.Minute),
		Need:      someNeed(t),
	}
	if rapid.IntRange(0, 3).Draw(t, "pinned") == 3 {
		r.Worker = rapid.SampledFrom(someWorkers).Draw(t, "worker")
	}
	if rapid.IntRange(0, 3).Draw(t, "collapsing") == 3 {
		r.CollapseKey = rapid.SampledFrom([]string{"main", "dev"}).Draw(t, "key")
	}
	if rapid.IntRange(0, 9).Draw(t, "held") == 9 {
		r.Held = "not started"
	}
	return r
}

func (m *model) add(t *rapid.T) {
	m.nextID++
	m.addRequest(t, m.request(t, m.nextID))
}

// addAgain adds an id that was used before: replaced, retried, or still running.
func (m *model) addAgain(t *rapid.T) {
	if m.nextID == 0 {
		t.Skip("none yet")
	}
	m.addRequest(t, m.request(t, rapid.Int64Range(1, m.nextID).Draw(t, "id")))
}

func (m *model) addRequest(t *rapid.T, r Request) {
	got, want := m.q.Add(r), m.o.add(r)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("adding %+v superseded %v, want %v", r, got, want)
	}
}

func (m *model) somePending(t *rapid.T) int64 {
	if len(m.o.pending) == 0 {
		t.Skip("nothing is pending")
	}
	return m.o.pending[rapid.IntRange(0, len(m.o.pending)-1).Draw(t, "pending")].ID
}

func (m *model) someRunning(t *rapid.T) Assignment {
	if len(m.o.running) == 0 {
		t.Skip("nothing is running")
	}
	return m.o.running[rapid.IntRange(0, len(m.o.running)-1).Draw(t, "running")]
}

func (m *model) remove(t *rapid.T) {
	id := m.somePending(t)
	if !m.q.Remove(id) || m.q.Remove(id) {
		t.Fatalf("removing %d did not report that it was there, or that it was not", id)
	}
	m.o.drop(id)
}

func (m *model) change(t *rapid.T) {
	id := m.somePending(t)
	var ok bool
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		p := rapid.IntRange(0, 6).Draw(t, "priority")
		ok = m.q.SetPriority(id, p)
		m.o.change(id, func(r *Request) { r.Priority = p })
	case 1:
		n := someNeed(t)
		ok = m.q.SetNeed(id, n)
		m.o.change(id, func(r *Request) { r.Need = n })
	case 2:
		ok = m.q.SetHeld(id, "held")
		m.o.change(id, func(r *Request) { r.Held = "held" })
	case 3:
		ok = m.q.SetHeld(id, "")
		m.o.change(id, func(r *Request) { r.Held = "" })
	}
	if !ok {
		t.Fatalf("request %d is said not to be pending", id)
	}
}

func (m *model) next(t *rapid.T) { m.step(t) }

func (m *model) drain(t *rapid.T) {
	for m.step(t) {
	}
	for _, r := range m.o.pending {
		for _, reason := range m.q.Why(r.ID, m.now) {
			if reason.Predicate == Ready {
				t.Fatalf("nothing more starts, but request %d is ready for %s", r.ID, reason.Worker)
			}
		}
	}
}

// step compares one decision.
func (m *model) step(t *rapid.T) bool {
	want, workers, waits := m.o.next(m.now)
	a, ok := m.q.Next(m.now)
	switch {
	case !ok && want == nil:
		return false
	case !ok:
		t.Fatalf("nothing starts, want request %d on one of %v", want.ID, workers)
	case want == nil:
		t.Fatalf("request %d started on %s, want none", a.Request.ID, a.Worker)
	case a.Request != want.Request || !slices.Contains(workers, a.Worker) || a.Host != m.o.workers[a.Worker].Host || a.Need != want.Need:
		t.Fatalf("started %+v on %s (host %q), want %+v on one of %v", a.Request, a.Worker, a.Host, want.Request, workers)
	}
	m.checkBypass(t, a, waits)
	m.o.start(a, waits, m.now)
	m.checkLimits(t, a)
	return true
}

// checkBypass: a request that needs no locks, and was passed over on a host for
// ten minutes, is not passed over there again.
func (m *model) checkBypass(t *rapid.T, a Assignment, waits []waiting) {
	for _, w := range waits {
		if w.r.passed && w.r.where != "" && w.r.where == a.Host && m.now.Sub(w.r.since) >= 10*time.Minute &&
			len(m.o.builders[w.r.Builder].Locks) == 0 && len(w.hosts) > 0 && slices.Contains(w.hosts, a.Host) {
			t.Fatalf("request %d, passed over since %v, was passed over by %d on %s at %v", w.r.ID, w.r.since, a.Request.ID, a.Host, m.now)
		}
	}
}

// checkLimits adds up what runs, after a start.
func (m *model) checkLimits(t *rapid.T, a Assignment) {
	if w := m.o.workers[a.Worker]; w.MaxBuilds > 0 && m.o.load(a.Worker, "") > w.MaxBuilds {
		t.Fatalf("%d builds on %s, at most %d allowed", m.o.load(a.Worker, ""), a.Worker, w.MaxBuilds)
	}
	if m.o.builders[a.Request.Builder].Exclusive && m.o.load(a.Worker, a.Request.Builder) > 1 {
		t.Fatalf("two builds of exclusive %s on %s", a.Request.Builder, a.Worker)
	}
	if a.Host != "" {
		h := m.o.hosts[a.Host]
		builds, cpus, memory := m.o.use(a.Host)
		if builds > h.Slots || builds > 1 && (cpus > h.CPUs || memory > h.Memory) {
			t.Fatalf("%d builds with %v CPUs and %d bytes on %+v", builds, cpus, memory, h)
		}
	}
	for name, l := range wants(a.Locks) {
		counting, exclusive := m.o.held(name, a.Worker)
		if l.Exclusive && (exclusive != 1 || counting != 0) || !l.Exclusive && (exclusive != 0 || counting > m.o.maxOn(name, a.Worker)) {
			t.Fatalf("lock %s on %s is held %d times and %d times exclusively", name, a.Worker, counting, exclusive)
		}
	}
}

func (m *model) release(t *rapid.T) { m.releaseOne(t, m.someRunning(t)) }

func (m *model) releaseOne(t *rapid.T, a Assignment) {
	m.q.Release(a)
	m.q.Release(a) // does nothing
	m.o.release(a.Request.ID)
	m.granted(t)
}

func (m *model) releaseAll(t *rapid.T) {
	for len(m.o.running) > 0 {
		m.releaseOne(t, m.o.running[0])
	}
}

// turnover is the usual life: one ends, others start, time goes on.
func (m *model) turnover(t *rapid.T) {
	a := m.someRunning(t)
	m.sleep(t)
	m.releaseOne(t, a)
	m.add(t)
	m.drain(t)
}

// rushHour is many of these, with a few steps in between: long enough for
// requests to be passed over for too long.
func (m *model) rushHour(t *rapid.T) {
	for range rapid.IntRange(5, 25).Draw(t, "turns") {
		m.add(t)
		m.drain(t)
		m.sleep(t)
		if len(m.o.running) == 0 {
			continue
		}
		a := m.someRunning(t)
		if rapid.IntRange(0, 3).Draw(t, "with a step") == 3 && !m.hasStep(a.Request.ID) {
			m.acquireStep(t)
		}
		m.releaseOne(t, a)
		m.check(t)
	}
}

func (m *model) hasStep(owner int64) bool {
	return slices.ContainsFunc(m.o.steps, func(s *oracleStep) bool { return s.owner == owner })
}

func (m *model) sleep(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
}

func (m *model) acquireStep(t *rapid.T) {
	a, locks := m.someRunning(t), m.someLocks(t)
	owner, want := a.Request.ID, true
	if m.hasStep(owner) {
		return
	}
	refused := false
	// The builder's own locks count by name, also when they take nothing.
	for _, l := range mergeLocks(locks) {
		refused = refused || !m.o.lockKnown(l.Name) || !l.Exclusive && l.Count > m.o.maxOn(l.Name, a.Worker) ||
			slices.ContainsFunc(a.Locks, func(h Lock) bool { return h.Name == l.Name })
	}
	for name, l := range wants(locks) {
		want = want && m.o.free(l, a.Worker) && !m.o.stepWaits(name, a.Worker)
	}
	got, err := m.q.AcquireStep(owner, a.Worker, locks)
	if (err != nil) != refused {
		t.Fatalf("step of %d asked for %v: error %v, want one: %v", owner, locks, err, refused)
	}
	if refused {
		return
	}
	if got != want {
		t.Fatalf("step of %d asked for %v: granted %v, want %v", owner, locks, got, want)
	}
	m.o.steps = append(m.o.steps, &oracleStep{owner, a.Worker, locks, got})
	if _, err := m.q.AcquireStep(owner, a.Worker, locks); err == nil {
		t.Fatal("a second step of the same build was let in")
	}
}

func (m *model) releaseStep(t *rapid.T) {
	if len(m.o.steps) == 0 {
		t.Skip("no steps")
	}
	i := rapid.IntRange(0, len(m.o.steps)-1).Draw(t, "step")
	m.q.ReleaseStep(m.o.steps[i].owner)
	m.o.steps = slices.Delete(m.o.steps, i, i+1)
	m.granted(t)
}

func (m *model) granted(t *rapid.T) {
	if got, want := m.q.Granted(), m.o.grant(); !slices.Equal(got, want) {
		t.Fatalf("steps granted %v, want %v", got, want)
	}
}

// check holds after every operation.
func (m *model) check(t *rapid.T) {
	if m.q.Len() != len(m.o.pending) {
		t.Fatalf("%d are pending, want %d", m.q.Len(), len(m.o.pending))
	}
	counts := map[string]int{}
	for _, r := range m.o.pending {
		counts[r.Builder]++
	}
	if got := m.q.Counts(); !maps.Equal(got, counts) {
		t.Fatalf("pending by builder: %v, want %v", got, counts)
	}
	if len(m.o.pending) == 0 {
		return
	}
	at := rapid.IntRange(0, len(m.o.pending)-1).Draw(t, "asked why")
	for _, r := range m.o.pending[at:min(at+3, len(m.o.pending))] {
		m.checkWhy(t, r)
	}
}

// checkWhy: there is one reason for each worker of the builder, and it is true.
func (m *model) checkWhy(t *rapid.T, r *oracleRequest) {
	reasons := m.q.Why(r.ID, m.now)
	if len(reasons) == 0 {
		t.Fatalf("no reasons for %+v", r.Request)
	}
	k, _ := m.o.walk(m.now, func(x *oracleRequest, _ kept) bool { return x == r })
	told := map[string]bool{}
	for _, reason := range reasons {
		if !m.o.holds(reason.Predicate, r, reason.Worker, k) {
			t.Fatalf("request %+v, worker %s: %q (%s) is not true", r.Request, reason.Worker, reason.Reason, reason.Predicate)
		}
		if reason.Predicate != Ready && m.o.canStart(r.Request, reason.Worker, k) {
			t.Fatalf("request %+v could start on %s, but: %s", r.Request, reason.Worker, reason.Reason)
		}
		if reason.Reason == "" || told[reason.Worker] {
			t.Fatalf("reasons for %d: %+v", r.ID, reasons)
		}
		told[reason.Worker] = true
	}
	for _, name := range m.o.builders[r.Builder].Workers {
		if !told[name] {
			t.Fatalf("nothing is said about %s: %+v", name, reasons)
		}
	}
}
