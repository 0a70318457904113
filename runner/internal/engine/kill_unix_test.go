//go:build unix

package engine

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/localworker"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// TestKillRealLocalWorker, scenario 13 with real processes: after a kill the
// build is RETRY, no process of it is left, and start brings the worker back.
func TestKillRealLocalWorker(t *testing.T) {
	dir := t.TempDir()
	budget, err := localworker.Shared(localworker.MachineOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer budget.Close()
	host, err := localworker.NewHost(localworker.HostOptions{Budget: budget, BaseDir: dir, BaseID: "kill", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	conf := complete(t, localBuilder(step("daemons", `trap "" TERM; setsid sleep 1000 & a=$!; sleep 1000 & echo pids $a $! $$; wait`)))
	conf.Dir = dir
	r := &rig{t: t, dir: dir, conf: conf, fleet: newFleet(), host: newFakeHost(4)}
	r.opt = func(o *Options) {
		o.Attach = func(w config.Worker) (worker.Kind, error) {
			return host.NewWorker(w.Name, filepath.Join("workers", w.Name))
		}
		o.BaseEnv = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t.Cleanup(r.close)
	r.start()
	k := r.build("b")
	pids := r.pids(k)

	began := time.Now()
	if err := r.e.ControlWorker(t.Context(), "w", worker.Kill, "ana", "it hangs"); err != nil {
		t.Fatal(err)
	}
	t.Logf("the kill took %s", time.Since(began))
	if b := r.builds(k.ID); len(b) != 1 || b[0].Result != build.Retry || b[0].Completed.IsZero() {
		t.Errorf("%+v", b)
	}
	if row := r.row(k.ID); row.State != store.Pending || row.Retries != 0 {
		t.Errorf("%+v", row)
	}
	for deadline := began.Add(20 * time.Second); ; {
		var left []int
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v of %v are left", left, pids)
		}
		time.Sleep(time.Millisecond)
	}
	if v := r.e.Worker("w"); v.State.Link != worker.LinkStopped || len(v.Builds) != 0 {
		t.Errorf("%+v", v)
	}
	if err := r.e.ControlWorker(t.Context(), "w", worker.Start, "ana", ""); err != nil {
		t.Fatal(err)
	}
	if again := r.pids(k); again[2] == pids[2] {
		t.Errorf("the second build has the processes of the first: %v", again)
	}
	if err := r.e.Cancel(t.Context(), k.ID, "seen enough", true); err != nil {
		t.Fatal(err)
	}
	<-k.Done()
}

// pids are the processes that a request's running build has told of.
func (r *rig) pids(k *Ticket) []int {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for _, b := range r.builds(k.ID) {
			if b.Result != build.None {
				continue
			}
			list, err := r.store.Logs(ctx, b.ID)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, lg := range list {
				if pids := r.told(ctx, lg); len(pids) == 3 {
					return pids
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
	r.t.Fatal("the build says nothing")
	return nil
}

func (r *rig) told(ctx context.Context, lg store.Log) (pids []int) {
	rd, err := r.logs.Reader(lg.ID, logs.Ref(lg.Ref))
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	lines, err := rd.ReadLines(0, 10)
	if err != nil && !errors.Is(err, ctx.Err()) {
		r.t.Fatal(err)
	}
	for _, line := range lines {
		words, ok := strings.CutPrefix(string(line.Text), "pids ")
		if !ok || line.Partial {
			continue
		}
		for _, w := range strings.Fields(words) {
			pid, err := strconv.Atoi(w)
			if err != nil {
				r.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}
