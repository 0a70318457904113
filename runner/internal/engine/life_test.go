package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// control asks something of worker "w".
func (r *rig) control(a worker.Action) {
	r.t.Helper()
	if err := r.e.ControlWorker(r.t.Context(), "w", a, "ana", "disk swap"); err != nil {
		r.t.Fatal(err)
	}
}

// w is worker "w" as others see it.
func (r *rig) w() *WorkerView {
	r.t.Helper()
	settle()
	v := r.e.Worker("w")
	if v == nil {
		r.t.Fatal("there is no worker w")
	}
	return v
}

// why is what keeps a request from worker "w".
func (r *rig) why(k *Ticket) string {
	r.t.Helper()
	reasons, err := r.e.Why(r.t.Context(), k.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(reasons, func(q queue.Reason) bool { return q.Worker == "w" })
	if i < 0 {
		r.t.Fatalf("request %d: nothing about w in %v", k.ID, reasons)
	}
	return reasons[i].Reason
}

// TestPause, scenario 9: the build finishes, nothing new starts, and a restart of
// the master keeps the pause, with who, why and since when.
func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		first := r.build("b")
		pass(time.Second)
		r.control(worker.Pause)
		since := r.w().State.Paused.Since
		second := r.build("b")
		r.want(first, build.Success)
		pass(time.Hour)
		if why := r.why(second); why != "paused by ana: disk swap" {
			t.Errorf("why: %q", why)
		}
		r.stop(Requeue)
		r.start()
		pass(time.Hour)
		if p := r.w().State.Paused; p.By != "ana" || p.Reason != "disk swap" || !p.Since.Equal(since) {
			t.Errorf("%+v", p)
		}
		r.control(worker.Unpause)
		r.want(&Ticket{second.ID, r.pending(second.ID)}, build.Success)
	})
}

// TestTerminalIgnoresStates: bothy run without a server neither heeds nor writes
// what was said of workers.
func TestTerminalIgnoresStates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", breaks)
		r.start()
		r.want(r.build("b"), build.Exception)
		r.control(worker.Pause)
		before := r.stored("w")
		r.stop(Drain)

		opt := r.opt
		r.opt = func(o *Options) { o.Foreground = true }
		r.start()
		r.on(func(l *loop) { l.sessions["s"] = &session{} })
		for range 3 { // no quarantine either
			k := r.submit(Submission{Builder: "b", Session: "s"})[0]
			began := time.Now()
			r.want(k, build.Exception)
			if time.Since(began) != 0 {
				t.Error("a terminal waits for a worker")
			}
		}
		if err := r.e.ControlWorker(t.Context(), "w", worker.Unpause, "ana", ""); !errors.Is(err, ErrConflict) {
			t.Errorf("unpause: %v", err)
		}
		r.stop(Drain)
		r.opt = opt
		r.start()
		if after := r.stored("w"); after != before {
			t.Errorf("stored %s, before %s", after, before)
		}
	})
}

// stored is a worker's state as it is on disk.
func (r *rig) stored(name string) string {
	r.t.Helper()
	var state string
	r.on(func(l *loop) { state = string(l.registry.workers[name].State) })
	return state
}

// TestStopLocal, scenario 12: an idle local worker is stopped and can be started
// again; a busy one finishes its builds first, and start takes that back.
func TestStopLocal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		r.control(worker.Stop)
		if w := r.w(); w.State.Connected() || w.State.Link != worker.LinkStopped {
			t.Errorf("%+v", w.State)
		}
		k := r.build("b")
		pass(time.Hour)
		if why := r.why(k); why != "stopped by ana: disk swap" {
			t.Errorf("why: %q", why)
		}
		r.control(worker.Stop) // again: nothing
		r.control(worker.Start)
		r.want(k, build.Success)

		r.build("b")
		pass(time.Second)
		r.control(worker.Stop)
		next := r.build("b")
		pass(time.Second)
		if why := r.why(next); why != "ends after its builds, told to by ana: disk swap" {
			t.Errorf("why: %q", why)
		}
		r.control(worker.Start)
		r.want(next, build.Success)
		k = r.build("b")
		r.control(worker.Stop)
		r.want(k, build.Success)
		if w := r.w(); w.State.Link != worker.LinkStopped {
			t.Errorf("%+v", w.State)
		}
		r.stop(Drain)
		r.start()
		r.want(r.build("b"), build.Success) // graceful ends when it attaches anew
	})
}

// TestKillLocal, scenario 13: the builds of a killed local worker are RETRY
// within a second and do not count; it is stopped until somebody starts it.
func TestKillLocal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work"), step("tidy", "true", always)))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		ks := r.submit(Submission{Builder: "b"}, Submission{Builder: "b"})
		pass(time.Minute)
		for n := range 6 { // more than max_retries
			began := time.Now()
			r.control(worker.Kill)
			if d := time.Since(began); d > time.Second {
				t.Errorf("kill took %s", d)
			}
			if w := r.w(); w.State.Link != worker.LinkStopped || len(w.Builds) != 0 {
				t.Errorf("%+v", w)
			}
			if used := r.host.inUse(); used != 0 {
				t.Errorf("%d builds hold the machine", used)
			}
			for _, k := range ks {
				row := r.row(k.ID)
				builds := r.builds(k.ID)
				if row.State != store.Pending || row.Retries != 0 || len(builds) != n+1 || builds[n].Result != build.Retry {
					t.Fatalf("request %+v, builds %+v", row, builds)
				}
				mustContain(t, builds[n].Text, "worker w was killed by ana: disk swap")
				// Whether the command or its connection ends first is all the same.
				if s := r.steps(builds[n].ID); len(s) != 1 || s[0] != "work cancelled" && s[0] != "work retry" {
					t.Errorf("steps %q", s)
				}
			}
			pass(time.Hour)
			if why := r.why(ks[0]); why != "stopped by ana: disk swap" {
				t.Errorf("why: %q", why)
			}
			r.control(worker.Start)
			pass(time.Minute)
		}
		r.want(ks[0], build.Success)
		r.want(ks[1], build.Success)
		if !slices.ContainsFunc(r.journal("w"), func(e store.Entry) bool {
			return e.What == "stopped" && e.Who == "ana" && e.Reason == "disk swap"
		}) {
			t.Errorf("journal: %+v", r.journal("w"))
		}
	})
}

// TestKillDoesNotWait: a build whose end hangs is recorded without it, and what
// it still says does not count; its slot is free when it comes back.
func TestKillDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		first := true
		r.fleet.ending = func(worker.BuildSpec) {
			if first {
				first = false
				time.Sleep(30 * time.Second) // a directory that takes long to remove
			}
		}
		r.start()
		k := r.build("b")
		pass(time.Minute)
		began := time.Now()
		r.control(worker.Kill)
		if d := time.Since(began); d > time.Second {
			t.Errorf("kill took %s", d)
		}
		if b := r.builds(k.ID); len(b) != 1 || b[0].Result != build.Retry {
			t.Errorf("%+v", b)
		}
		if used := r.host.inUse(); used != 1 {
			t.Errorf("%d builds hold the machine", used)
		}
		r.control(worker.Start)
		pass(time.Second)
		if why := r.why(k); why != "its last build has not ended yet" {
			t.Errorf("why: %q", why)
		}
		req, _ := r.want(k, build.Success)
		if req.Attempts != 2 || req.Retries != 0 {
			t.Errorf("%d attempts, %d retries", req.Attempts, req.Retries)
		}
		if d := time.Since(began); d < 30*time.Second+time.Hour || d > 31*time.Second+time.Hour {
			t.Errorf("it took %s", d)
		}
	})
}

// TestStopRemote, scenarios 10 and 11: the worker's process is told to end when
// it is idle; the flag stands until it attaches anew.
func TestStopRemote(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		settle()
		w := r.fleet.kind("w")
		r.control(worker.Stop)
		pass(time.Second)
		if v := r.w(); v.State.Connected() || !v.State.Graceful.Set() || w.told.Load() != 1 {
			t.Errorf("told %d times; %+v", w.told.Load(), v.State)
		}
		for _, a := range []worker.Action{worker.Stop, worker.Kill} {
			if err := r.e.ControlWorker(t.Context(), "w", a, "ana", ""); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "not connected") {
				t.Errorf("%s: %v", a, err)
			}
		}
		pass(time.Hour)
		w.comes()
		pass(time.Second)
		if v := r.w(); !v.State.Connected() || v.State.Graceful.Set() {
			t.Errorf("%+v", v.State)
		}
		k := r.build("b")
		pass(time.Second)
		r.control(worker.Stop)
		pass(30 * time.Second)
		if w.told.Load() != 1 {
			t.Error("a busy worker was told to end")
		}
		r.want(k, build.Success)
		pass(time.Second)
		if v := r.w(); v.State.Connected() || w.told.Load() != 2 {
			t.Errorf("told %d times; %+v", w.told.Load(), v.State)
		}
	})
}

// TestKillRemote, scenario 1: builds are RETRY within a second and wait for a
// worker; one that does not obey is cut off after a second.
func TestKillRemote(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		t.Run(fmt.Sprint(stubborn), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, oneBuilder(step("work", "work")))
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				w := r.fleet.kind("w")
				w.stubborn.Store(stubborn)
				k := r.build("b")
				pass(time.Minute)
				began := time.Now()
				r.control(worker.Kill)
				if d := time.Since(began); d > time.Second {
					t.Errorf("kill took %s", d)
				}
				if row, b := r.row(k.ID), r.builds(k.ID); b[0].Result != build.Retry || row.Retries != 0 {
					t.Errorf("%+v, %+v", row, b[0])
				}
				if w.told.Load() != 1 {
					t.Errorf("told %d times", w.told.Load())
				}
				if stubborn {
					if w.closed.Load() != 1 {
						t.Errorf("closed %d times", w.closed.Load())
					}
				} else {
					pass(time.Hour)
					if why := r.why(k); !strings.HasPrefix(why, "not connected: told to end by ana: disk swap") {
						t.Errorf("why: %q", why)
					}
					w.comes()
				}
				r.want(k, build.Success)
			})
		})
	}
}

// TestConnectedIsNotRestored, the second half of scenario 17.
func TestConnectedIsNotRestored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.start()
		pass(time.Minute)
		if v := r.w(); !v.State.Connected() || v.LastSeen.IsZero() || v.Info["os_id"] != "test" {
			t.Errorf("%+v", v)
		}
		r.fleet.kind("w").lose(true)
		r.crash(false)
		attach := r.fleet.attach
		r.opt = func(o *Options) {
			o.Attach = func(w config.Worker) (worker.Kind, error) {
				k, err := attach(w)
				k.(*fakeKind).away = make(chan struct{})
				return k, err
			}
		}
		r.start()
		if v := r.w(); v.State.Connected() || v.LastSeen.IsZero() || v.Info["os_id"] != "test" || v.State.Loss.Phase != worker.LossOpen {
			t.Errorf("%+v", v)
		}
		r.fleet.kind("w").comes()
		r.want(r.build("b"), build.Success)
	})
}

// TestReadyAfterItsInfoIsStored: a worker takes no build before what it said
// about itself is on disk.
func TestReadyAfterItsInfoIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		pass(time.Second)
		back := r.fleet.kind("w").lose(true)
		k := r.build("b")
		r.disk.fail(errNoDisk)
		back()
		pass(time.Minute)
		if v := r.w(); v.State.Connected() {
			t.Errorf("%+v", v.State)
		}
		r.disk.fail(nil)
		r.want(k, build.Success)
	})
}

// TestControlIsOnDisk: an action is answered when it is on disk, and not before.
func TestControlIsOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "true")))
		r.start()
		pass(time.Second)
		r.disk.fail(errNoDisk)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := r.e.ControlWorker(ctx, "w", worker.Pause, "ana", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("pause while nothing can be recorded: %v", err)
		}
		r.disk.fail(nil)
		pass(2 * time.Second)
		r.control(worker.Pause)
		r.crash(false)
		r.start()
		if !r.w().State.Paused.Set() {
			t.Error("the pause is lost")
		}
		for _, tt := range []struct {
			name   string
			action worker.Action
			err    error
		}{{"x", worker.Pause, ErrUnknown}, {"w", "attached", nil}, {"w", "", nil}} {
			err := r.e.ControlWorker(t.Context(), tt.name, tt.action, "", "")
			if err == nil || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%s %s: %v", tt.action, tt.name, err)
			}
		}
	})
}

// TestWorkersAreListed: in the order of their ids, which stay.
func TestWorkersAreListed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := localBuilder(step("work", "work"))
		conf.Workers = append(conf.Workers, config.Worker{Name: "a"}, config.Worker{Name: "r", Kind: config.WorkerRemote})
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		settle()
		list := func() (names []string) {
			for _, v := range r.e.Workers() {
				names = append(names, fmt.Sprint(v.ID, " ", v.Name, " ", v.Kind, " ", v.State.Connected(), " ", v.Blocked(time.Now())))
			}
			return names
		}
		mustEqual(t, "workers", list(), []string{"1 w local true ", "2 a local true ", "3 r remote true "})
		k := r.submit(Submission{Builder: "b", Worker: "a"})[0]
		settle()
		if v := r.e.Worker("a"); len(v.Builds) != 1 || v.State.Builds != 1 {
			t.Errorf("%+v", v)
		}
		r.want(k, build.Success)
		settle()
		if v := r.e.Worker("a"); len(v.Builds) != 0 || v.State.Builds != 0 {
			t.Errorf("%+v", v)
		}
		r.stop(Drain)

		r.conf = complete(t, &config.Config{Workers: []config.Worker{{Name: "new"}, {Name: "r"}}, Builders: conf.Builders})
		r.start()
		settle()
		mustEqual(t, "workers", list(), []string{"3 r local true ", "4 new local true "})
		var known []string
		for _, w := range r.e.KnownWorkers() {
			known = append(known, fmt.Sprint(w.ID, w.Name, w.Removed.IsZero()))
		}
		mustEqual(t, "known", known, []string{"1wfalse", "2afalse", "3rtrue", "4newtrue"})
	})
}
