package web

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// logRig is the page of a master whose logs the test writes.
type logRig struct {
	t     testing.TB
	dir   string
	store *store.Store
	logs  *logs.Store
	web   *Web
	srv   *httptest.Server
	mu    sync.Mutex
	names []string
}

// noHost grants nothing: no build is ever started.
type noHost struct{}

func (noHost) Capacity() engine.Capacity                        { return engine.Capacity{} }
func (noHost) Reserve(worker.Need) (slot any, _ func(), _ bool) { return nil, nil, false }
func (noHost) Changed() <-chan struct{}                         { return nil }

func noKind(config.Worker) (worker.Kind, error) { return idleKind{}, nil }

type idleKind struct{}

func (idleKind) Attach(context.Context) (worker.Conn, error) { return nil, worker.ErrLost }
func (idleKind) Release(context.Context, bool) error         { return nil }

// newLogRig starts one, that is ended with the test. Step 1 of build 7 of the
// builder b is what gets logs.
func newLogRig(t testing.TB, o logs.Options) *logRig {
	t.Helper()
	r := &logRig{t: t, dir: t.TempDir()}
	dir, quiet := r.dir, slog.New(slog.DiscardHandler)
	conf := &config.Config{Title: "Bothy", Workers: []config.Worker{{Name: "w"}}, Builders: []config.Builder{{Name: "b", Steps: []config.Step{config.Shell("true")}}}}
	conf.Builders[0].Source.Kind = config.SourceNone
	if _, err := conf.Complete(); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.store, err = store.Open(filepath.Join(dir, "state.db"), quiet); err != nil {
		t.Fatal(err)
	}
	rec, err := r.store.Start()
	if err != nil {
		t.Fatal(err)
	}
	if r.logs, err = logs.Open(filepath.Join(dir, "logs"), o); err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{Config: conf, Store: r.store, Logs: r.logs, Recovered: rec, Host: noHost{}, Attach: noKind, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	go e.Run()
	r.web = New(Options{Engine: e, Store: r.store, Logs: r.logs, Config: e.Config, Machine: func() api.Machine { return api.Machine{} }, Version: "1", Logger: quiet})
	r.srv = httptest.NewServer(r.web.Handler(Access{Access: api.Open(nil)}))
	t.Cleanup(func() {
		r.web.Close()
		e.Stop(engine.AtOnce)
		<-e.Done()
		r.srv.Close()
		if err := errors.Join(r.logs.Close(), r.store.Close()); err != nil {
			t.Error(err)
		}
	})
	began := time.Now().Add(-time.Minute)
	b := store.NewBatch()
	b.PutRequest(&store.Request{ID: 3, Builder: "b", Submitted: began, State: store.Running, Attempts: 1})
	b.PutBuild(&store.Build{ID: 9, Request: 3, Builder: "b", Number: 7, Worker: "w", Attempt: 1, Started: began, Result: build.None})
	b.PutStep(&store.Step{Build: 9, Number: 1, Name: "test", Started: began, Result: build.None})
	b.PutStep(&store.Step{Build: 9, Number: 2, Name: "other", Started: began, Result: build.None})
	if err := r.store.Commit(b); err != nil {
		t.Fatal(err)
	}
	return r
}

// where is the address of a log of step 1.
func where(slug string) string { return "/builders/b/builds/7/steps/1/logs/" + slug }

// begin makes a log that is written; its id counts from 100.
func (r *logRig) begin(name string) *logs.Writer {
	r.t.Helper()
	r.mu.Lock()
	id := int64(100 + len(r.names))
	r.names = append(r.names, name)
	r.mu.Unlock()
	w, err := r.logs.Create(id, worker.Token{Epoch: 1, Counter: id}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(store.Log{ID: id, Build: 9, Step: 1, Name: name})
	return w
}

func (r *logRig) put(l store.Log) {
	r.t.Helper()
	b := store.NewBatch()
	b.PutLog(&l)
	if err := r.store.Commit(b); err != nil {
		r.t.Fatal(err)
	}
}

// end finishes a log.
func (r *logRig) end(w *logs.Writer) {
	r.t.Helper()
	info, err := w.Finish()
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	name := r.names[w.ID()-100]
	r.mu.Unlock()
	r.put(store.Log{ID: w.ID(), Build: 9, Step: 1, Name: name, Ref: string(info.Ref), Lines: info.Lines, Bytes: info.Bytes, Complete: true})
}

// compressed reports whether a log lies where compressed ones do.
func (r *logRig) compressed(id int64) bool {
	_, err := os.Stat(filepath.Join(r.dir, "logs", "live", strconv.FormatInt(id, 10)+".log"))
	return errors.Is(err, fs.ErrNotExist)
}

// log makes a finished log of parts: "o…", "e…" and "h…" for the streams.
func (r *logRig) log(name string, parts ...string) *logs.Writer {
	r.t.Helper()
	w := r.begin(name)
	for _, p := range parts {
		r.write(w, worker.Stream(p[0]), p[1:])
	}
	r.end(w)
	return w
}

func (r *logRig) write(w *logs.Writer, s worker.Stream, text string) {
	r.t.Helper()
	if err := w.Write(s, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// get reads an address; as the script does if script is set.
func (r *logRig) get(path string, script bool) (int, http.Header, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.srv.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if script {
		req.Header.Set("X-Bothy", "log")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// want reads an address that must answer 200 and say all of parts.
func (r *logRig) want(path string, script bool, parts ...string) string {
	r.t.Helper()
	status, _, body := r.get(path, script)
	if status != http.StatusOK {
		r.t.Errorf("%s: %d: %s", path, status, body)
	}
	for _, p := range parts {
		if !strings.Contains(body, p) {
			_, main, _ := strings.Cut(body, "<main")
			r.t.Errorf("%s does not say %s:\n%s…", path, p, main[:min(len(main), 3000)])
		}
	}
	return body
}

// numbered are n lines of some 60 bytes, as one text.
func numbered(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		b.WriteString("line " + strconv.Itoa(i) + " of a log, which is as long as lines of logs are\n")
	}
	return b.String()
}
