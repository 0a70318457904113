package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// TestCollapse: an older pending request for the same build is SKIPPED, and
// names the one that takes its place.
func TestCollapse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "work"))
		conf.Builders[0].NoCollapse = false
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		prop := func(v any) build.Properties { return build.Properties{"p": {Value: v, Source: "test"}} }
		running := r.build("b")
		settle()
		ks := r.submit(
			Submission{Builder: "b"},
			Submission{Builder: "b", Branch: "other"},
			Submission{Builder: "b", Properties: prop(1)},
			Submission{Builder: "b"},
			Submission{Builder: "b", Properties: prop(1)},
			Submission{Builder: "b", Properties: prop(2)},
		)
		for _, i := range []int{0, 2} {
			req, b := r.want(ks[i], build.Skipped)
			by := map[int]int64{0: ks[3].ID, 2: ks[4].ID}[i]
			if req.Replaced != by || b.ID != 0 {
				t.Errorf("request %d was replaced by %d, want %d; build %d", req.ID, req.Replaced, by, b.ID)
			}
			mustContain(t, r.row(req.ID).Text, fmt.Sprintf("collapsed into request %d", by))
		}
		for _, k := range append(slices.Clone(ks[3:]), running, ks[1]) {
			r.want(k, build.Success)
		}
	})
}

// TestPriority: when a slot gets free the highest priority goes first, then the
// oldest; a builder's own priority is that of requests that say nothing.
func TestPriority(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "work"))
		conf.Builders = append(conf.Builders, conf.Builders[0])
		conf.Builders[1].Name, conf.Builders[1].Priority = "urgent", 5
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		r.build("b")
		settle()
		var last *Ticket
		for _, s := range []Submission{{Builder: "b"}, {Builder: "b", Priority: 1}, {Builder: "urgent"}, {Builder: "b", Priority: 9}, {Builder: "urgent", Priority: -1}} {
			pass(time.Second)
			last = r.submit(s)[0]
		}
		r.want(last, build.Success)
		mustEqual(t, "order", r.fleet.order(), []string{"b 1", "b 2", "urgent 1", "b 3", "b 4", "urgent 2"})
	})
}

// TestPinned: a request for one worker runs there or not at all.
func TestPinned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "true"))
		conf.Workers = append(conf.Workers, config.Worker{Name: "other", Kind: config.WorkerRemote})
		r := newRig(t, conf)
		r.start()
		for range 5 {
			_, b := r.want(r.submit(Submission{Builder: "b", Worker: "other"})[0], build.Success)
			if b.Worker != "other" {
				t.Errorf("ran on %s", b.Worker)
			}
		}
		for _, s := range []Submission{{Builder: "b", Worker: "nobody"}, {Builder: "nothing"}, {Builder: "b", Session: "none"}, {Builder: Command}} {
			if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}, s); err == nil {
				t.Errorf("%+v was accepted", s)
			}
		}
		if n := r.row(5).ID; n != 5 {
			t.Error(n)
		}
		if _, err := r.store.Request(t.Context(), 6); err == nil {
			t.Error("a request beside a refused one was accepted")
		}
	})
}

// lockBuilders are builders whose only step takes a lock.
func lockBuilders(accesses ...config.LockAccess) *config.Config {
	conf := &config.Config{Locks: []config.Lock{{Name: "l", MaxCount: 2}}}
	for i, a := range accesses {
		conf.Workers = append(conf.Workers, config.Worker{Name: fmt.Sprintf("w%d", i), Kind: config.WorkerRemote, MaxBuilds: 1})
		conf.Builders = append(conf.Builders, config.Builder{
			Name: fmt.Sprintf("b%d", i), Workers: []string{fmt.Sprintf("w%d", i)}, Source: config.Source{Kind: config.SourceNone},
			Steps: []config.Step{step("work", "work", func(s *config.Step) { s.Locks = []config.LockAccess{a} })},
		})
	}
	return conf
}

// TestStepLocks: first come, first served; a count may not overtake an
// exclusive access that waits.
func TestStepLocks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		shared, alone := config.LockAccess{Name: "l"}, config.LockAccess{Name: "l", Mode: config.LockExclusive}
		r := newRig(t, lockBuilders(shared, alone, shared, shared, alone))
		began := time.Now()
		var at []string
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			r.fleet.mu.Lock()
			at = append(at, fmt.Sprintf("%s after %s", c.build.spec.Builder, time.Since(began)))
			r.fleet.mu.Unlock()
			exit, err, _ := c.sleep(time.Minute)
			return exit, err
		})
		r.start()
		var ks []*Ticket
		for i := range 5 {
			ks = append(ks, r.build(fmt.Sprintf("b%d", i)))
			pass(time.Second)
		}
		for _, k := range ks {
			r.want(k, build.Success)
		}
		slices.Sort(at[2:4]) // two at the same time
		mustEqual(t, "turns", at, []string{"b0 after 0s", "b1 after 1m0s", "b2 after 2m0s", "b3 after 2m0s", "b4 after 3m0s"})
		_, b := ks[1].Outcome()
		mustContain(t, r.text(b.ID), "waited 59s for its locks")
	})
}

// TestStepLocksAreForTheStep: not for what the build does after it.
func TestStepLocksAreForTheStep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		alone := config.LockAccess{Name: "l", Mode: config.LockExclusive}
		conf := lockBuilders(alone, alone)
		for i := range conf.Builders {
			conf.Builders[i].Steps = append(conf.Builders[i].Steps, step("more", "more"))
		}
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Minute))
		r.fleet.on("more", sleeps(time.Hour))
		r.start()
		began := time.Now()
		a, b := r.build("b0"), r.build("b1")
		r.want(a, build.Success)
		r.want(b, build.Success)
		if d := time.Since(began); d != time.Hour+2*time.Minute {
			t.Errorf("it took %s", d)
		}
	})
}

// TestStepLocksGivenUp: who is cancelled while it waits, or while it has a
// lock, lets the next one go.
func TestStepLocksGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		alone := config.LockAccess{Name: "l", Mode: config.LockExclusive}
		r := newRig(t, lockBuilders(alone, alone, alone))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		var ks []*Ticket
		for i := range 3 {
			ks = append(ks, r.build(fmt.Sprintf("b%d", i)))
			pass(time.Second)
		}
		began := time.Now()
		cancel(t, r, ks[1], false)
		req, b := r.want(ks[1], build.Cancelled)
		if time.Since(began) != 0 {
			t.Error("a step that waits for locks needs no grace")
		}
		mustEqual(t, "steps of "+req.Builder, r.steps(b.ID), []string{"work cancelled"})
		r.fleet.kind("w0").lose(true)
		settle()
		if row := r.row(ks[0].ID); row.Retries != 1 {
			t.Errorf("the lost one has %d retries", row.Retries)
		}
		r.want(ks[2], build.Success)
		if d := time.Since(began); d != time.Hour {
			t.Errorf("the last one ended after %s", d)
		}
	})
}

// TestStepLockOfTheBuild: a lock that the build holds already can never be had.
// The configuration refuses this; a step must not wait for ever all the same.
func TestStepLockOfTheBuild(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, lockBuilders(config.LockAccess{Name: "l"}))
		r.conf.Builders[0].Locks = r.conf.Builders[0].Steps[0].Locks
		r.start()
		_, b := r.want(r.build("b0"), build.Exception)
		if b.Cause != string(build.CauseConfig) {
			t.Errorf("cause %q", b.Cause)
		}
	})
}

// TestEventsFollowTheDisk: what an event tells is found on disk at that moment.
func TestEventsFollowTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "lose"), step("more", "true"))
		conf.Builders[0].NoCollapse = true
		r := newRig(t, conf)
		lost := false
		r.fleet.on("lose", func(c *fakeCommand) (worker.Exit, error) {
			if lost {
				return worker.Exit{}, nil
			}
			lost = true
			return loses(time.Second)(c)
		})
		r.start()
		ctx, stop := context.WithCancel(t.Context())
		events, err := r.e.Subscribe(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		// Whatever an event tells must be found on disk at that moment.
		var seen []EventKind
		var faults []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ev := range events {
				if ev.Kind != LogAppend && ev.Kind != WorkerChanged { // they come when they come
					seen = append(seen, ev.Kind)
				}
				if fault := onDisk(r.store, ev); fault != "" {
					faults = append(faults, fmt.Sprintf("%s: %s", ev.Kind, fault))
				}
			}
		}()
		r.want(r.build("b"), build.Success)
		settle()
		stop()
		<-done
		for _, f := range faults {
			t.Error(f)
		}
		want := []EventKind{
			RequestNew, RequestClaimed, BuildNew, StepNew, LogNew, LogDone, StepDone, BuildDone, RequestUnclaimed,
			RequestClaimed, BuildNew, StepNew, LogNew, LogDone, StepDone, StepNew, LogNew, LogDone, StepDone, BuildDone, RequestDone,
		}
		if !slices.Equal(seen, want) {
			t.Errorf("events %v, want %v", seen, want)
		}
		r.on(func(l *loop) {
			if len(l.subscribers) != 0 {
				t.Error("a subscription outlives its context")
			}
		})
	})
}

// onDisk compares an event with the store; "" if it is there.
func onDisk(s *store.Store, ev Event) string {
	ctx := context.Background()
	if ev.Kind == WorkerChanged {
		if ev.Worker == nil || ev.Worker.Name != "w" || ev.What == "" {
			return fmt.Sprintf("%+v", ev.Worker)
		}
		return ""
	}
	req, err := s.Request(ctx, ev.Request.ID)
	if err != nil {
		return err.Error()
	}
	switch ev.Kind {
	case RequestDone:
		if req.State != store.Done || req.Result != ev.Request.Result {
			return fmt.Sprintf("it is %s, %s", req.State, req.Result)
		}
	case RequestRetry:
		if req.Retries < ev.Request.Retries {
			return fmt.Sprintf("%d retries", req.Retries)
		}
	case BuildNew, BuildDone:
		b, err := s.BuildByID(ctx, ev.Build.ID)
		if err != nil || b.Number != ev.Build.Number || ev.Kind == BuildDone && b.Result != ev.Build.Result {
			return fmt.Sprintf("build: %s, %v", b.Result, err)
		}
	case LogNew, LogAppend, LogDone:
		lg, err := s.Log(ctx, ev.Log.ID)
		if err != nil || ev.Kind == LogDone && lg != ev.Log || ev.Step.Name == "" || ev.Build.Builder == "" {
			return fmt.Sprintf("log: %v, %v, step %q", lg, err, ev.Step.Name)
		}
	case StepNew, StepDone:
		steps, err := s.Steps(ctx, ev.Build.ID)
		i := slices.IndexFunc(steps, func(x store.Step) bool { return x.Number == ev.Step.Number })
		if err != nil || i < 0 || ev.Kind == StepDone && steps[i].Result != ev.Step.Result {
			return fmt.Sprintf("steps: %v, %v", steps, err)
		}
	}
	return ""
}

// TestSlowSubscriber: who does not listen misses events, is told how many, and
// holds nobody up.
func TestSlowSubscriber(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		events, err := r.e.Subscribe(ctx, "", RequestNew, BuildNew, StepNew, StepDone, BuildDone, RequestDone)
		if err != nil {
			t.Fatal(err)
		}
		const each = 6 // events of one build
		n := subscriptionLimit/each + 2
		subs := make([]Submission, n)
		for i := range subs {
			subs[i].Builder = "b"
		}
		for _, k := range r.submit(subs...) {
			r.want(k, build.Success)
		}
		synctest.Wait()
		got, missed := 0, 0
		for ev := range events {
			if ev.Kind == Lagged {
				missed += ev.Count
				break
			}
			got++
		}
		if got != subscriptionLimit || got+missed != n*each {
			t.Errorf("%d events and %d missed, want %d in all", got, missed, n*each)
		}
	})
}

// TestExpected: who watches is told how long things took before.
func TestExpected(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		r.want(r.build("b"), build.Success)
		got := r.watch()
		r.want(r.build("b"), build.Success)
		var of []string
		for _, ev := range got() {
			if ev.Expected != 0 {
				of = append(of, fmt.Sprint(ev.Kind, " ", ev.Expected))
			}
		}
		mustEqual(t, "expected", of, []string{"build-new 1m0s", "step-new 1m0s"})
	})
}

// TestStatus counts.
func TestStatus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		r.build("b")
		r.build("b")
		r.build("b")
		settle()
		s, err := r.e.Status(t.Context())
		if err != nil || s.Running != 1 || s.Pending != 2 || s.Degraded != "" || s.Stopping {
			t.Errorf("%+v, %v", s, err)
		}
		if err := r.e.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestBuilderGone: requests of a builder that was taken out are cancelled, with
// the reason.
func TestBuilderGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "work"))
		conf.Builders = append(conf.Builders, conf.Builders[0])
		conf.Builders[1].Name = "stays"
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		running, pending, stays := r.build("b"), r.build("b"), r.build("stays")
		settle()
		r.crash(false)
		r.conf.Builders = r.conf.Builders[1:]
		r.start()
		settle()
		for _, k := range []*Ticket{running, pending} {
			if row := r.row(k.ID); row.Result != build.Cancelled || !strings.Contains(row.Text, "no longer configured") {
				t.Errorf("request %d is %s: %s", row.ID, row.Result, row.Text)
			}
		}
		if b := r.builds(running.ID); len(b) != 1 || b[0].Result != build.Retry {
			t.Errorf("builds: %v", b)
		}
		pass(2 * time.Hour)
		if row := r.row(stays.ID); row.Result != build.Success {
			t.Errorf("%s: %s", row.Result, row.Text)
		}
	})
}
