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
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// breaks is a script that cannot be carried out on its worker.
func breaks(*fakeCommand) (worker.Exit, error) { return worker.Exit{}, errors.New("no such device") }

// localBuilder is oneBuilder with a local worker.
func localBuilder(steps ...config.Step) *config.Config {
	c := oneBuilder(steps...)
	c.Workers[0] = config.Worker{Name: "w", MaxBuilds: 2}
	return c
}

// TestQuarantine, scenarios 4, 5 and 6: builds that raise, one after the other,
// put their worker away for 10, 20, 40 … 3600 s; a FAILURE makes it short again.
func TestQuarantine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("compile", "raise")))
		r.fleet.on("raise", breaks)
		r.start()
		r.want(r.build("b"), build.Exception)
		for i, secs := range []int{10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600} {
			d := time.Duration(secs) * time.Second
			k := r.build("b")
			if i == 11 {
				r.fleet.on("raise", exits(1))
			}
			want := fmt.Sprintf("quarantined for %s more: step 'compile' of b #%d: no such device", worker.Countdown(d), i+1)
			if why := r.why(k); why != want {
				t.Errorf("why: %q, want %q", why, want)
			}
			began := time.Now()
			r.wait(k)
			if waited := time.Since(began); waited != d {
				t.Errorf("quarantine %d lasted %s, want %s", i+1, waited, d)
			}
		}
		r.fleet.on("raise", breaks)
		r.want(r.build("b"), build.Exception) // the failure ended the canary
		if q := r.w().State.Quarantine; q.Until.Sub(q.Since) != 10*time.Second {
			t.Errorf("%+v", q)
		}
		for _, lg := range r.journal("w") {
			if lg.What == "quarantined" && (lg.Build == 0 || !strings.Contains(lg.Reason, "step 'compile' of b #")) {
				t.Errorf("%+v", lg)
			}
		}
	})
}

// journal is what was recorded of a worker.
func (r *rig) journal(name string) []store.Entry {
	r.t.Helper()
	p, err := r.store.SelectJournal(r.t.Context(), store.Select{Limit: store.NoLimit})
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(p.Rows, func(e store.Entry) bool { return e.Kind != aboutWorker || e.Name != name })
}

// TestQuarantineTriggers: what is the worker's fault, and what is not.
func TestQuarantineTriggers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*rig)
		result   build.Result
		cause    build.Cause
		evidence string
	}{
		{"prepare", func(r *rig) {
			r.fleet.prepare = func(worker.BuildSpec) error { return errors.New("no room for a directory") }
		}, build.Exception, build.CauseWorker, "b #1: worker w could not prepare the build: no room for a directory"},
		{"panic", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{}, errors.New("spawner died") })
		}, build.Exception, build.CauseWorker, "step 'work' of b #1: spawner died"},
		{"decode_rc", func(r *rig) {
			r.conf.Builders[0].Steps[0].DecodeRC = map[int]build.Result{3: build.Exception}
			r.fleet.on("work", exits(3))
		}, build.Exception, build.CauseStep, "step 'work' of b #1: exception (exit 3)"},
		{"failure", func(r *rig) { r.fleet.on("work", exits(1)) }, build.Failure, "", ""},
		{"not started", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{}, worker.ErrStart })
		}, build.Failure, "", ""},
		{"secret", func(r *rig) {
			r.conf.Builders[0].Steps[0].Env = map[string]string{"X": "%(secret:none)s"}
		}, build.Exception, build.CauseConfig, ""},
		{"output", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) {
				return worker.Exit{Stopped: worker.SinkFailed, SinkErr: logsFull()}, nil
			})
		}, build.Exception, build.CauseDisk, ""},
		{"no room to prepare", func(r *rig) {
			r.fleet.prepare = func(worker.BuildSpec) error { return fmt.Errorf("make the directory: %w", logsFull()) }
		}, build.Exception, build.CauseDisk, ""},
		{"lost until given up", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{}, worker.ErrLost })
		}, build.Exception, build.CauseRetries, ""},
		{"a fault of ours", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) { panic("oh no") })
		}, build.Exception, build.CauseMaster, ""},
		{"cancelled", func(r *rig) {
			r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
				go r.e.CancelRequest(context.Background(), 1, "ana", "")
				exit, err, _ := c.sleep(time.Hour)
				return exit, err
			})
		}, build.Cancelled, "", ""},
		{"oom", func(r *rig) {
			r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) {
				return worker.Exit{Code: 137, OOM: &worker.OOM{Certain: true}}, nil
			})
		}, build.Failure, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, localBuilder(step("work", "work")))
				tt.change(r)
				r.start()
				_, b := r.want(r.build("b"), tt.result)
				if b.Cause != string(tt.cause) {
					t.Errorf("cause %q", b.Cause)
				}
				q := r.w().State.Quarantine
				if q.Reason != tt.evidence || r.w().State.Quarantined() != (tt.evidence != "") {
					t.Errorf("%+v, want %q", q, tt.evidence)
				}
			})
		})
	}
}

// TestUnpauseEndsQuarantine, scenarios 7 and 8: with and without a pause before,
// at once, all slots open, and the doubled delay kept.
func TestUnpauseEndsQuarantine(t *testing.T) {
	for _, pause := range []bool{false, true} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, localBuilder(step("work", "raise")))
				r.fleet.on("raise", breaks)
				r.start()
				r.want(r.build("b"), build.Exception)
				if pause {
					r.control(worker.Pause)
					if w := r.w(); !w.State.Quarantined() {
						t.Error("a pause ends a quarantine")
					}
				}
				r.fleet.on("raise", sleeps(time.Minute))
				a, b := r.build("b"), r.build("b")
				began := time.Now()
				r.control(worker.Unpause)
				r.want(a, build.Success)
				r.want(b, build.Success)
				if d := time.Since(began); d != time.Minute {
					t.Errorf("two builds took %s: not at once, or not side by side", d)
				}
				r.fleet.on("raise", breaks)
				r.want(r.build("b"), build.Exception)
				if q := r.w().State.Quarantine; q.Until.Sub(q.Since) != 10*time.Second {
					t.Errorf("after good builds: %+v", q)
				}
				r.control(worker.Unpause)
				r.want(r.build("b"), build.Exception)
				if q := r.w().State.Quarantine; q.Until.Sub(q.Since) != 20*time.Second {
					t.Errorf("the doubled delay is lost: %+v", q)
				}
			})
		})
	}
}

// TestCanary: after a quarantine one build runs alone; when it is good, all
// slots are open again.
func TestCanary(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", breaks)
		r.start()
		r.want(r.build("b"), build.Exception)
		r.fleet.on("work", sleeps(time.Minute))
		ks := r.submit(Submission{Builder: "b"}, Submission{Builder: "b"}, Submission{Builder: "b"})
		pass(11 * time.Second)
		if why := r.why(ks[1]); why != "tries one build after its quarantine: step 'work' of b #1: no such device" {
			t.Errorf("why: %q", why)
		}
		if w := r.w(); len(w.Builds) != 1 || w.State.Quarantine.Canary != w.Builds[0] {
			t.Errorf("%+v", w)
		}
		began := time.Now()
		if err := r.e.StopBuild(t.Context(), r.w().Builds[0], "ana", "not this one"); err != nil {
			t.Fatal(err)
		}
		settle()
		if w := r.w(); len(w.Builds) != 1 || w.State.Quarantine.Phase != worker.QuarantineTesting {
			t.Errorf("after a canary that was cancelled: %+v", w.State.Quarantine)
		}
		r.want(ks[1], build.Success)
		pass(0)
		if w := r.w(); len(w.Builds) != 1 || w.State.Quarantine.Phase != worker.QuarantineNone {
			t.Errorf("after a good canary: %+v", w)
		}
		more := r.build("b")
		settle()
		if w := r.w(); len(w.Builds) != 2 {
			t.Errorf("%d builds run", len(w.Builds))
		}
		r.want(ks[2], build.Success)
		r.want(more, build.Success)
		if d := time.Since(began); d != 10*time.Second+2*time.Minute {
			t.Errorf("it took %s", d)
		}
	})
}

// TestQuarantineOverRestart: it goes on with the time that remains.
func TestQuarantineOverRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", breaks)
		r.start()
		r.want(r.build("b"), build.Exception)
		r.want(r.build("b"), build.Exception)
		k := r.build("b")
		pass(5 * time.Second)
		r.crash(false)
		pass(5 * time.Second)
		r.start()
		began := time.Now()
		if why := r.why(k); why != "quarantined for 10 s more: step 'work' of b #2: no such device" {
			t.Errorf("why: %q", why)
		}
		r.fleet.on("work", nil)
		r.want(&Ticket{k.ID, r.pending(k.ID)}, build.Success)
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("it took %s", d)
		}
	})
}
