package engine

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// rig is an engine with a real store and real logs, fake workers and a fake
// machine. It lives in a synctest bubble: all its time is virtual.
type rig struct {
	t       testing.TB
	dir     string
	conf    *config.Config
	fleet   *fleet
	host    *fakeHost
	opt     func(*Options)
	store   *store.Store
	logs    *logs.Store
	e       *Engine
	disk    disk
	running bool
}

// disk stands between the engine and its store.
type disk struct {
	mu     sync.Mutex
	err    error // what commits return
	writes bool  // the first failing commit is carried out all the same
	armed  bool
	left   int // commits until the crash, once armed
}

// errCrashed is what a commit returns after the crash: nobody is there to hear it.
var errCrashed = errors.New("crashed")

// arm makes the disk stop after so many commits more, with last in the midst of
// one that is carried out.
func (d *disk) arm(commits int, last bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed, d.left, d.writes = true, commits, last
}

func (d *disk) crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err == errCrashed
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.armed, d.writes = err, false, false
}

func (d *disk) commit(s *store.Store, b *store.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed {
		if d.left == 0 {
			d.err, d.armed = errCrashed, false
		}
		d.left--
	}
	if d.err != nil {
		if d.writes {
			d.writes = false
			return errors.Join(d.err, s.Commit(b))
		}
		return d.err
	}
	return s.Commit(b)
}

// inBubble runs a test with virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// remote makes workers whose connections may be lost. The configuration refuses
// the kind as long as nothing stands behind it.
func remote(conf *config.Config, names ...string) {
	for i := range conf.Workers {
		if slices.Contains(names, conf.Workers[i].Name) {
			conf.Workers[i].Kind = config.WorkerRemote
		}
	}
}

// complete fills in what a test does not care about.
func complete(t testing.TB, conf *config.Config) *config.Config {
	t.Helper()
	var names []string
	for i := range conf.Workers {
		if conf.Workers[i].Kind == config.WorkerRemote {
			names = append(names, conf.Workers[i].Name)
			conf.Workers[i].Kind = config.WorkerLocal
		}
	}
	if _, err := conf.Complete(); err != nil {
		t.Fatal(err)
	}
	remote(conf, names...)
	return conf
}

// newRig starts an engine that is ended with the test.
func newRig(t testing.TB, conf *config.Config, opts ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), conf: complete(t, conf), fleet: newFleet(), host: newFakeHost(4)}
	r.opt = func(o *Options) {
		for _, f := range opts {
			f(o)
		}
	}
	t.Cleanup(r.close)
	return r
}

// start makes the engine and runs it.
func (r *rig) start() *rig {
	r.t.Helper()
	r.open()
	go r.e.Run()
	r.running = true
	return r
}

// open does what a master does before it runs.
func (r *rig) open() {
	r.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if r.store, err = store.Open(filepath.Join(r.dir, "state.db"), quiet); err != nil {
		r.t.Fatal(err)
	}
	rec, err := r.store.Start()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.logs, err = logs.Open(filepath.Join(r.dir, "logs"), logs.Options{}); err != nil {
		r.t.Fatal(err)
	}
	rec.NextLog = max(rec.NextLog, r.logs.MaxID()+1)
	o := Options{
		Config: r.conf, Store: r.store, Logs: r.logs, Recovered: rec, Host: r.host,
		Attach: r.fleet.attach, Logger: quiet,
	}
	r.opt(&o)
	if r.e, err = New(o); err != nil {
		r.t.Fatal(err)
	}
	s := r.store
	r.disk.fail(nil)
	r.e.commit = func(b *store.Batch) error { return r.disk.commit(s, b) }
}

// stop ends the engine and lets go of its directory.
func (r *rig) stop(mode StopMode) {
	r.t.Helper()
	r.e.Stop(mode)
	r.ended()
}

// ended waits for the engine's end and closes what it stood on.
func (r *rig) ended() {
	r.t.Helper()
	select {
	case <-r.e.Done():
	case <-time.After(time.Hour):
		r.t.Fatal("the engine does not end")
	}
	r.running = false
	if n := r.host.inUse(); n != 0 {
		r.t.Errorf("%d builds hold the machine after the end", n)
	}
	r.release()
}

func (r *rig) release() {
	if err := errors.Join(r.logs.Close(), r.store.Close()); err != nil {
		r.t.Error(err)
	}
}

// crash abandons the engine: from now on nothing reaches the disk. With last
// the commit under way is carried out, but the engine never hears of it.
func (r *rig) crash(last bool) {
	r.t.Helper()
	r.disk.mu.Lock()
	if r.disk.err != errCrashed {
		r.disk.err, r.disk.writes = errCrashed, last
	}
	r.disk.mu.Unlock()
	if err := r.logs.Close(); err != nil {
		r.t.Error(err)
	}
	r.stop(AtOnce)
}

func (r *rig) close() {
	if r.running {
		r.disk.fail(nil)
		r.stop(AtOnce)
	}
	for _, f := range r.fleet.faults {
		r.t.Error(f)
	}
}

func (r *rig) submit(subs ...Submission) []*Ticket {
	r.t.Helper()
	tickets, err := r.e.Submit(context.Background(), subs...)
	if err != nil {
		r.t.Fatal(err)
	}
	return tickets
}

// build submits one request.
func (r *rig) build(builder string) *Ticket {
	r.t.Helper()
	return r.submit(Submission{Builder: builder})[0]
}

// wait returns how a request ended.
func (r *rig) wait(k *Ticket) (store.Request, store.Build) {
	r.t.Helper()
	select {
	case <-k.Done():
	case <-time.After(30 * time.Hour):
		r.t.Fatalf("request %d is never finished", k.ID)
	}
	return k.Outcome()
}

// want waits for a request and checks its result.
func (r *rig) want(k *Ticket, result build.Result) (store.Request, store.Build) {
	r.t.Helper()
	req, b := r.wait(k)
	if req.Result != result {
		r.t.Errorf("request %d is %s (%s), want %s", req.ID, req.Result, req.Text, result)
	}
	return req, b
}

// row is a request as it is on disk.
func (r *rig) row(id int64) store.Request {
	r.t.Helper()
	row, err := r.store.Request(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return row
}

// builds are a request's builds on disk, oldest first.
func (r *rig) builds(id int64) []store.Build {
	r.t.Helper()
	list, err := r.store.Builds(context.Background(), store.Filter{Request: id, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// steps are a build's steps on disk, as "name result".
func (r *rig) steps(id int64) []string {
	r.t.Helper()
	list, err := r.store.Steps(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, s := range list {
		out = append(out, s.Name+" "+s.Result.String())
	}
	return out
}

// text is what all logs of a build hold, Bothy's own lines included.
func (r *rig) text(id int64) string {
	r.t.Helper()
	list, err := r.store.Logs(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	for _, lg := range list {
		rd, err := r.logs.Reader(lg.ID, logs.Ref(lg.Ref))
		if err != nil {
			r.t.Fatal(err)
		}
		_, err = rd.WriteRaw(context.Background(), &b, true)
		if err = errors.Join(err, rd.Close()); err != nil {
			r.t.Fatal(err)
		}
	}
	return b.String()
}

// pending is the engine's own request, also of one that an earlier engine took.
func (r *rig) pending(id int64) (q *request) {
	r.t.Helper()
	r.on(func(l *loop) { q = l.requests[id] })
	if q == nil {
		r.t.Fatalf("request %d is not open", id)
	}
	return q
}

// on runs f on the loop.
func (r *rig) on(f func(*loop)) {
	r.t.Helper()
	if err := r.e.call(context.Background(), f); err != nil {
		r.t.Fatal(err)
	}
}

// watch gathers all events from now on.
func (r *rig) watch() func() []Event {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	events, err := r.e.Subscribe(ctx, "")
	if err != nil {
		r.t.Fatal(err)
	}
	var mu sync.Mutex
	var all []Event
	go func() {
		for ev := range events {
			mu.Lock()
			all = append(all, ev)
			mu.Unlock()
		}
	}()
	return func() []Event {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// kinds are the kinds of events.
func kinds(evs []Event) []EventKind {
	var out []EventKind
	for _, ev := range evs {
		out = append(out, ev.Kind)
	}
	return out
}

// settle waits until nothing moves but time.
func settle() { synctest.Wait() }

// pass lets d go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// step is a shell step with a name.
func step(name, line string, change ...func(*config.Step)) config.Step {
	s := config.Shell(line)
	s.Name = name
	for _, f := range change {
		f(&s)
	}
	return s
}

// step2 and logRow are rows that no build has.
func step2(id int64) store.Step {
	return store.Step{Build: id, Number: 2, Name: "late", Result: build.Failure}
}

func logRow() store.Log { return store.Log{ID: 1 << 40, Build: 1, Name: "late"} }

// always makes a step run whatever happened before it.
func always(s *config.Step) {
	f := build.DefaultFlags()
	f.AlwaysRun = true
	s.Flags = &f
}

// oneBuilder is a configuration of one remote worker and builder "b".
func oneBuilder(steps ...config.Step) *config.Config {
	return &config.Config{
		Workers:  []config.Worker{{Name: "w", Kind: config.WorkerRemote, MaxBuilds: 1}},
		Builders: []config.Builder{{Name: "b", NoCollapse: true, Source: config.Source{Kind: config.SourceNone}, Steps: steps}},
	}
}

// onMachine is a configuration of local workers, which share the machine.
func onMachine(builders ...config.Builder) *config.Config {
	for i := range builders {
		builders[i].Source.Kind = config.SourceNone
	}
	return &config.Config{Workers: []config.Worker{{Name: "w"}}, Builders: builders}
}

func mustContain(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not say %q", text, p)
		}
	}
}

func mustEqual(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
