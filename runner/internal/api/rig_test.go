package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// patience is how long what should happen at once may take: the machine may be
// slow, and busy with other tests.
const patience = 2 * time.Minute

// rig is a live engine with a real store, real logs and fake workers, and the
// interface to it behind a real HTTP server.
type rig struct {
	t         testing.TB
	conf      *config.Config
	fleet     *fleet
	store     *store.Store
	logs      *logs.Store
	artifacts *artifacts.Store
	e         *engine.Engine
	api       *API
	srv       *httptest.Server
}

// rigOptions change what newRig makes.
type rigOptions struct {
	access Access             // default: everybody may do everything
	seed   func(*store.Store) // fills the database before the master starts
}

// newRig starts a master that is ended with the test.
func newRig(t testing.TB, conf *config.Config, options ...rigOptions) *rig {
	t.Helper()
	var o rigOptions
	if len(options) > 0 {
		o = options[0]
	}
	if o.access.Identify == nil {
		o.access = Open(nil)
	}
	r := &rig{t: t, conf: complete(t, conf), fleet: &fleet{held: make(chan string, 100), let: make(chan struct{})}}
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	var err error
	if r.store, err = store.Open(filepath.Join(dir, "state.db"), quiet); err != nil {
		t.Fatal(err)
	}
	if o.seed != nil {
		o.seed(r.store)
	}
	rec, err := r.store.Start()
	if err != nil {
		t.Fatal(err)
	}
	if r.logs, err = logs.Open(filepath.Join(dir, "logs"), logs.Options{}); err != nil {
		t.Fatal(err)
	}
	rec.NextLog = max(rec.NextLog, r.logs.MaxID()+1)
	r.artifacts = artifacts.Open(filepath.Join(dir, "artifacts"), 1)
	r.e, err = engine.New(engine.Options{
		Config: r.conf, Store: r.store, Logs: r.logs, Recovered: rec, Host: wideHost{}, Attach: r.fleet.attach, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.api, err = New(Options{
		Engine: r.e, Store: r.store, Logs: r.logs, Artifacts: r.artifacts, Logger: quiet, Master: "host:/base", Version: "1.2.3",
		Config:  r.e.Config,
		Machine: func() Machine { return Machine{Slots: 64, CPUs: 64, Memory: 1 << 36} },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.srv = httptest.NewServer(r.api.Handler(o.access))
	go r.e.Run()
	t.Cleanup(r.close)
	until(t, "all workers are connected", func() bool {
		all := r.e.Workers()
		return len(all) > 0 && !slices.ContainsFunc(all, func(v *engine.WorkerView) bool { return !v.State.Connected() })
	})
	return r
}

func (r *rig) close() {
	r.e.Stop(engine.AtOnce)
	select {
	case <-r.e.Done():
	case <-time.After(patience):
		r.t.Error("the engine does not end")
		return
	}
	r.api.Close()
	r.srv.Close()
	if err := errors.Join(r.logs.Close(), r.store.Close()); err != nil {
		r.t.Error(err)
	}
}

// complete fills in what a test does not care about. Workers of kinds that the
// configuration refuses are let through: the engine has fakes.
func complete(t testing.TB, conf *config.Config) *config.Config {
	t.Helper()
	if len(conf.Workers) == 0 {
		conf.Workers = []config.Worker{{Name: "w1"}, {Name: "w2"}}
	}
	for i := range conf.Builders {
		conf.Builders[i].Source.Kind = config.SourceNone
	}
	if _, err := conf.Complete(); err != nil {
		t.Fatal(err)
	}
	return conf
}

// basic is a configuration with two builders and a form.
func basic() *config.Config {
	return &config.Config{
		URL: "http://ci.example.com/",
		Builders: []config.Builder{
			{Name: "test", Description: "runs the tests", Tags: []string{"fast", "unit"}, NoCollapse: true, Steps: []config.Step{
				named("greet", "print hello"), named("work", "lines 3"),
			}},
			{Name: "hold", NoCollapse: true, Steps: []config.Step{named("wait", "hold")}},
		},
		Schedulers: []config.Scheduler{{
			Name: "button", Kind: config.SchedulerForce, Builders: []string{"test", "hold"},
			Force: config.Force{Label: "Press", Parameters: []config.Parameter{
				{Name: "target", Type: config.ParameterChoice, Choices: []string{"all", "some"}, Default: "all"},
				{Name: "level", Type: config.ParameterInt, Required: true},
			}},
		}},
	}
}

func named(name, line string) config.Step {
	s := config.Shell(line)
	s.Name = name
	return s
}

// manyWorkers is a configuration with n workers.
func manyWorkers(n int) *config.Config {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w", Count: n}}
	conf.Builders = append(conf.Builders, config.Builder{Name: "trivial", NoCollapse: true, Steps: []config.Step{named("say", "print x")}})
	return conf
}

// wideHost has room for everything.
type wideHost struct{}

func (wideHost) Capacity() engine.Capacity {
	return engine.Capacity{Slots: 1 << 20, CPUs: 1 << 20, Memory: 1 << 50}
}
func (wideHost) Reserve(worker.Need) (slot any, _ func(), _ bool) { return nil, func() {}, true }
func (wideHost) Changed() <-chan struct{}                         { return nil }

// fleet are fake workers. They understand: print TEXT, lines N, fail, break (an
// exception of the step) and hold, which lasts until it is cancelled or let go.
type fleet struct {
	held chan string // the builder of each build that holds
	mu   sync.Mutex
	let  chan struct{}
}

// release lets all go that hold.
func (f *fleet) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.let)
	f.let = make(chan struct{})
}

func (f *fleet) attach(config.Worker) (worker.Kind, error) { return fakeKind{f}, nil }

type fakeKind struct{ f *fleet }

func (k fakeKind) Attach(context.Context) (worker.Conn, error) {
	return &fakeConn{f: k.f, done: make(chan struct{})}, nil
}
func (k fakeKind) Release(context.Context, bool) error { return nil }

type fakeConn struct {
	f    *fleet
	once sync.Once
	done chan struct{}
}

func (c *fakeConn) Info() worker.Info {
	return worker.Info{
		"version": "1.2.3", "os_id": "debian", "numcpus": int64(8), "environ": map[string]any{"PATH": "/bin"},
		"os_id_like": nil, "os_version_id": "12", "os_version_codename": "bookworm",
	}
}
func (c *fakeConn) Ping(context.Context) error { return nil }
func (c *fakeConn) Done() <-chan struct{}      { return c.done }
func (c *fakeConn) Err() error                 { return worker.ErrLost }
func (c *fakeConn) Close() error               { c.once.Do(func() { close(c.done) }); return nil }
func (c *fakeConn) StartBuild(_ context.Context, spec worker.BuildSpec) (worker.Build, error) {
	return fakeBuild{c, spec}, nil
}

type fakeBuild struct {
	c    *fakeConn
	spec worker.BuildSpec
}

func (b fakeBuild) Dir() string                { return "/build" }
func (b fakeBuild) Properties() map[string]any { return nil }
func (b fakeBuild) End(context.Context, worker.KeepDir) (worker.Receipt, error) {
	return worker.Receipt{}, nil
}

func (b fakeBuild) Run(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	verb, rest, _ := strings.Cut(cmd.Argv[len(cmd.Argv)-1], " ")
	switch verb {
	case "print":
		return worker.Exit{}, sink.Output("", worker.Stdout, []byte(rest+"\n"))
	case "lines":
		n, err := strconv.Atoi(rest)
		for i := range n {
			err = errors.Join(err, sink.Output("", worker.Stdout, fmt.Appendf(nil, "line %d\n", i)))
		}
		return worker.Exit{}, err
	case "fail":
		return worker.Exit{Code: 1}, sink.Output("", worker.Stderr, []byte("wrong\n"))
	case "break":
		return worker.Exit{}, errors.New("no such device")
	case "hold":
		b.c.f.mu.Lock()
		let := b.c.f.let
		b.c.f.mu.Unlock()
		b.c.f.held <- b.spec.Builder
		select {
		case <-let:
			return worker.Exit{}, nil
		case <-ctx.Done():
			return worker.Exit{Code: -1, Signal: "SIGTERM", Stopped: worker.Cancelled}, nil
		case <-cmd.Kill:
			return worker.Exit{Code: -1, Signal: "SIGKILL", Stopped: worker.Cancelled}, nil
		case <-b.c.done:
			return worker.Exit{}, worker.ErrLost
		}
	}
	return worker.Exit{}, nil
}

// reply is an answer to a request.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// do sends a request; edits change it before.
func (r *rig) do(method, path string, body []byte, edits ...func(*http.Request)) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "identity") // Go's client would say otherwise
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, f := range edits {
		f(req)
	}
	resp, err := r.srv.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply{r.t, resp.StatusCode, resp.Header, b}
}

// get reads data below /api/v2/.
func (r *rig) get(path string, edits ...func(*http.Request)) reply {
	r.t.Helper()
	return r.do(http.MethodGet, "/api/v2/"+path, nil, edits...)
}

// rows are those of a list.
func (p reply) rows(plural string) []map[string]any {
	p.t.Helper()
	if p.status != http.StatusOK {
		p.t.Fatalf("status %d: %s", p.status, p.body)
	}
	var all map[string]json.RawMessage
	var rows []map[string]any
	if err := json.Unmarshal(p.body, &all); err != nil {
		p.t.Fatalf("%v in %s", err, p.body)
	}
	if err := json.Unmarshal(all[plural], &rows); err != nil {
		p.t.Fatalf("%v in %s", err, p.body)
	}
	return rows
}

// one is the only row of a list.
func (p reply) one(plural string) map[string]any {
	p.t.Helper()
	rows := p.rows(plural)
	if len(rows) != 1 {
		p.t.Fatalf("%d rows: %s", len(rows), p.body)
	}
	return rows[0]
}

// want checks the status and that the body says what it must.
func (p reply) want(status int, parts ...string) reply {
	p.t.Helper()
	if p.status != status {
		p.t.Errorf("status %d, want %d: %s", p.status, status, p.body)
	}
	for _, part := range parts {
		if !bytes.Contains(p.body, []byte(part)) {
			p.t.Errorf("%s does not say %s", p.body, part)
		}
	}
	return p
}

// call sends a JSON-RPC request with params as JSON.
func (r *rig) call(path, method, params string, edits ...func(*http.Request)) reply {
	r.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":%s}`, method, params)
	return r.do(http.MethodPost, "/api/v2/"+path, []byte(body), edits...)
}

// build asks for a build and returns its ticket.
func (r *rig) build(builder string) *engine.Ticket {
	r.t.Helper()
	tickets, err := r.e.Submit(r.t.Context(), engine.Submission{Builder: builder, Reason: "because"})
	if err != nil {
		r.t.Fatal(err)
	}
	return tickets[0]
}

// done waits for the end of a request.
func (r *rig) done(k *engine.Ticket) (store.Request, store.Build) {
	r.t.Helper()
	select {
	case <-k.Done():
	case <-time.After(patience):
		r.t.Fatalf("request %d is never finished", k.ID)
	}
	return k.Outcome()
}

// holds waits until a build of the builder holds.
func (r *rig) holds(builder string) {
	r.t.Helper()
	select {
	case got := <-r.fleet.held:
		if got != builder {
			r.t.Fatalf("a build of %s holds, want %s", got, builder)
		}
	case <-time.After(patience):
		r.t.Fatalf("no build of %s holds", builder)
	}
}

// until polls for what must come.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(patience); !happened(); <-pause.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
