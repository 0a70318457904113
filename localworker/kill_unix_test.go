//go:build unix

package localworker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/worker"
)

// alive waits until none of the processes is there, and returns those that are.
func alive(pids []int) []int {
	deadline := time.Now().Add(2 * time.Second)
	for {
		var left []int
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				left = append(left, pid)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func pids(t *testing.T, text string) []int {
	t.Helper()
	var all []int
	for _, f := range strings.Fields(text) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	return all
}

func TestClosedWorkerEndsItsBuildsAndCanBeAttachedAgain(t *testing.T) {
	needShell(t)
	w := newWorker(t, newHost(t, nil), "bot1")
	c := attach(t, w)
	if _, err := w.Attach(t.Context()); err == nil {
		t.Error("attached twice")
	}
	idle := start(t, c, spec(none, fresh))
	all := pids(t, run(t, idle, "sleep 1000 >/dev/null 2>&1 & echo $!")) // for a later step
	busy := start(t, c, spec(none, fresh))
	out := &sink{saw: make(chan string, 10)}
	result := make(chan error, 1)
	go func() {
		_, err := busy.Run(context.Background(), shell(`trap "" TERM; setsid sleep 1000 & a=$!; sleep 1000 & echo $a $! $$; wait`), out)
		result <- err
	}()
	all = append(all, pids(t, <-out.saw)...)

	begin := time.Now()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := <-result; !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if left := alive(all); len(left) > 0 {
		t.Errorf("processes %v of %v are left", left, all)
	}
	select {
	case <-c.Done():
	default:
		t.Error("the connection is not done")
	}
	if err := c.Err(); !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if _, err := c.StartBuild(t.Context(), spec(none, fresh)); !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if _, err := idle.Run(t.Context(), shell("true"), out); !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if r := end(t, idle, worker.DropDir); len(r.Ended) != 1 {
		t.Errorf("receipt %+v", r)
	}
	end(t, busy, worker.DropDir)

	again := attach(t, w)
	b := start(t, again, spec(none, fresh))
	run(t, b, "true")
	end(t, b, worker.DropDir)
}

func TestHostCloseEndsWhatRuns(t *testing.T) {
	needShell(t)
	h := newHost(t, nil)
	c := attach(t, newWorker(t, h, "bot1"))
	b := start(t, c, spec(none, fresh))
	out := &sink{saw: make(chan string, 10)}
	result := make(chan error, 1)
	go func() {
		_, err := b.Run(context.Background(), shell("echo $$; sleep 1000"), out)
		result <- err
	}()
	all := pids(t, <-out.saw)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil {
		t.Error("the command ended well")
	}
	if left := alive(all); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	b.End(t.Context(), worker.DropDir)
	if _, err := os.Stat(b.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory is still there: %v", err)
	}
}
