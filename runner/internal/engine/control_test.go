package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// entries are the lines of the journal about one kind of thing.
func (r *rig) entries(kind string) (all []string) {
	r.t.Helper()
	p, err := r.store.SelectJournal(r.t.Context(), store.Select{Limit: store.NoLimit})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range p.Rows {
		if e.Kind == kind {
			all = append(all, fmt.Sprint(e.Name, " ", e.Ref, " ", e.What, " by ", e.Who, ": ", e.Reason))
		}
	}
	return all
}

// TestStopBuild: it is answered when the build has ended, grace and always_run
// steps included, and that is on disk.
func TestStopBuild(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work"), step("tidy", "tidy", always)))
		r.fleet.on("work", sleeps(time.Hour))
		r.fleet.on("tidy", sleeps(5*time.Second))
		r.start()
		k := r.build("b")
		pass(time.Minute)
		id := r.builds(k.ID)[0].ID
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := r.e.StopBuild(ctx, id, "ana", "because"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop: %v", err)
		}
		began := time.Now()
		if err := r.e.StopBuild(t.Context(), id, "ana", "because"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 14*time.Second { // 10 s of grace, 1 s of which is over, and 5 s of tidy
			t.Errorf("it took %s", d)
		}
		req, b := r.want(k, build.Cancelled)
		if row := r.row(k.ID); row.Result != build.Cancelled {
			t.Errorf("on disk: %s", row.Result)
		}
		mustContain(t, req.Text, "because (by ana)")
		mustEqual(t, "steps", r.steps(b.ID), []string{"work cancelled", "tidy success"})
		if err := r.e.StopBuild(t.Context(), id, "ana", ""); !errors.Is(err, ErrConflict) {
			t.Errorf("stop again: %v", err)
		}
		if err := r.e.StopBuild(t.Context(), 77, "ana", ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("stop what does not exist: %v", err)
		}
		mustEqual(t, "journal", r.entries(aboutBuild), []string{"b 1 stop by ana: because", "b 1 stop by ana: because"})
	})
}

// TestCancelRequest: a pending one at once, a running one with its build.
func TestCancelRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		runs, waits := r.build("b"), r.build("b")
		pass(time.Minute)
		for _, k := range []*Ticket{waits, runs} {
			if err := r.e.CancelRequest(t.Context(), k.ID, "ana", ""); err != nil {
				t.Fatal(err)
			}
			if row := r.row(k.ID); row.Result != build.Cancelled || row.State != store.Done {
				t.Errorf("on disk: %+v", row)
			}
			if err := r.e.CancelRequest(t.Context(), k.ID, "ana", ""); !errors.Is(err, ErrConflict) {
				t.Errorf("cancel again: %v", err)
			}
		}
		if n := len(r.builds(waits.ID)); n != 0 {
			t.Errorf("%d builds", n)
		}
		if err := r.e.CancelRequest(t.Context(), 77, "ana", ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("cancel what does not exist: %v", err)
		}
		mustEqual(t, "journal", r.entries(aboutRequest), []string{"b 2 cancel by ana: ", "b 1 cancel by ana: "})
	})
}

// TestRebuildFromAStep: earlier steps are skipped, but those that always run, also
// in a later attempt; such a request never stands for a whole build.
func TestRebuildFromAStep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("get", "true"), step("tidy", "true", always), step("make", "true"), step("test", "true")))
		r.start()
		settle()
		_, b := r.want(r.build("b"), build.Success)
		again, err := r.e.Rebuild(t.Context(), b.ID, "ana", "", "make")
		if err != nil {
			t.Fatal(err)
		}
		req, b := r.want(again[0], build.Success)
		if req.Reason != "rebuild of b #1 from make" || req.CollapseKey != "" {
			t.Errorf("%+v", req)
		}
		mustEqual(t, "steps", r.steps(b.ID), []string{"get skipped", "tidy success", "make success", "test success"})
		if _, err := r.e.Rebuild(t.Context(), b.ID, "ana", "", "no such step"); !errors.Is(err, ErrUnknown) {
			t.Errorf("from a step that is not there: %v", err)
		}
	})
}

// TestRebuild: the same again, whatever that was.
func TestRebuild(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		settle()
		props := build.Properties{"x": {Value: "1", Source: "Command Line"}}
		first := r.submit(Submission{Builder: "b", Properties: props, Priority: 3, Worker: "w", Branch: "next", Revision: "abc", Who: "bob", Reason: "why not"})[0]
		_, b := r.want(first, build.Success)
		again, err := r.e.Rebuild(t.Context(), b.ID, "ana", "", "")
		if err != nil {
			t.Fatal(err)
		}
		req, b2 := r.want(again[0], build.Success)
		if req.Reason != "rebuild of b #1" || req.Priority != 3 || req.Worker != "w" || req.Properties["x"] != props["x"] || b2.Properties["branch"].Value != "next" {
			t.Errorf("%+v, %+v", req, b2.Properties)
		}
		if again, err = r.e.Rebuild(t.Context(), b.ID, "ana", "new compiler", ""); err != nil {
			t.Fatal(err)
		}
		req, b2 = r.want(again[0], build.Success)
		if why := "rebuild of b #1: new compiler"; req.Reason != why || b2.Properties["reason"].Value != why {
			t.Errorf("%+v, %+v", req, b2.Properties)
		}
		command := r.submit(Submission{Builder: Command, Argv: []string{"true", "a"}})[0]
		_, b = r.want(command, build.Success)
		if again, err = r.e.Rebuild(t.Context(), b.ID, "ana", "", ""); err != nil {
			t.Fatal(err)
		}
		_, b = r.want(again[0], build.Success)
		mustContain(t, r.text(b.ID), "$ true a")
		if _, err := r.e.Rebuild(t.Context(), 77, "ana", "", ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("rebuild what does not exist: %v", err)
		}
		mustEqual(t, "journal", r.entries(aboutRequest), []string{
			"b 1 force by bob: why not", "b 2 force by ana: rebuild of b #1", "b 3 force by ana: rebuild of b #1: new compiler",
			"_command 5 force by ana: rebuild of _command #1",
		})
		if !slices.ContainsFunc(r.e.Builders(), func(b store.Builder) bool { return b.Name == Command && b.ID == 2 }) {
			t.Errorf("the builder of commands has no id: %+v", r.e.Builders())
		}
	})
}

// TestSetPriority: the request starts before others from then on, also in the
// next life of the master.
func TestSetPriority(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		ks := []*Ticket{r.build("b"), r.build("b"), r.build("b"), r.build("b")}
		pass(time.Second)
		if err := r.e.SetPriority(t.Context(), ks[3].ID, 5, "ana"); err != nil {
			t.Fatal(err)
		}
		if err := r.e.SetPriority(t.Context(), 77, 5, "ana"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v", err)
		}
		r.crash(false)
		r.start()
		r.on(func(l *loop) { l.queue.SetHeld(ks[0].ID, "not now") })
		pass(10 * time.Minute)
		if b, c := r.builds(ks[3].ID), r.builds(ks[1].ID); len(b) != 1 || len(c) != 1 || b[0].Started.After(c[0].Started) {
			t.Errorf("%+v, %+v", b, c)
		}
	})
}

// TestSetScheduler: it is remembered, and only known schedulers can be set.
func TestSetScheduler(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.conf.Schedulers = []config.Scheduler{{Name: "nightly", Kind: config.SchedulerForce, Builders: []string{"b"}}}
		r.start()
		for _, on := range []bool{false, false} {
			if err := r.e.SetScheduler(t.Context(), "nightly", on, "ana"); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.e.SetScheduler(t.Context(), "other", false, "ana"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v", err)
		}
		r.stop(Drain)
		r.start()
		if s := r.e.Schedulers(); len(s) != 1 || s[0].Enabled || s[0].Who != "ana" || s[0].Changed.IsZero() {
			t.Errorf("%+v", s)
		}
		mustEqual(t, "journal", r.entries(aboutScheduler), []string{"nightly 1 off by ana: "})
	})
}

// TestLogNews: who listens hears that a log grows, at once and then ten times a
// second, with how much can be read; the last word is the end of the log.
func TestLogNews(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "chat")))
		r.fleet.on("chat", func(c *fakeCommand) (worker.Exit, error) {
			for range 1000 {
				if err := c.print("", "a line\n"); err != nil {
					return worker.Exit{}, err
				}
				time.Sleep(time.Millisecond)
			}
			if err := c.print("", "and half"); err != nil {
				return worker.Exit{}, err
			}
			time.Sleep(time.Second)
			return worker.Exit{}, nil
		})
		r.start()
		events := r.watch()
		r.want(r.build("b"), build.Success)
		var lines []int64
		var last Event
		for _, ev := range events() {
			switch ev.Kind {
			case LogAppend:
				if last.Kind == LogDone || ev.Log.Lines < last.Log.Lines || ev.Step.Name != "work" || ev.Build.Builder != "b" {
					t.Errorf("%+v after %+v", ev.Log, last.Log)
				}
				if last.Kind == LogAppend && ev.Time.Sub(last.Time) < logNewsEvery {
					t.Errorf("after %s", ev.Time.Sub(last.Time))
				}
				lines = append(lines, ev.Log.Lines)
				last = ev
			case LogNew, LogDone:
				last = ev
			}
		}
		if n := len(lines); n < 10 || n > 12 {
			t.Errorf("told %d times: %v", n, lines)
		}
		if last.Kind != LogDone || last.Log.Lines < 1001 || !last.Log.Complete {
			t.Errorf("the last word: %s %+v", last.Kind, last.Log)
		}
	})
}

// TestStepUpdate: a step that waits for its locks says so.
func TestStepUpdate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		alone := config.LockAccess{Name: "l", Mode: config.LockExclusive}
		r := newRig(t, lockBuilders(alone, alone))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		events := r.watch()
		a := r.build("b0")
		settle()
		b := r.build("b1")
		r.want(a, build.Success)
		r.want(b, build.Success)
		var told []string
		for _, ev := range events() {
			if ev.Kind == StepUpdate {
				told = append(told, fmt.Sprint(ev.Build.Builder, " ", ev.Step.Name, " ", ev.Step.Text))
			}
		}
		mustEqual(t, "updates", told, []string{"b1 work waiting for locks", "b1 work running"})
	})
}
