package runner_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/remote/agent"
)

// dialIn runs a worker with one connection; the channel gets how that ended.
func dialIn(t *testing.T, addr, name string, p agent.Protocol) <-chan error {
	t.Helper()
	a, err := agent.New(t.Context(), agent.Options{
		Master: agent.Master{Addr: addr}, Name: name, Protocol: p, Once: true, BaseDir: t.TempDir(),
		Password: func() (string, error) { return "correct horse battery", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- a.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ended
}

// A worker needs no restart to be added, and one that is taken out is
// disconnected; what it has built stays.
func TestRemoteWorkerComesAndGoes(t *testing.T) {
	for _, speaks := range []agent.Protocol{agent.PB, agent.Msgpack} {
		t.Run(string(speaks), func(t *testing.T) {
			t.Parallel()
			conf := func(workers ...string) *config.Config {
				c := &config.Config{
					Workers:  []config.Worker{{Name: "near"}},
					Builders: []config.Builder{{Name: "b", Source: config.Source{Kind: config.SourceNone}, Steps: []config.Step{config.Shell("echo built")}}},
				}
				for _, name := range workers {
					c.Workers = append(c.Workers, config.Worker{Name: name, Kind: config.WorkerRemote, Remote: config.RemoteWorker{Password: config.Secret{Text: "correct horse battery"}}})
					c.Builders[0].Workers = []string{name}
				}
				return c
			}
			r := start(t, conf(), runner.Options{})
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- r.ServeWorkers(ln) }()
			reload := func(workers ...string) {
				t.Helper()
				next := conf(workers...)
				next.Dir, next.BaseDir = t.TempDir(), r.BaseDir()
				if _, err := r.Reload(t.Context(), next); err != nil {
					t.Fatal(err)
				}
			}
			addr := ln.Addr().String()
			if err := <-dialIn(t, addr, "far", speaks); err == nil {
				t.Error("a worker that is not configured was let in")
			}
			reload("far")
			first := dialIn(t, addr, "far", speaks)
			if b := wait(t, submit(t, r, runner.Request{Builder: "b"})); b.Result != build.Success || b.Worker != "far" {
				t.Fatalf("%+v", b)
			}
			reload("other")
			if err := <-first; err == nil {
				t.Error("the connection of a worker that was taken out did not end")
			}
			if err := <-dialIn(t, addr, "far", speaks); err == nil {
				t.Error("a worker that was taken out was let in")
			}
			other := dialIn(t, addr, "other", speaks)
			if b := wait(t, submit(t, r, runner.Request{Builder: "b"})); b.Result != build.Success || b.Worker != "other" {
				t.Fatalf("%+v", b)
			}
			rec := httptest.NewRecorder()
			r.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/v2/builds", nil))
			if body, _ := io.ReadAll(rec.Body); rec.Code != http.StatusOK || strings.Count(string(body), `"number"`) != 2 {
				t.Errorf("%d %s", rec.Code, body)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := r.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			<-other
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}
