package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/worker"
)

// TestLostWorker: a lost connection makes the build RETRY and the request
// pending again, max_retries times; then both are EXCEPTION, and say why.
func TestLostWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "lose"), step("cleanup", "true", always)))
		r.fleet.on("lose", loses(time.Second))
		r.start()
		req, last := r.want(r.build("b"), build.Exception)
		builds := r.builds(req.ID)
		if len(builds) != 4 || req.Attempts != 4 || req.Retries != 4 {
			t.Fatalf("%d builds, %d attempts, %d counted, want 4 of each", len(builds), req.Attempts, req.Retries)
		}
		for i, b := range builds[:3] {
			if b.Result != build.Retry || b.Attempt != i+1 || b.Completed.IsZero() {
				t.Errorf("attempt %d: %s, attempt %d, completed %s", i+1, b.Result, b.Attempt, b.Completed)
			}
			mustContain(t, req.Text, fmt.Sprintf("%d on w: retry: 'work' ", b.Number))
			mustContain(t, r.text(b.ID), "before the loss")
			mustEqual(t, "steps", r.steps(b.ID), []string{"work retry"}) // nothing can be cleaned up there
		}
		if b := builds[3]; b.Result != build.Exception || b.Cause != string(build.CauseRetries) || b.Text != req.Text {
			t.Errorf("the last build: %s, cause %q, %s", b.Result, b.Cause, b.Text)
		}
		if last.Cause != string(build.CauseRetries) || last.ID != builds[3].ID {
			t.Errorf("outcome: build %d, cause %q", last.ID, last.Cause)
		}
		mustContain(t, req.Text, "gave up after 4 attempts", "lost connection")
		if row := r.row(req.ID); row.Text != req.Text || row.Result != build.Exception {
			t.Errorf("on disk: %s, %s", row.Result, row.Text)
		}
	})
}

// TestLostWorkerPlace: a request that comes back goes before younger ones, and
// waits while its worker is away.
func TestLostWorkerPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		first, second := r.build("b"), r.build("b")
		pass(time.Second)
		back := r.fleet.kind("w").lose(true)
		pass(time.Hour)
		if row := r.row(first.ID); row.Retries != 1 || row.Text == "" {
			t.Errorf("lost once: %d retries, text %q", row.Retries, row.Text)
		}
		why, err := r.e.Why(t.Context(), first.ID)
		if err != nil || len(why) != 1 || !strings.Contains(why[0].Reason, "not connected") {
			t.Errorf("why: %v, %v", why, err)
		}
		back()
		a, ab := r.want(first, build.Success)
		_, bb := r.want(second, build.Success)
		if ab.Number != 2 || bb.Number != 3 || a.Text != "build successful" {
			t.Errorf("numbers %d and %d, text %q", ab.Number, bb.Number, a.Text)
		}
	})
}

// TestDeadWorkerIsNotAskedAgain: the loss is known as soon as a build tells it,
// or the retries would be used up before anybody looks.
func TestDeadWorkerIsNotAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "once")))
		var back func()
		r.fleet.on("once", func(c *fakeCommand) (worker.Exit, error) {
			if c.env("BOTHY_ATTEMPT") != "1" {
				return worker.Exit{}, nil
			}
			back = c.build.conn.kind.lose(true)
			return worker.Exit{}, worker.ErrLost
		})
		r.start()
		k := r.build("b")
		pass(time.Minute)
		back()
		if req, _ := r.want(k, build.Success); req.Attempts != 2 {
			t.Errorf("%d attempts, want 2", req.Attempts)
		}
	})
}

// TestPlannedStops: what the operator does to the master is not held against
// the request.
func TestPlannedStops(t *testing.T) {
	for _, mode := range []StopMode{Requeue, AtOnce} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, oneBuilder(step("work", "work 1h")))
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				id := r.build("b").ID
				for n := 1; n <= 6; n++ {
					pass(time.Minute)
					began := time.Now()
					r.stop(mode)
					if d, want := time.Since(began), map[StopMode]time.Duration{Requeue: 10 * time.Second}[mode]; d != want {
						t.Errorf("the stop took %s, want %s", d, want)
					}
					r.start()
					if row := r.row(id); row.Retries != 0 {
						t.Fatalf("stop %d: %d retries", n, row.Retries)
					}
				}
				pass(2 * time.Hour)
				row := r.row(id)
				if row.Result != build.Success || row.Attempts != 7 {
					t.Errorf("%s after %d attempts: %s", row.Result, row.Attempts, row.Text)
				}
				if b := r.builds(id)[0]; b.Result != build.Retry || !strings.Contains(b.Text, "the master is stopping") {
					t.Errorf("first build: %s, %s", b.Result, b.Text)
				}
			})
		})
	}
}

// TestCrashes: a build may be the cause of a crash, so crashes count.
func TestCrashes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			if err := c.print("", "half a line"); err != nil {
				return worker.Exit{}, err
			}
			exit, err, _ := c.sleep(time.Hour)
			return exit, err
		})
		r.start()
		id := r.build("b").ID
		for n := 1; n <= 4; n++ {
			pass(time.Minute)
			if row := r.row(id); row.Attempts != n {
				t.Fatalf("%d attempts before crash %d", row.Attempts, n)
			}
			r.crash(false)
			r.start()
			settle()
			if row := r.row(id); row.Retries != n {
				t.Errorf("%d retries after %d crashes", row.Retries, n)
			}
		}
		row := r.row(id)
		if row.Result != build.Exception || !strings.HasPrefix(row.Text, "gave up after 4 attempts; 1 on w: retry: the master ended") {
			t.Errorf("%s, %s", row.Result, row.Text)
		}
		builds := r.builds(id)
		if b := builds[3]; len(builds) != 4 || b.Result != build.Exception || b.Cause != string(build.CauseRetries) {
			t.Errorf("%d builds, the last is %s, cause %q", len(builds), b.Result, b.Cause)
		}
		for _, b := range builds {
			mustContain(t, r.text(b.ID), "half a line")
			mustEqual(t, "steps", r.steps(b.ID), []string{"work retry"})
		}
	})
}

// TestMaxRetriesOff: zero retries are zero.
func TestMaxRetriesOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "lose"))
		conf.Builders[0].MaxRetries = config.Off
		r := newRig(t, conf)
		r.fleet.on("lose", loses(0))
		r.start()
		if req, _ := r.want(r.build("b"), build.Exception); req.Attempts != 1 {
			t.Errorf("%d attempts", req.Attempts)
		}
	})
}

// TestCancelWhileLost: a cancel that comes when the build is on its way back to
// the queue is not lost with it.
func TestCancelWhileLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		k := r.build("b")
		pass(time.Second)
		r.e.Stop(Requeue) // the build is now RETRY, and has 10 s of grace
		if err := r.e.Cancel(t.Context(), k.ID, "not needed", false); err != nil {
			t.Fatal(err)
		}
		r.ended()
		r.start()
		pass(time.Minute)
		row := r.row(k.ID)
		if row.Result != build.Cancelled || !strings.Contains(row.Text, "not needed") || row.Attempts != 1 {
			t.Errorf("%s, %s, %d attempts", row.Result, row.Text, row.Attempts)
		}
	})
}

// TestPreparationFails: the worker is to blame, and step 0 says what happened.
func TestPreparationFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.fleet.prepare = func(worker.BuildSpec) error { return errors.New("git: no such branch") }
		r.start()
		req, b := r.want(r.build("b"), build.Exception)
		if b.Cause != string(build.CauseWorker) {
			t.Errorf("cause %q", b.Cause)
		}
		if want := "exception: worker w could not prepare the build: git: no such branch"; req.Text != want {
			t.Errorf("text %q, want %q", req.Text, want)
		}
		mustContain(t, r.text(b.ID), "no such branch")
		mustEqual(t, "steps", r.steps(b.ID), []string{"worker_preparation exception"})

		r.fleet.prepare = func(worker.BuildSpec) error { return worker.ErrLost }
		if req, _ := r.want(r.build("b"), build.Exception); req.Attempts != 4 || !strings.Contains(req.Text, "gave up after 4 attempts") {
			t.Errorf("%d attempts: %s", req.Attempts, req.Text)
		}
	})
}

// TestAttachRetry: a worker that cannot attach is asked again every 10 s.
func TestAttachRetry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "true"))
		conf.Workers = append(conf.Workers, config.Worker{Name: "local"})
		conf.Builders[0].Workers = []string{"w"}
		r := newRig(t, conf)
		r.open()
		for _, name := range []string{"w", "local"} {
			r.fleet.kind(name).refuse = errors.New("no licence")
		}
		go r.e.Run()
		r.running = true
		k := r.build("b")
		pass(25 * time.Second)
		why, err := r.e.Why(t.Context(), k.ID)
		if err != nil || len(why) != 1 || !strings.Contains(why[0].Reason, "no licence") {
			t.Errorf("why: %v, %v", why, err)
		}
		for _, name := range []string{"w", "local"} {
			kind := r.fleet.kind(name)
			r.fleet.mu.Lock()
			if kind.attempts != 3 {
				t.Errorf("%s: %d attempts to attach in 25 s, want 3", name, kind.attempts)
			}
			kind.refuse = nil
			r.fleet.mu.Unlock()
		}
		began := time.Now()
		r.want(k, build.Success)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("it took %s until the worker was asked again, want 5s", d)
		}
	})
}

// TestReleasedAtTheEnd: an attach that comes back too late leaves no connection.
func TestReleasedAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		settle()
		kind := r.fleet.kind("w")
		back := kind.lose(true)
		settle()
		r.on(func(l *loop) {
			back()
			time.Sleep(time.Second) // the connection is there, the loop has not heard of it
			l.stop(AtOnce)
		})
		r.ended()
		if !kind.released.Load() || kind.conn.Err() == nil {
			t.Error("the connection is open after the engine's end")
		}
	})
}

// oom is a script that the kernel ends for want of memory unless enough is planned.
func oom(enough int64, o worker.OOM) script {
	return func(c *fakeCommand) (worker.Exit, error) {
		if c.build.spec.Need.Memory >= enough {
			return worker.Exit{}, nil
		}
		return worker.Exit{Code: 137, OOM: &o}, nil
	}
}

// TestOOM: the whole build runs again once with more memory, then it failed.
func TestOOM(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		name     string
		enough   int64
		oom      worker.OOM
		result   build.Result
		attempts int
		planned  int64 // the second time
		text     []string
	}{
		{"enough the second time", 2 * gib, worker.OOM{Certain: true, At: gib, Limit: gib}, build.Success, 2, 2 * gib, nil},
		{"never enough", 99 * gib, worker.OOM{Certain: true, At: gib * 39 / 10, Limit: 4 * gib}, build.Failure, 2, gib * 39 / 10 * 3 / 2,
			[]string{"'work' killed by OOM at 3.9 GiB of 4 GiB"}},
		{"perhaps", 99 * gib, worker.OOM{}, build.Failure, 2, 2 * gib, []string{"'work' perhaps killed by OOM"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, onMachine(config.Builder{Name: "b", Steps: []config.Step{step("first", "true"), step("work", "oom")}}))
				r.host.memory = 16 * gib
				r.fleet.on("oom", oom(tt.enough, tt.oom))
				r.start()
				req, last := r.want(r.build("b"), tt.result)
				if req.Attempts != tt.attempts || req.Retries != 0 {
					t.Errorf("%d attempts, %d counted", req.Attempts, req.Retries)
				}
				mustContain(t, req.Text, tt.text...)
				builds := r.builds(req.ID)
				if b := builds[0]; b.Result != build.Retry || b.Cause != string(build.CauseOOM) {
					t.Errorf("first build: %s, cause %q, %s", b.Result, b.Cause, b.Text)
				}
				mustContain(t, builds[0].Text, "OOM", "running again with")
				if len(r.host.needs) != 2 || r.host.needs[1].Memory != tt.planned {
					t.Errorf("planned %v, want %d the second time", r.host.needs, tt.planned)
				}
				if got := r.steps(last.ID); len(got) != 2 || got[0] != "first success" {
					t.Errorf("steps of the second build: %q", got)
				}
			})
		})
	}
}

// TestOOMOfAGrandchild: the step returned 0, and the kernel is sure all the same.
func TestOOMOfAGrandchild(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, onMachine(config.Builder{Name: "b", NoCollapse: true, Steps: []config.Step{step("work", "oom")}}))
		o := &worker.OOM{Certain: true}
		r.fleet.on("oom", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{OOM: o}, nil })
		r.start()
		r.want(r.build("b"), build.Failure)
		o.Certain = false // it may as well have been somebody else's
		r.want(r.build("b"), build.Success)
	})
}

// TestLearnedMemory: what good builds used is planned for the next ones.
func TestLearnedMemory(t *testing.T) {
	const mib = 1 << 20
	inBubble(t, func(t *testing.T) {
		conf := onMachine(
			config.Builder{Name: "b", NoCollapse: true, Steps: []config.Step{step("work", "work")}},
			config.Builder{Name: "told", NoCollapse: true, Memory: 300 * mib, Steps: []config.Step{step("work", "work")}},
		)
		conf.Machine.MemoryPerBuild = 500 * mib
		r := newRig(t, conf)
		var peak int64
		var code int
		r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) {
			return worker.Exit{Code: code, Usage: worker.Usage{PeakMemory: peak}}, nil
		})
		r.start()
		run := func(builder string, used int64, status int) (planned int64) {
			peak, code = used, status
			r.wait(r.build(builder))
			return r.host.needs[len(r.host.needs)-1].Memory
		}
		for i, tt := range []struct {
			used    int64
			status  int
			planned int64
		}{
			{100 * mib, 0, 500 * mib}, // nothing is known
			{900 * mib, 1, 125 * mib}, // a failed build teaches nothing
			{0, 0, 125 * mib},         // nor one whose use is not known
			{40 * mib, 0, 125 * mib},
			{40 * mib, 0, 125 * mib},
			{40 * mib, 0, 125 * mib},
			{40 * mib, 0, 125 * mib}, // fewer than five: the largest and a quarter
			{40 * mib, 0, 100 * mib}, // five
		} {
			if got := run("b", tt.used, tt.status); got != tt.planned {
				t.Errorf("build %d: %d MiB planned, want %d", i+1, got/mib, tt.planned/mib)
			}
		}
		for range 14 {
			run("b", 40*mib, 0)
		}
		if got := run("b", 1, 0); got != 40*mib { // 95 of 100 of the last 20
			t.Errorf("%d MiB planned, want 40", got/mib)
		}
		if got := run("told", 900*mib, 0); got != 300*mib {
			t.Errorf("%d MiB planned, want what the configuration says", got/mib)
		}
		r.stop(Drain)
		r.start()
		if got := run("b", 1, 0); got != 40*mib {
			t.Errorf("%d MiB planned after a restart, want 40", got/mib)
		}
	})
}

// TestLargerThanTheMachine: such a build runs alone.
func TestLargerThanTheMachine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, onMachine(
			config.Builder{Name: "small", NoCollapse: true, Steps: []config.Step{step("work", "work")}},
			config.Builder{Name: "big", NoCollapse: true, Memory: 1 << 40, Steps: []config.Step{step("work", "work")}},
		))
		r.fleet.on("work", sleeps(time.Minute))
		r.fleet.check = func(now []worker.BuildSpec, _ map[string]int) string {
			for _, s := range now {
				if s.Builder == "big" && len(now) > 1 {
					return "the big build does not run alone"
				}
			}
			return ""
		}
		r.start()
		for _, k := range r.submit(Submission{Builder: "small"}, Submission{Builder: "big", Priority: 1}, Submission{Builder: "small"}) {
			r.want(k, build.Success)
		}
	})
}

// TestAnotherRunner: what another runner of the process took is not to be had
// until it says so.
func TestAnotherRunner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := onMachine(config.Builder{Name: "b", NoCollapse: true, Steps: []config.Step{step("work", "true")}})
		conf.Workers = append(conf.Workers, config.Worker{Name: "far", Kind: config.WorkerRemote, MaxBuilds: 1})
		conf.Builders = append(conf.Builders, config.Builder{Name: "far", Workers: []string{"far"}, Steps: []config.Step{step("work", "true")}})
		conf.Builders[0].Workers = []string{"w"}
		r := newRig(t, conf)
		r.host.others = true
		r.start()
		k := r.build("b")
		pass(time.Hour)
		why, err := r.e.Why(context.Background(), k.ID)
		if err != nil || len(why) != 1 || !strings.Contains(why[0].Reason, "another runner") {
			t.Errorf("why: %v, %v", why, err)
		}
		r.want(r.build("far"), build.Success) // has a machine of its own
		r.host.set(func(h *fakeHost) { h.others = false })
		r.want(k, build.Success)

		r.host.set(func(h *fakeHost) { h.blocked = "memory pressure is high" })
		settle()
		k = r.build("b")
		pass(time.Hour)
		if row := r.row(k.ID); row.Attempts != 0 {
			t.Error("a build was started on a blocked machine")
		}
		r.host.set(func(h *fakeHost) { h.blocked = "" })
		r.want(k, build.Success)
	})
}
