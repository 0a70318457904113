package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// TestModel lets random things happen to an engine, crashes above all, and
// checks after each what must hold whatever happens. More of it:
//
//	go test -run TestModel ./runner/internal/engine -rapid.checks=10000
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(drawOp), 4, 100).Draw(rt, "ops")
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = runModel(t, ops) })
		if len(faults) > 0 {
			rt.Fatal(strings.Join(faults, "\n"))
		}
	})
}

// stopTest ends a test from deep within.
type stopTest struct{}

// gather is a testing.TB that keeps what is said, for rapid to judge.
type gather struct {
	testing.TB
	mu     sync.Mutex
	faults []string
}

func (g *gather) add(s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults = append(g.faults, s)
}
func (g *gather) Error(args ...any)                 { g.add(fmt.Sprint(args...)) }
func (g *gather) Errorf(format string, args ...any) { g.add(fmt.Sprintf(format, args...)) }
func (g *gather) Fatal(args ...any)                 { g.Error(args...); panic(stopTest{}) }
func (g *gather) Fatalf(format string, args ...any) { g.Errorf(format, args...); panic(stopTest{}) }

// model is what is known of an engine from outside, over all its lives.
type model struct {
	*rig
	g *gather

	mu       sync.Mutex
	accepted []int64 // in the order of their ids
	told     map[int64]store.Request
	builds   map[int64]store.Build // as told when they began
	pending  map[int64]store.Request
	workers  map[string]*WorkerView // as last told
	tokens   map[worker.Token]bool
	untold   bool // the last commit before the crash may be on disk
	epoch    int64
	holders  map[string]int // of lock y, by builder
	slots    int
	asking   sync.WaitGroup
}

func runModel(t *testing.T, ops []op) (faults []string) {
	g := &gather{TB: t}
	r := newRig(g, modelConfig(0))
	m := &model{
		rig: r, g: g, told: map[int64]store.Request{}, builds: map[int64]store.Build{},
		tokens: map[worker.Token]bool{}, workers: map[string]*WorkerView{}, holders: map[string]int{}, slots: 2,
	}
	r.host = newFakeHost(m.slots)
	r.fleet.on("work", m.work)
	r.fleet.check = m.limits
	r.fleet.prepare = m.attempt
	defer func() {
		if p := recover(); p != nil {
			if _, ours := p.(stopTest); !ours {
				panic(p)
			}
		}
		r.close()
		faults = g.faults
	}()
	m.live()
	for _, o := range ops {
		m.do(o)
		if r.disk.crashed() {
			m.dead()
		} else if o.check {
			m.look()
		}
	}
	m.finish()
	return nil
}

// live begins the engine's next life.
func (m *model) live() {
	m.open()
	m.pending = map[int64]store.Request{}
	for id, q := range m.e.l.requests {
		m.pending[id] = q.row
	}
	for _, id := range m.accepted {
		row := m.row(id)
		if told, ok := m.told[id]; ok && (row.Result != told.Result || row.Text != told.Text || !row.Completed.Equal(told.Completed)) {
			m.g.Errorf("request %d was told to be %s (%s); after a restart it is %s (%s)", id, told.Result, told.Text, row.Result, row.Text)
		}
	}
	if e := m.e.l.epoch; e <= m.epoch {
		m.g.Errorf("epoch %d follows %d", e, m.epoch)
	}
	m.epoch = m.e.l.epoch
	if !m.untold {
		m.remembered()
	}
	m.untold = false
	clear(m.workers)
	events, err := m.e.Subscribe(context.Background(), "")
	if err != nil {
		m.g.Fatal(err)
	}
	go func() {
		for ev := range events {
			m.event(ev)
		}
	}()
	go m.e.Run()
	m.running = true
}

// remembered checks that a new engine knows what was told of its workers.
func (m *model) remembered() {
	for name, told := range m.workers {
		w := m.e.l.workers[name]
		if w == nil || !w.row.Configured.Equal(told.Configured) {
			continue // the configuration has another one, or none
		}
		was, is := told.State.Facts, w.state.Facts
		if w.conf.NoCanary && was.Quarantine.Phase != worker.QuarantineHeld {
			was.Quarantine.Until = is.Quarantine.Until // the new configuration ends a trial
		}
		if was.Paused.By != is.Paused.By || !was.Paused.Since.Equal(is.Paused.Since) || !was.Quarantine.Until.Equal(is.Quarantine.Until) {
			m.g.Errorf("worker %s was told as %+v; after a restart it is %+v", name, was, is)
		}
		if was.Loss.Phase != worker.LossNone && (was.Loss.Phase != is.Loss.Phase || !was.Loss.Since.Equal(is.Loss.Since)) {
			m.g.Errorf("worker %s was lost %+v; after a restart it is %+v", name, was.Loss, is.Loss)
		}
		if w.conn != nil || is.Quarantine.Phase == worker.QuarantineTesting {
			m.g.Errorf("worker %s: %+v", name, w.state)
		}
	}
}

// dead is a crash and what follows it.
func (m *model) dead() {
	m.crash(false)
	m.asking.Wait()
	m.live()
}

func (m *model) do(o op) {
	switch o.kind {
	case opSubmit:
		m.ask(o)
	case opCancel:
		if id, ok := m.some(o.who); ok {
			ctx, stop := context.WithTimeout(context.Background(), time.Second)
			err := m.e.Cancel(ctx, id, "not needed", o.flag)
			stop()
			if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrStopped) {
				m.g.Errorf("cancel %d: %v", id, err)
			}
		}
	case opControl:
		m.control(o.worker, o.action)
	case opPass:
		time.Sleep(o.dur)
	case opLose:
		m.fleet.kind(o.worker).lose(o.flag)
	case opBack:
		m.fleet.kind("r1").comes()
		m.fleet.kind("r2").comes()
	case opCrash:
		m.untold = m.untold || o.flag
		if o.check {
			m.crash(o.flag)
			m.asking.Wait()
			m.live()
			return
		}
		m.disk.arm(o.who, o.flag)
	case opRestart:
		settle()
		if m.disk.crashed() {
			return
		}
		m.stop(o.mode)
		m.asking.Wait()
		m.live()
	case opFull:
		m.disk.fail(errNoDisk)
	case opRoom:
		m.disk.fail(nil)
	case opReload:
		m.reload(modelConfig(o.who))
	case opSlots:
		m.slots = o.who
		m.host.set(func(h *fakeHost) { h.slots, h.cpus, h.memory = o.who, float64(o.who), int64(o.who)<<30 })
	}
}

// reload takes over another configuration, and keeps it for later lives.
func (m *model) reload(conf *config.Config) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	switch _, err := m.e.Reload(ctx, complete(m.g, conf)); {
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		m.rig.conf = conf
	case !errors.Is(err, ErrStopped):
		m.g.Errorf("reload: %v", err)
	}
}

// control asks something of a worker.
func (m *model) control(name string, a worker.Action) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	began := time.Now()
	err := m.e.ControlWorker(ctx, name, a, "ana", "model")
	gone := errors.Is(err, ErrUnknown) && name == "r2"
	if err != nil && !gone && !errors.Is(err, ErrConflict) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrStopped) {
		m.g.Errorf("%s %s: %v", a, name, err)
	}
	if d := time.Since(began); err == nil && d > time.Second && m.e.Healthy(context.Background()) == nil {
		m.g.Errorf("%s %s took %s", a, name, d)
	}
}

// ask submits without waiting for the answer.
func (m *model) ask(o op) {
	e := m.e
	m.asking.Add(1)
	go func() {
		defer m.asking.Done()
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		props := build.Properties{"plan": {Value: o.plan, Source: "test"}}
		tickets, err := e.Submit(ctx, Submission{Builder: o.builder, Worker: o.worker, Priority: o.priority, Properties: props})
		switch {
		case err == nil:
			m.mu.Lock()
			defer m.mu.Unlock()
			if slices.Contains(m.accepted, tickets[0].ID) {
				m.g.Errorf("request %d was accepted twice", tickets[0].ID)
			}
			m.accepted = append(m.accepted, tickets[0].ID)
		case errors.Is(err, ErrUnknown) && o.builder == "d":
		case !errors.Is(err, ErrStopped) && !errors.Is(err, ErrDegraded) && !errors.Is(err, context.DeadlineExceeded):
			m.g.Errorf("submit: %v", err)
		}
	}()
}

func (m *model) some(n int) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.accepted) == 0 {
		return 0, false
	}
	return m.accepted[n%len(m.accepted)], true
}

// event follows what the engine tells, which is in the order of its decisions.
func (m *model) event(ev Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := ev.Request
	switch ev.Kind {
	case RequestNew, RequestRetry:
		m.pending[q.ID] = q
	case WorkerChanged:
		m.workers[ev.Worker.Name] = ev.Worker
	case BuildNew:
		b := ev.Build
		if w := m.workers[b.Worker]; w != nil && (w.State.Paused.Set() || w.State.Graceful.Set() || w.State.Quarantined() || !w.State.Connected()) {
			m.g.Errorf("build %d is started on worker %s: %s", b.ID, b.Worker, w.State.Blocked(ev.Time))
		}
		if old, ok := m.builds[b.ID]; ok {
			m.g.Errorf("build id %d is given to %s %d and to %s %d", b.ID, old.Builder, old.Number, b.Builder, b.Number)
		}
		for _, old := range m.builds {
			if old.Builder == b.Builder && old.Number == b.Number {
				m.g.Errorf("build number %d of %s is given twice", b.Number, b.Builder)
			}
		}
		m.builds[b.ID] = b
		if _, ok := m.pending[q.ID]; !ok {
			m.g.Errorf("request %d has a build although it is not pending", q.ID)
		}
		for _, o := range m.pending {
			if alike(o, q) && goesBefore(o, q) && !getsStuck(o) {
				m.g.Errorf("request %d (priority %d, %s) was started before request %d (priority %d, %s)",
					q.ID, q.Priority, q.Submitted, o.ID, o.Priority, o.Submitted)
			}
		}
		delete(m.pending, q.ID)
	case RequestDone:
		if old, ok := m.told[q.ID]; ok {
			m.g.Errorf("request %d is finished twice: %s and %s", q.ID, old.Result, q.Result)
		}
		m.told[q.ID] = q
		delete(m.pending, q.ID)
	}
}

// alike reports whether nothing but their rank decides which of the two starts first.
func alike(a, b store.Request) bool {
	return a.Builder == b.Builder && a.Worker == b.Worker && a.Memory == b.Memory
}

// getsStuck reports whether a build of the request may still run when it is given
// up; the next one waits for that.
func getsStuck(q store.Request) bool {
	plan, _ := q.Properties["plan"].Value.(string)
	return strings.Contains(plan, "stuck")
}

func goesBefore(a, b store.Request) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	if c := a.Submitted.Compare(b.Submitted); c != 0 {
		return c < 0
	}
	return a.ID < b.ID
}

// look checks the engine when nothing moves.
func (m *model) look() {
	settle()
	if m.disk.crashed() {
		m.dead()
		settle()
	}
	open, err := m.store.Requests(context.Background(), store.RequestFilter{Open: true, Limit: 1000})
	if err != nil {
		m.g.Fatal(err)
	}
	running, err := m.store.Builds(context.Background(), store.Filter{Running: true, Limit: 1000})
	if err != nil {
		m.g.Fatal(err)
	}
	m.on(func(l *loop) {
		if l.degraded != nil {
			return
		}
		var rows, builds []int64
		for _, q := range open {
			rows = append(rows, q.ID)
		}
		for _, b := range running {
			builds = append(builds, b.ID)
		}
		slices.Sort(rows)
		slices.Sort(builds)
		if want := slices.Sorted(maps.Keys(l.requests)); !slices.Equal(rows, want) {
			m.g.Errorf("requests open on disk: %v, in the engine: %v", rows, want)
		}
		if want := slices.Sorted(maps.Keys(l.builds)); !slices.Equal(builds, want) {
			m.g.Errorf("builds without a result on disk: %v, running: %v", builds, want)
		}
		for _, w := range l.workers {
			m.consistent(l, w)
		}
		for id, q := range l.requests {
			for _, why := range l.queue.Why(id, time.Now()) {
				if q.running == nil && why.Predicate == queue.Ready {
					m.g.Errorf("request %d is pending although %s could take it", id, why.Worker)
				}
			}
		}
	})
}

// consistent checks what is known of a worker against itself, when nothing moves.
func (m *model) consistent(l *loop, w *workerState) {
	v := w.view.Load()
	var ids []int64
	for _, b := range w.builds {
		ids = append(ids, b.row.ID)
		if l.builds[b.row.ID] != b || b.fenced {
			m.g.Errorf("build %d counts on worker %s, and is over", b.row.ID, w.name)
		}
	}
	if v.State != w.state || !slices.Equal(v.Builds, ids) || w.state.Builds != len(ids) {
		m.g.Errorf("worker %s is shown as %+v; it is %+v with builds %v", w.name, v, w.state, ids)
	}
	if w.state.Connected() != (w.conn != nil) || w.conn != nil && w.coming != nil {
		m.g.Errorf("worker %s is %s; connection %v, coming %v", w.name, w.state.Link, w.conn, w.coming)
	}
	if away := w.conn == nil && w.coming == nil && w.state.Link == worker.LinkAway; away && !w.asked && !w.leaving() {
		m.g.Errorf("worker %s is away, and nobody asks for it", w.name)
	}
	if w.conn == nil && len(ids) == 0 && len(w.onEnd) > 0 {
		m.g.Errorf("worker %s has ended, and those who wait for it were not told", w.name)
	}
}

// finish lets everything come to its end and checks what is left on disk.
func (m *model) finish() {
	m.disk.mu.Lock()
	m.disk.armed = false
	m.disk.mu.Unlock()
	m.do(op{kind: opRoom})
	m.do(op{kind: opBack})
	m.do(op{kind: opSlots, who: 2})
	ctx := context.Background()
	for range 500 { // quarantines may last for hours
		for _, w := range m.e.Workers() {
			m.control(w.Name, worker.Unpause)
			m.control(w.Name, worker.Start)
		}
		time.Sleep(time.Minute)
		m.asking.Wait()
		if open, err := m.store.Requests(ctx, store.RequestFilter{Open: true, Limit: 1}); err == nil && len(open) == 0 {
			break
		}
	}
	m.look()
	all, err := m.store.Requests(ctx, store.RequestFilter{Limit: 1000})
	if err != nil {
		m.g.Fatal(err)
	}
	found := map[int64]bool{}
	for _, q := range all {
		found[q.ID] = true
		m.finished(q)
	}
	for _, id := range m.accepted {
		if !found[id] {
			m.g.Errorf("request %d was accepted and is lost", id)
		}
	}
	builds, err := m.store.Builds(ctx, store.Filter{Limit: 1000})
	if err != nil {
		m.g.Fatal(err)
	}
	for _, b := range builds {
		if told, ok := m.builds[b.ID]; ok && (told.Request != b.Request || told.Number != b.Number || told.Token != b.Token) {
			m.g.Errorf("build %d was told as %+v and is %+v", b.ID, told, b)
		}
		m.complete(b)
	}
}

// finished checks a request at the end.
func (m *model) finished(q store.Request) {
	if q.State != store.Done || !q.Result.Valid() || q.Result == build.Retry || q.Completed.IsZero() {
		m.g.Errorf("request %d is %s, %s at the end", q.ID, q.State, q.Result)
	}
	builds := m.rig.builds(q.ID)
	if len(builds) != q.Attempts {
		m.g.Errorf("request %d: %d builds, %d attempts", q.ID, len(builds), q.Attempts)
	}
	limit := map[string]int{"a": 3, "b": 1, "c": 0, "d": 3}[q.Builder]
	gaveUp := strings.HasPrefix(q.Text, "gave up after")
	if q.Retries > limit+1 || gaveUp != (q.Retries == limit+1 && q.Result == build.Exception) {
		m.g.Errorf("request %d of %s has %d retries and is %s: %s", q.ID, q.Builder, q.Retries, q.Result, q.Text)
	}
	for i, b := range builds {
		last := i == len(builds)-1
		if b.Attempt != i+1 || !last && b.Result != build.Retry {
			m.g.Errorf("request %d: build %d of %d is attempt %d, %s", q.ID, i+1, len(builds), b.Attempt, b.Result)
		}
		if last && b.Result != q.Result && q.Result != build.Cancelled && q.Result != build.Skipped {
			m.g.Errorf("request %d is %s, its last build %s", q.ID, q.Result, b.Result)
		}
		if (b.Result == build.Exception) != (b.Cause != "") && b.Result != build.Retry {
			m.g.Errorf("build %d is %s because of %q: %s", b.ID, b.Result, b.Cause, b.Text)
		}
	}
}

// complete checks that nothing of a build is open at the end.
func (m *model) complete(b store.Build) {
	ctx := context.Background()
	steps, err := m.store.Steps(ctx, b.ID)
	if err != nil {
		m.g.Fatal(err)
	}
	for _, s := range steps {
		if !s.Result.Valid() {
			m.g.Errorf("step %d of build %d has no result, the build is %s: %s", s.Number, b.ID, b.Result, b.Text)
		}
	}
	list, err := m.store.Logs(ctx, b.ID)
	if err != nil {
		m.g.Fatal(err)
	}
	for _, lg := range list {
		if !lg.Complete {
			m.g.Errorf("log %d of build %d is not complete", lg.ID, b.ID)
		}
	}
}
