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
	"bothy/runner/worker"
)

func cancel(t *testing.T, r *rig, k *Ticket, now bool) {
	t.Helper()
	if err := r.e.Cancel(t.Context(), k.ID, "not needed", now); err != nil {
		t.Fatal(err)
	}
}

// TestAlwaysRun: after a cancel the always_run steps run, all of them within
// cleanup_time; with now none does.
func TestAlwaysRun(t *testing.T) {
	const grace = 10 * time.Second // of a step that ignores TERM
	for _, tt := range []struct {
		name  string
		steps []config.Step
		now   bool
		again time.Duration // a second cancel, with now, comes so long after the first
		clean time.Duration // configured; 0: the default
		want  []string
		took  time.Duration
	}{
		{"runs after a cancel", []config.Step{step("work", "sleep 1h"), step("more", "true"), step("tidy", "sleep 5s", always)}, false, 0, 0,
			[]string{"work cancelled", "tidy success"}, grace + 5*time.Second},
		{"cut after a minute", []config.Step{step("work", "sleep 1h"), step("tidy", "sleep 1h", always), step("last", "true", always)}, false, 0, 0,
			[]string{"work cancelled", "tidy cancelled"}, grace + time.Minute + grace},
		{"the minute is for all together", []config.Step{step("work", "sleep 1h"), step("a", "sleep 40s", always), step("b", "sleep 40s", always)}, false, 0, 0,
			[]string{"work cancelled", "a success", "b cancelled"}, grace + time.Minute + grace},
		{"configured", []config.Step{step("work", "sleep 1h"), step("tidy", "sleep 90s", always)}, false, 0, 2 * time.Minute,
			[]string{"work cancelled", "tidy success"}, grace + 90*time.Second},
		{"now", []config.Step{step("work", "sleep 1h"), step("tidy", "true", always)}, true, 0, 0,
			[]string{"work cancelled"}, 0},
		{"a second cancel ends the grace", []config.Step{step("work", "sleep 1h"), step("tidy", "true", always)}, false, time.Second, 0,
			[]string{"work cancelled"}, time.Second},
		{"a second cancel ends the cleaning", []config.Step{step("work", "sleep 1h"), step("tidy", "sleep 1h", always), step("last", "true", always)}, false, grace + time.Second, 0,
			[]string{"work cancelled", "tidy cancelled"}, grace + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				conf := oneBuilder(tt.steps...)
				conf.Builders[0].CleanupTime = tt.clean
				r := newRig(t, conf)
				r.fleet.on("sleep", sleeps(0))
				r.start()
				k := r.build("b")
				pass(time.Minute)
				began := time.Now()
				cancel(t, r, k, tt.now)
				if tt.again > 0 {
					time.Sleep(tt.again)
					cancel(t, r, k, true)
				}
				req, b := r.want(k, build.Cancelled)
				if d := time.Since(began); d != tt.took {
					t.Errorf("it took %s, want %s", d, tt.took)
				}
				mustContain(t, req.Text, "not needed")
				mustEqual(t, "steps", r.steps(b.ID), tt.want)
				if b.Kept != "" {
					t.Errorf("the directory of a cancelled build was kept at %s", b.Kept)
				}
			})
		})
	}
}

// TestAlwaysRunAfterFailure: a failure is no stop, nothing bounds the cleaning.
func TestAlwaysRunAfterFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "fail"), step("more", "true"), step("tidy", "sleep 2h", always)))
		r.fleet.on("fail", exits(1))
		r.fleet.on("sleep", sleeps(0))
		r.fleet.left["b"] = []worker.Process{{PID: 7, Name: "postgres"}, {PID: 8, Name: "redis"}}
		r.start()
		req, b := r.want(r.build("b"), build.Failure)
		mustEqual(t, "steps", r.steps(b.ID), []string{"work failure", "tidy success"})
		mustContain(t, req.Text, "failed: 'work' failure (exit 1)")
		mustContain(t, r.text(b.ID), "ended 2 left-over processes: postgres (7), redis (8)")
		mustEqual(t, "receipt", b.Ended, []string{"postgres (7)", "redis (8)"})
		if b.Kept == "" {
			t.Error("the directory of a failed build was not kept")
		}
	})
}

// TestCancelPending: a request that does not run is finished at once, and that
// is on disk when Cancel returns.
func TestCancelPending(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		first, second := r.build("b"), r.build("b")
		settle()
		r.disk.fail(errNoDisk)
		soon, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := r.e.Cancel(soon, second.ID, "x", false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancel that cannot be recorded: %v", err)
		}
		r.disk.fail(nil)
		r.want(second, build.Cancelled)
		if row := r.row(second.ID); row.Result != build.Cancelled || row.Attempts != 0 {
			t.Errorf("%s after %d attempts", row.Result, row.Attempts)
		}
		if err := r.e.Cancel(t.Context(), second.ID, "x", false); !errors.Is(err, ErrUnknown) {
			t.Errorf("cancel of a finished request: %v", err)
		}
		r.want(first, build.Exception) // ran while the disk was full
	})
}

// TestStopModes: a harder stop may follow a softer one, not the reverse.
func TestStopModes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		modes  []StopMode // one second apart
		took   time.Duration
		result build.Result
	}{
		{"drain", []StopMode{Drain}, 59 * time.Minute, build.Success},
		{"requeue", []StopMode{Requeue}, 11 * time.Second, build.None}, // grace and the always_run step
		{"at once", []StopMode{AtOnce}, 0, build.None},
		{"drain, requeue", []StopMode{Drain, Requeue}, 12 * time.Second, build.None},
		{"requeue, at once", []StopMode{Requeue, AtOnce}, time.Second, build.None},
		{"at once is hard already", []StopMode{AtOnce, Drain}, time.Second, // of ours
			build.None},
		{"requeue, drain", []StopMode{Requeue, Drain}, 11 * time.Second, build.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, oneBuilder(step("work", "sleep 1h"), step("tidy", "sleep 1s", always)))
				r.fleet.on("sleep", sleeps(0))
				r.start()
				running, pending := r.build("b"), r.build("b")
				pass(time.Minute + time.Second)
				began := time.Now()
				for i, m := range tt.modes {
					if i > 0 {
						pass(time.Second)
					}
					r.e.Stop(m)
				}
				if tt.modes[0] == Drain {
					settle()
					if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}); !errors.Is(err, ErrStopped) {
						t.Errorf("submit to a stopping master: %v", err)
					}
					if err := r.e.Healthy(t.Context()); len(tt.modes) == 1 && !errors.Is(err, ErrStopped) {
						t.Errorf("healthy: %v", err)
					}
					if why, err := r.e.Why(t.Context(), pending.ID); len(tt.modes) == 1 && (err != nil || len(why) != 1 || why[0].Reason != ErrStopped.Error()) {
						t.Errorf("why: %v, %v", why, err)
					}
				}
				<-r.e.Done()
				if d := time.Since(began); d != tt.took {
					t.Errorf("it took %s, want %s", d, tt.took)
				}
				if row := r.row(running.ID); row.Result != tt.result {
					t.Errorf("the running one is %s: %s", row.Result, row.Text)
				}
				if row := r.row(pending.ID); row.Result != build.None || row.Attempts != 0 {
					t.Errorf("the pending one is %s after %d attempts", row.Result, row.Attempts)
				}
				if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}); !errors.Is(err, ErrStopped) {
					t.Errorf("submit to a stopped master: %v", err)
				}
				r.ended()
			})
		})
	}
}

// goBuilder is builder "b" with one Go step, and "next" with a trivial one, on
// a machine with one slot.
func goBuilder(t *testing.T, f StepFunc, change ...func(*config.Step)) *rig {
	t.Helper()
	s := config.Func("f")
	for _, c := range change {
		c(&s)
	}
	conf := onMachine(
		config.Builder{Name: "b", NoCollapse: true, Steps: []config.Step{s, step("after", "env")}},
		config.Builder{Name: "next", NoCollapse: true, Steps: []config.Step{step("true", "true")}},
	)
	r := newRig(t, conf, func(o *Options) { o.Steps = map[string]StepFunc{"f": f} })
	r.host = newFakeHost(1)
	return r
}

func TestGoStep(t *testing.T) {
	for _, tt := range []struct {
		name   string
		f      StepFunc
		result build.Result
		cause  build.Cause
		text   string
	}{
		{"success", func(context.Context, StepCall) (build.Result, error) { return build.Success, nil }, build.Success, "", "build successful"},
		{"warnings", func(context.Context, StepCall) (build.Result, error) { return build.Warnings, nil }, build.Success, "", "build successful"},
		{"failure", func(context.Context, StepCall) (build.Result, error) { return build.Failure, errors.New("3 tests") }, build.Failure, "", "3 tests"},
		{"an error is no success", func(context.Context, StepCall) (build.Result, error) { return build.Success, errors.New("lied") }, build.Failure, "", "lied"},
		{"exception", func(context.Context, StepCall) (build.Result, error) { return build.Exception, nil }, build.Exception, build.CauseStep, "exception"},
		{"no result", func(context.Context, StepCall) (build.Result, error) { return build.None, nil }, build.Exception, build.CauseStep, "returned no result"},
		{"panic", func(context.Context, StepCall) (build.Result, error) { panic("oh no") }, build.Exception, build.CauseStep, "panic in step function f"},
		{"max_time", func(ctx context.Context, _ StepCall) (build.Result, error) {
			<-ctx.Done()
			return build.Success, nil
		}, build.Failure, "", "timed out: not done in 1m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := goBuilder(t, tt.f, func(s *config.Step) { s.MaxTime = time.Minute })
				r.start()
				req, b := r.want(r.build("b"), tt.result)
				if b.Cause != string(tt.cause) {
					t.Errorf("cause %q, want %q", b.Cause, tt.cause)
				}
				mustContain(t, req.Text, tt.text)
				if tt.name == "panic" {
					mustContain(t, r.text(b.ID), "oh no", "cancel_test.go")
				}
			})
		})
	}
}

// aSecret is the only secret there is, whatever its name.
type aSecret string

func (s aSecret) Lookup(context.Context, string) (string, error) { return string(s), nil }

// TestWorkersAreToldWhatToHide: a worker that logs what it runs can leave the
// secrets out.
func TestWorkersAreToldWhatToHide(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("s", "curl %(secret:token)s"))
		conf.Secrets = []config.SecretProvider{{Kind: config.SecretEnv}}
		r := newRig(t, conf, func(o *Options) {
			o.Prepare = func(context.Context, *config.Config) (Prepared, error) {
				return Prepared{Secrets: aSecret("hunter22")}, nil
			}
		})
		var shown, run string
		r.fleet.on("curl", func(c *fakeCommand) (worker.Exit, error) {
			run = strings.Join(c.Argv, " ")
			shown = c.Hide(run)
			return worker.Exit{}, nil
		})
		r.start()
		r.want(r.build("b"), build.Success)
		if !strings.HasSuffix(run, "curl hunter22") || !strings.HasSuffix(shown, "curl ********") {
			t.Errorf("%q is shown as %q", run, shown)
		}
	})
}

// TestGoStepElsewhere: a function of the master's can only run in its process: the
// builder waits for a local worker, however idle others are.
func TestGoStepElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(config.Func("f"))
		conf.Workers = append(conf.Workers, config.Worker{Name: "here"})
		r := newRig(t, conf, func(o *Options) {
			o.Steps = map[string]StepFunc{"f": func(context.Context, StepCall) (build.Result, error) { return build.Success, nil }}
		})
		r.start()
		for range 3 {
			if _, b := r.want(r.build("b"), build.Success); b.Worker != "here" {
				t.Errorf("it ran on %s", b.Worker)
			}
		}
	})
}

// TestGoStepTalks: what the function says and sets counts, until it returns.
func TestGoStepTalks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var kept StepCall
		r := goBuilder(t, func(_ context.Context, c StepCall) (build.Result, error) {
			kept = c
			return build.Success, errors.Join(c.Output(worker.Stdout, []byte("hello\n")), c.SetProp("answer", 42))
		})
		r.conf.Builders[0].Steps[1].Env = map[string]string{"ANSWER": "%(prop:answer)s"}
		var answer string
		r.fleet.on("env", func(c *fakeCommand) (worker.Exit, error) {
			answer = c.env("ANSWER")
			if err := kept.SetProp("late", true); !errors.Is(err, ErrFenced) {
				t.Errorf("a property set after the function returned: %v", err)
			}
			if err := kept.Output(worker.Stdout, []byte("late")); !errors.Is(err, ErrFenced) {
				t.Errorf("output after the function returned: %v", err)
			}
			return worker.Exit{}, nil
		})
		r.start()
		_, b := r.want(r.build("b"), build.Success)
		if answer != "42" || b.Properties["answer"].Source != "f" || b.Properties["late"].Value != nil {
			t.Errorf("the next step saw %q; properties %v", answer, b.Properties)
		}
		mustContain(t, r.text(b.ID), "hello")
	})
}

// TestStubbornGoStep: a function that ignores its context is given up after the
// grace, nothing it does counts, and its slot stays taken until it returns.
func TestStubbornGoStep(t *testing.T) {
	for _, how := range []string{"max_time", "cancel", "now"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				leave := make(chan struct{})
				late := make(chan error, 2)
				r := goBuilder(t, func(_ context.Context, c StepCall) (build.Result, error) {
					<-leave
					late <- c.Output(worker.Stdout, []byte("too late"))
					late <- c.SetProp("x", "too late")
					return build.Success, nil
				}, func(s *config.Step) {
					if how == "max_time" {
						s.MaxTime = time.Minute
					}
				}, always)
				r.start()
				began := time.Now()
				k := r.build("b")
				want, took := build.Exception, time.Minute+10*time.Second
				if how != "max_time" {
					pass(time.Second)
					cancel(t, r, k, how == "now")
					want, took = build.Cancelled, map[string]time.Duration{"cancel": 11 * time.Second, "now": time.Second}[how]
				}
				_, b := r.want(k, want)
				if d := time.Since(began); d != took {
					t.Errorf("it took %s, want %s", d, took)
				}
				if how == "max_time" && b.Cause != string(build.CauseStep) {
					t.Errorf("cause %q", b.Cause)
				}
				next := r.build("next")
				pass(time.Hour)
				if row := r.row(next.ID); row.Attempts != 0 {
					t.Error("the slot of a function that has not returned was given away")
				}
				close(leave)
				for range 2 {
					if err := <-late; !errors.Is(err, ErrFenced) {
						t.Errorf("a function that was given up could go on: %v", err)
					}
				}
				r.want(next, build.Success)
				if text := r.text(b.ID); strings.Contains(text, "too late") {
					t.Errorf("log: %s", text)
				}
			})
		})
	}
}

// TestTwoStubbornGoSteps: the slot is free when both have returned.
func TestTwoStubbornGoSteps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		leave := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
		r := goBuilder(t, func(_ context.Context, c StepCall) (build.Result, error) {
			<-leave[c.Step]
			return build.Success, nil
		})
		a, b := config.Func("f"), config.Func("f")
		a.Name, b.Name = "a", "b"
		a.MaxTime, b.MaxTime = time.Second, time.Second
		always(&b)
		r.conf.Builders[0].Steps = []config.Step{a, b}
		complete(t, r.conf)
		r.start()
		r.want(r.build("b"), build.Exception)
		next := r.build("next")
		close(leave["b"])
		pass(time.Hour)
		if row := r.row(next.ID); row.Attempts != 0 {
			t.Error("the slot was given away while the first function still runs")
		}
		close(leave["a"])
		r.want(next, build.Success)
	})
}

// TestStubbornGoStepAtTheEnd: the share of the machine is given back even when
// the function returns after the loop's end.
func TestStubbornGoStepAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		leave := make(chan struct{})
		r := goBuilder(t, func(context.Context, StepCall) (build.Result, error) {
			<-leave
			return build.Success, nil
		})
		r.start()
		k := r.build("b")
		pass(time.Second)
		r.e.Stop(AtOnce)
		pass(time.Minute)
		if r.host.inUse() != 1 {
			t.Error("the slot was given away")
		}
		close(leave)
		r.ended() // looks at the machine
		r.start()
		pass(time.Second)
		if row := r.row(k.ID); row.Result != build.Success {
			t.Errorf("%+v", row)
		}
	})
}

// TestLateResults: what is still told of a build that has ended changes nothing.
func TestLateResults(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "sleep 1m")))
		r.fleet.on("sleep", sleeps(0))
		r.start()
		k := r.build("b")
		pass(time.Second)
		var b *running
		r.on(func(l *loop) {
			for _, b = range l.builds {
			}
		})
		_, want := r.want(k, build.Success)
		other := r.build("b")
		pass(time.Second)
		r.on(func(l *loop) {
			row := want
			row.Result, row.Text = build.Failure, "late"
			l.stepStarted(b, step2(row.ID), logRow(), 0)
			l.stepEnded(b, step2(row.ID))
			l.buildEnded(b, buildDone{row: row})
			if l.requests[other.ID].running == nil || len(l.builds) != 1 {
				t.Error("a late result ended another build")
			}
		})
		r.want(other, build.Success)
		if got := r.builds(k.ID); len(got) != 1 || got[0].Result != build.Success {
			t.Errorf("builds: %v", got)
		}
		if got := r.steps(want.ID); !slices.Equal(got, []string{"work success"}) {
			t.Errorf("steps: %q", got)
		}
	})
}

// TestPanicInWorker: a fault of ours is one EXCEPTION; the build is ended on its
// worker all the same.
func TestPanicInWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "bug")))
		r.fleet.on("bug", func(*fakeCommand) (worker.Exit, error) { panic("oh no") })
		r.start()
		req, b := r.want(r.build("b"), build.Exception)
		mustContain(t, req.Text, "panic: oh no")
		if b.Cause != string(build.CauseMaster) || len(r.fleet.now) != 0 {
			t.Errorf("cause %q; %d builds are not ended", b.Cause, len(r.fleet.now))
		}
		mustEqual(t, "steps", r.steps(b.ID), []string{"work exception"})
		list, err := r.store.Logs(t.Context(), b.ID)
		if err != nil || len(list) != 1 || !list[0].Complete {
			t.Errorf("logs: %+v, %v", list, err)
		}
		r.fleet.on("bug", exits(0))
		r.want(r.build("b"), build.Success)
	})
}

// TestStepResults: what a command's end means.
func TestStepResults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		step   config.Step
		exit   worker.Exit
		err    error
		result build.Result
		cause  build.Cause
		text   string
	}{
		{"exit", step("s", "x"), worker.Exit{Code: 3}, nil, build.Failure, "", "failure (exit 3)"},
		{"signal", step("s", "x"), worker.Exit{Code: -1, Signal: "SIGSEGV"}, nil, build.Failure, "", "killed by SIGSEGV"},
		{"no program", step("s", "x"), worker.Exit{}, fmt.Errorf("x: %w", worker.ErrStart), build.Failure, "", "not started"},
		{"broken worker", step("s", "x"), worker.Exit{}, errors.New("pipe"), build.Exception, build.CauseWorker, "pipe"},
		{"timeout", step("s", "x"), worker.Exit{Code: -1, Stopped: worker.TimedOut}, nil, build.Failure, "", "no output for 20m0s"},
		{"max_time", step("s", "x"), worker.Exit{Stopped: worker.MaxTimed}, nil, build.Failure, "", "timed out"},
		{"max_lines", step("s", "x"), worker.Exit{Stopped: worker.MaxLined}, nil, build.Failure, "", "max lines"},
		{"sink", step("s", "x"), worker.Exit{Stopped: worker.SinkFailed, SinkErr: errNoDisk}, nil, build.Exception, build.CauseMaster, errNoDisk.Error()},
		{"decode_rc", step("s", "x", func(s *config.Step) { s.DecodeRC = map[int]build.Result{3: build.Exception} }),
			worker.Exit{Code: 3}, nil, build.Exception, build.CauseStep, "exception (exit 3)"},
		{"do_if", step("s", "x", func(s *config.Step) { s.DoIf = "%(prop:no)s" }), worker.Exit{Code: 1}, nil, build.Success, "", "build successful"},
		{"bad hide_if", step("s", "x", func(s *config.Step) { s.HideIf = "%(secret:no)s" }), worker.Exit{}, nil, build.Exception, build.CauseConfig, "hide_if"},
		{"bad env", step("s", "x", func(s *config.Step) { s.Env = map[string]string{"A": "%(secret:no)s"} }), worker.Exit{}, nil, build.Exception, build.CauseConfig, "no secret provider"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				conf := oneBuilder(tt.step)
				conf.Secrets = []config.SecretProvider{{Kind: config.SecretEnv}}
				r := newRig(t, conf)
				r.fleet.on("x", func(*fakeCommand) (worker.Exit, error) { return tt.exit, tt.err })
				r.start()
				req, b := r.want(r.build("b"), tt.result)
				if b.Cause != string(tt.cause) {
					t.Errorf("cause %q, want %q", b.Cause, tt.cause)
				}
				mustContain(t, req.Text, tt.text)
			})
		})
	}
}

// TestStepRetries: a failed step is tried again, in one row and one log.
func TestStepRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("flaky", "flaky", func(s *config.Step) { s.Retries = 2 })))
		tries := 0
		r.fleet.on("flaky", func(*fakeCommand) (worker.Exit, error) {
			tries++
			return worker.Exit{Code: 3 - tries}, nil
		})
		r.start()
		_, b := r.want(r.build("b"), build.Success)
		mustEqual(t, "steps", r.steps(b.ID), []string{"flaky success"})
		mustContain(t, r.text(b.ID), "failure (exit 2); attempt 2 of 3 follows", "failure (exit 1); attempt 3 of 3 follows")
		tries = -1
		_, b = r.want(r.build("b"), build.Failure)
		if tries != 2 {
			t.Errorf("tried %d times, want 3", tries+1)
		}
		tries = 0
		r.fleet.on("flaky", func(c *fakeCommand) (worker.Exit, error) {
			tries++
			_, err, _ := c.sleep(time.Hour)
			return worker.Exit{Code: 1}, err
		})
		k := r.build("b")
		pass(time.Second)
		cancel(t, r, k, false)
		if r.want(k, build.Cancelled); tries != 1 {
			t.Errorf("tried %d times after a cancel", tries)
		}
	})
}
