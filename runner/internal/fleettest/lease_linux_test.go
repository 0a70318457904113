package fleettest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// alive reports whether the process lives whose number a step has written.
func alive(t testing.TB, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// ticking is a step's line that writes its process's number and prints until it
// may end.
func ticking(dir string) string {
	return fmt.Sprintf("echo $$ >%[1]s/pid.new; mv %[1]s/pid.new %[1]s/pid.$BOTHY_ATTEMPT; while [ ! -e %[1]s/go ]; do echo tick; sleep 0.1; done", dir)
}

// begins waits for an attempt of a ticking step, and for its output.
func (m *master) begins(r int64, attempt int, dir string) buildRow {
	m.t.Helper()
	b := m.build(r, attempt)
	until(m.t, "no output", func() bool {
		_, err := os.Stat(filepath.Join(dir, "pid."+strconv.Itoa(attempt)))
		steps := m.steps(b)
		return err == nil && len(steps) > 0 && strings.Contains(m.log(steps[0]), "otick\n")
	})
	return b
}

// A master that is killed while remote builds run: they are RETRY when the next
// begins, with their logs; their processes end, where the worker sees to it; the
// workers come back and the builds run again.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	breeds := []breed{buildbotPB, buildbotMsgpack, bothyPB, bothyMsgpack}
	root := t.TempDir()
	p := &plan{}
	for i := range breeds {
		name := fmt.Sprint("w", i)
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		p.add(planWorker{Name: name}, planBuilder{Steps: []planStep{{Name: "tick", Run: ticking(dir)}}})
	}
	m := newBothy(t, p, where{})
	requests := make([]int64, len(breeds))
	for i, b := range breeds {
		startPeer(t, b, m, fmt.Sprint("w", i))
		requests[i] = m.ask(fmt.Sprint("w", i))
	}
	for i := range breeds {
		m.begins(requests[i], 1, filepath.Join(root, fmt.Sprint("w", i)))
	}
	m.crash()
	m.launch()
	for i, b := range breeds {
		dir := filepath.Join(root, fmt.Sprint("w", i))
		first := m.ended(requests[i], 1)
		if first.result() != "retry" {
			t.Errorf("%s: the build is %s", b, first.result())
		}
		if log := m.log(m.steps(first)[0]); !strings.Contains(log, "otick\n") {
			t.Errorf("%s: the log of the lost build: %q", b, log)
		}
		m.begins(requests[i], 2, dir)
		if b != buildbotMsgpack { // it leaves them running when its connection is lost
			until(t, string(b)+": the first attempt's process does not end", func() bool { return !alive(t, filepath.Join(dir, "pid.1")) })
		}
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := outcomes(m.done(requests[i])); got != "retry, success" {
			t.Errorf("%s: builds: %s", b, got)
		}
	}
}

// A worker that is suspended for longer than its lease, and then goes on: its
// build has been given to another, nothing that it still has to say is taken, and its
// processes end.
func TestSuspended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := &plan{}
	p.add(planWorker{Name: "elsewhere"})
	p.add(planWorker{Name: "asleep", Lease: lease}, planBuilder{Workers: []string{"asleep", "elsewhere"}, Steps: []planStep{{Name: "tick", Run: ticking(dir)}}})
	m := newBothy(t, p, where{})
	w := startPeer(t, bothyMsgpack, m, "asleep")
	m.connected("asleep", true)
	r := m.ask("asleep")
	m.begins(r, 1, dir)
	w.Signal(syscall.SIGSTOP)
	startPeer(t, bothyMsgpack, m, "elsewhere")
	first := m.ended(r, 1)
	if first.result() != "retry" {
		t.Errorf("the build is %s: %s", first.result(), first.State)
	}
	m.begins(r, 2, dir)
	log := m.log(m.steps(first)[0])
	if !alive(t, filepath.Join(dir, "pid.1")) {
		t.Error("the suspended worker's process has ended by itself: nothing is late")
	}
	w.Signal(syscall.SIGCONT)
	until(t, "the first attempt's process does not end", func() bool { return !alive(t, filepath.Join(dir, "pid.1")) })
	m.connected("asleep", true)
	if got := m.log(m.steps(first)[0]); got != log {
		t.Errorf("the log of the lost build has grown from %d to %d bytes", len(log), len(got))
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(m.done(r)); got != "retry, success" {
		t.Errorf("builds: %s", got)
	}
}

// goesOn waits until output comes of a request's first build, if that has not ended.
func (m *master) goesOn(request int64) {
	m.t.Helper()
	size := func() int {
		if steps := m.steps(m.build(request, 1)); len(steps) > 0 {
			return len(m.log(steps[0]))
		}
		return 0
	}
	before := size()
	until(m.t, "no output comes after the cut", func() bool { return m.build(request, 1).Complete || size() > before })
}

// Cuts that are shorter than the lease, at any moment under load: no build between
// two Bothys notices, and each log is whole to the byte.
func TestCuts(t *testing.T) {
	t.Parallel()
	const count = 50000
	rounds, longest, builds := 4, 3*time.Second, 3
	if soak {
		rounds, longest, builds = 30, 60*time.Second, 6
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var streams atomic.Uint64
	whileCut := func(t *testing.T, m *master, cut func(d time.Duration)) {
		source := rand.New(rand.NewPCG(seed, streams.Add(1)))
		moment := func(least, most time.Duration) time.Duration {
			return least + time.Duration(source.Int64N(int64(most-least)))
		}
		var all []int64
		for range builds {
			all = append(all, m.ask("far"))
		}
		m.build(all[builds-1], 1)
		for range rounds {
			<-time.After(moment(100*time.Millisecond, 2*time.Second))
			cut(moment(time.Second, longest))
			m.goesOn(all[0]) // else one cut follows the other, for longer than the lease
		}
		for _, r := range all {
			m.whole(r, printed(count))
		}
	}
	pauses := int(time.Duration(rounds) * (longest/2 + 5*time.Second) / pause)
	loaded := &plan{}
	loaded.add(planWorker{Name: "far", MaxBuilds: builds}, planBuilder{Steps: []planStep{{Name: "lines", Run: lines(count, pauses)}}})
	for _, f := range []fault{unplugged, dropped} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			m := n.start(loaded)
			n.peer(bothyMsgpack, m, "far", false)
			m.connected("far", true)
			whileCut(t, m, func(d time.Duration) {
				f.begin(n)
				<-time.After(d)
				f.finish(n)
			})
		})
	}
	t.Run("reset and 200 ms", func(t *testing.T) {
		t.Parallel()
		m := newBothy(t, loaded, where{})
		via := newProxy(t, m, 200)
		w := newPeer(t, bothyMsgpack, m, "far", via.addr)
		w.launch()
		m.connected("far", true)
		whileCut(t, m, func(d time.Duration) {
			undo := via.reset()
			<-time.After(d)
			undo()
		})
	})
	t.Run("5 % loss", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		m := n.start(loaded)
		lossy.begin(n)
		n.peer(bothyMsgpack, m, "far", false)
		m.connected("far", true)
		whileCut(t, m, func(d time.Duration) {
			unplugged.begin(n)
			<-time.After(d)
			unplugged.finish(n)
		})
	})
}
