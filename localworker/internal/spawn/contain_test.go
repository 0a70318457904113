package spawn_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/localworker/internal/spawn"
	"bothy/runner/worker"
)

// brood starts three kinds of processes that try to outlive their parent, all
// of which sleep for m seconds.
func brood(m string) string {
	return strings.ReplaceAll(`setsid sleep @ & sleep @ & nohup sh -c 'trap "" TERM; sleep @; :' & `, "@", m)
}

// grown waits until n processes sleep for m seconds; in a brood these are three,
// one of which has a shell for a parent.
func grown(t *testing.T, m string, n int) {
	t.Helper()
	until(t, 10*time.Second, "brood of "+m, func() bool {
		found := 0
		for _, l := range living(t, m) {
			if strings.HasPrefix(l, "sleep ") {
				found++
			}
		}
		return found == n
	})
}

func TestCancelLeavesNobody(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		rec, started := expect("ready")
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		go func() {
			defer cancel()
			<-started
			grown(t, m, 3)
			at = time.Now()
		}()
		cmd := sh(brood(m) + "echo ready; wait")
		x, err := b.Run(ctx, cmd, rec)
		took := time.Since(at)
		if err != nil || x.Stopped != worker.Cancelled {
			t.Fatalf("%+v, %v", x, err)
		}
		nobody(t, m)
		if limit := cmd.SigtermTime + time.Second; took > limit {
			t.Errorf("took %v, allowed are %v", took, limit)
		}
		if n := strings.Count(names(x.Ended), m); n != 4 {
			t.Errorf("ended %s, want 4 processes", names(x.Ended))
		}
		if got := end(t, b); len(got.Ended) != 0 {
			t.Errorf("End ended %s", names(got.Ended))
		}
	})
}

func TestDaemonsLiveUntilEnd(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		rec := &record{}
		x := run(t, b, sh(brood(m)+"echo out; echo err >&2"), rec)
		if x.Code != 0 || len(x.Ended) != 0 || rec.text("o") != "out\n" {
			t.Fatalf("%+v, output %q", x, rec.text("o"))
		}
		grown(t, m, 3)

		// The next command, and its cancellation, leave them alone.
		rec, started := expect("ready")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-started
			cancel()
		}()
		other := mark()
		cmd := sh("setsid sleep " + other + " & echo ready; sleep " + other)
		x, err := b.Run(ctx, cmd, rec)
		if err != nil || x.Stopped != worker.Cancelled {
			t.Fatalf("%+v, %v", x, err)
		}
		nobody(t, other)
		if l := living(t, m); len(l) != 4 {
			t.Errorf("after the cancellation of another command %q live", l)
		}

		got := end(t, b)
		nobody(t, m)
		if n := strings.Count(names(got.Ended), m); n != 4 {
			t.Errorf("ended %s, want 4 processes", names(got.Ended))
		}

		// The spawner is as good as new.
		b = r.begin(t)
		if x := run(t, b, sh("exit 6"), &record{}); x.Code != 6 {
			t.Errorf("%+v", x)
		}
		end(t, b)
	})
}

// Who writes to an inherited output for ever does not keep a command alive.
func TestEndsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, tty := range []bool{false, true} {
			b := r.begin(t)
			cmd := sh(`setsid sh -c 'trap "" PIPE; while :; do echo y; done' 2>/dev/null & sleep 0.05; exit 0`)
			cmd.PTY = tty
			x := run(t, b, cmd, sinkFunc(func([]byte) error { return nil }))
			if x.Code != 0 || x.Stopped != "" {
				t.Errorf("%+v", x)
			}
			got := end(t, b)
			if len(got.Ended) != 1 || !strings.Contains(got.Ended[0].Name, "echo y") {
				t.Errorf("ended %s", names(got.Ended))
			}
		}
	})
}

func TestCommandsForkAgainstTheKill(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		rec, started := expect("ready")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-started
			cancel()
		}()
		cmd := sh(strings.ReplaceAll(`trap "" TERM
			loop() { i=0; while [ $i -lt 2000 ]; do (setsid sleep @ &); i=$((i+1)); done; sleep @; }
			loop & loop & echo ready; loop`, "@", m))
		cmd.SigtermTime = 100 * time.Millisecond
		x, err := b.Run(ctx, cmd, rec)
		if err != nil || x.Stopped != worker.Cancelled || x.Signal != "SIGKILL" {
			t.Errorf("%v, signal %s, %v", x.Stopped, x.Signal, err)
		}
		nobody(t, m)
		end(t, b)
	})
}

func TestScrubbedEnvironment(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		if r.method == spawn.Group {
			t.Skip("SKIP: a process that leaves its group and hides its environment escapes method group")
		}
		b := r.begin(t)
		m := mark()
		run(t, b, sh("(setsid env -i sleep "+m+" &)"), &record{})
		until(t, 10*time.Second, "the daemon", func() bool { return len(living(t, m)) == 1 })
		if got := end(t, b); len(got.Ended) != 1 {
			t.Errorf("ended %s", names(got.Ended))
		}
		nobody(t, m)
	})
}

func TestStoppedProcessesEnd(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		run(t, b, sh("setsid sleep "+m+" & kill -STOP $!"), &record{})
		got := end(t, b)
		nobody(t, m)
		if len(got.Ended) != 1 {
			t.Errorf("ended %s", names(got.Ended))
		}
	})
}

func TestKillIsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		rec, started := expect("ready")
		go func() {
			<-started
			b.Kill()
		}()
		cmd := sh(`trap "" TERM; ` + brood(m) + "echo ready; wait")
		cmd.SigtermTime = time.Hour
		if x := run(t, b, cmd, rec); x.Stopped != worker.Cancelled || x.Signal != "SIGKILL" {
			t.Errorf("%+v", x)
		}
		nobody(t, m)
		if x := run(t, b, sh("echo"), sinkFunc(func([]byte) error { return syscall.EINVAL })); x.Stopped != worker.Cancelled {
			t.Errorf("a killed build runs on: %+v", x)
		}
		end(t, b)
	})
}

// Two spawners' processes never mix.
func TestTwoSpawners(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		second, err := r.pool.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		m1, m2 := mark(), mark()
		b1 := r.begin(t)
		b2, err := second.Begin(1000)
		if err != nil {
			t.Fatal(err)
		}
		run(t, b1, sh(brood(m1)), &record{})
		run(t, b2, sh(brood(m2)), &record{})
		grown(t, m1, 3)
		grown(t, m2, 3)
		b1.Kill() // no grace
		end(t, b1)
		nobody(t, m1)
		if l := living(t, m2); len(l) != 4 {
			t.Errorf("of the other spawner's processes %q live", l)
		}
		b2.Kill()
		end(t, b2)
		nobody(t, m2)
	})
}

func TestCloseEndsEverything(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		m := mark()
		rec, started := expect("ready")
		go func() {
			<-started
			r.Close()
		}()
		_, err := b.Run(t.Context(), sh(brood(m)+"echo ready; wait"), rec)
		if r.method != spawn.Group && r.method != spawn.CloneAlone && err == nil {
			t.Error("no error although the spawner was closed")
		}
		until(t, 2*time.Second, "the end of all", func() bool { return len(living(t, m)) == 0 })
		if _, err := b.End(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestUsage(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		const size = 100 << 20
		rec, started := expect("x")
		var sampled int64
		go func() {
			<-started
			until(t, 10*time.Second, "a large sample", func() bool { sampled = b.Sample(); return sampled > size })
			b.Kill()
		}()
		// dd holds its block in memory.
		x := run(t, b, sh("dd if=/dev/zero bs=100M count=1000000 2>/dev/null | (head -c 1 | tr '\\0' x; sleep 1000)"), rec)
		if x.Usage.PeakMemory < size || x.Usage.PeakMemory > 3*size {
			t.Errorf("peak %d MiB, sampled %d MiB", x.Usage.PeakMemory>>20, sampled>>20)
		}
		if got := end(t, b); got.Usage.PeakMemory != x.Usage.PeakMemory {
			t.Errorf("build %+v, step %+v", got.Usage, x.Usage)
		}
		b = r.begin(t)
		x = run(t, b, sh("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"), &record{})
		if x.Usage.CPU < 10*time.Millisecond {
			t.Errorf("CPU %v", x.Usage.CPU)
		}
		end(t, b)
	})
}

func TestOOM(t *testing.T) {
	for _, m := range []spawn.Method{spawn.Clone, spawn.Procs, spawn.Leader} {
		t.Run(string(m), func(t *testing.T) {
			const limit = 64 << 20
			r := open(t, spawn.Options{Only: m, Memory: limit})
			if r.pool.Support().Memory == "" {
				t.Skipf("SKIP: no memory controller to write to: %q", r.pool.Support().Text)
			}
			b := r.begin(t)
			x := run(t, b, sh("exec tail /dev/zero"), &record{})
			if x.Signal != "SIGKILL" || x.OOM == nil || !x.OOM.Certain || x.OOM.Limit != limit || x.OOM.At < limit/2 || x.OOM.At > limit {
				t.Errorf("%+v, %+v", x, x.OOM)
			}
			x = run(t, b, sh("tail /dev/zero; exit 0"), &record{})
			if x.Code != 0 || x.OOM == nil || !x.OOM.Certain {
				t.Errorf("only a grandchild was killed: %+v, %+v", x, x.OOM)
			}
			x = run(t, b, sh("kill -KILL $$"), &record{})
			if x.Signal != "SIGKILL" || x.OOM != nil {
				t.Errorf("killed by itself: %+v, %+v", x, x.OOM)
			}
			end(t, b)
		})
	}
}

// Without a counter a KILL that nobody here sent is perhaps the OOM killer's.
func TestPerhapsOOM(t *testing.T) {
	r := open(t, spawn.Options{Only: spawn.Group})
	b := r.begin(t)
	defer end(t, b)
	x := run(t, b, sh("kill -KILL $$"), &record{})
	if x.OOM == nil || x.OOM.Certain {
		t.Errorf("%+v, %+v", x, x.OOM)
	}
}

func TestOOMScore(t *testing.T) {
	r := open(t, spawn.Options{Only: spawn.Leader})
	b := r.begin(t)
	defer end(t, b)
	rec := &record{}
	run(t, b, sh("cat /proc/self/oom_score_adj"), rec)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	if got := rec.text("o"); got != "500\n" || string(own) == got {
		t.Errorf("score of a command %q, of the master %q", got, own)
	}
}
