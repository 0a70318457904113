package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/worker"
)

// hangs is a script that heeds neither a stop nor the loss of its worker.
func hangs(d time.Duration) script {
	return func(c *fakeCommand) (worker.Exit, error) {
		if err := c.print("", "begun\n"); err != nil {
			return worker.Exit{}, err
		}
		time.Sleep(d)
		return worker.Exit{}, worker.ErrLost
	}
}

// TestKillAnsweredWhenTheWorkerIsBack: a killed worker that attaches anew before
// its builds have reported; the kill is answered in its time, and what the worker
// begins then is not ended by it.
func TestKillAnsweredWhenTheWorkerIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := &config.Config{
			Workers:  []config.Worker{{Name: "w", Kind: config.WorkerRemote, MaxBuilds: 2}},
			Builders: []config.Builder{work("b", "work"), work("next", "sleep")},
		}
		r := newRig(t, conf)
		r.fleet.on("work", hangs(time.Hour))
		r.fleet.on("sleep", sleeps(time.Minute))
		r.start()
		k := r.build("b")
		pass(time.Minute)
		began := time.Now()
		answered := make(chan error, 1)
		go func() { answered <- r.e.ControlWorker(context.Background(), "w", worker.Kill, "ana", "") }()
		pass(300 * time.Millisecond) // it has obeyed
		r.fleet.kind("w").comes()
		settle()
		if !r.w().State.Connected() {
			t.Fatal("it is not back")
		}
		next := r.build("next")
		select {
		case err := <-answered:
			if d := time.Since(began); err != nil || d > time.Second {
				t.Errorf("answered after %s: %v", d, err)
			}
		case <-time.After(time.Minute):
			t.Fatal("never answered")
		}
		if row := r.row(k.ID); row.Retries != 0 || r.builds(k.ID)[0].Result != build.Retry {
			t.Errorf("%+v", row)
		}
		if req, _ := r.want(next, build.Success); req.Attempts != 1 {
			t.Errorf("%d attempts", req.Attempts)
		}
	})
}

// TestKillReachesBuildsOfAnEarlierConnection: what has not yet noticed the loss of
// its connection ends too when the worker is killed that has come back.
func TestKillReachesBuildsOfAnEarlierConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", hangs(time.Hour))
		r.start()
		k := r.build("b")
		pass(time.Minute)
		r.fleet.kind("w").lose(false)
		settle()
		if w := r.w(); !w.State.Connected() || len(w.Builds) != 1 {
			t.Fatalf("%+v", w)
		}
		began := time.Now()
		r.control(worker.Kill)
		if d := time.Since(began); d > time.Second || len(r.w().Builds) != 0 || r.builds(k.ID)[0].Result != build.Retry {
			t.Errorf("after %s: %+v", d, r.w())
		}
	})
}

// TestLogsOfAGivenUpBuild: the master crashes after it has given up a build whose
// command still writes. No log is open then whose build is over.
func TestLogsOfAGivenUpBuild(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", hangs(time.Hour))
		r.start()
		k := r.build("b")
		pass(time.Minute)
		r.control(worker.Kill)
		over := r.builds(k.ID)[0]
		if over.Result != build.Retry {
			t.Fatalf("%+v", over)
		}
		r.crash(false)
		r.fleet.on("work", exits(0))
		r.start()
		settle()
		list, err := r.store.Logs(t.Context(), over.ID)
		if err != nil || len(list) != 1 || !list[0].Complete {
			t.Fatalf("%+v, %v", list, err)
		}
		mustContain(t, r.text(over.ID), "begun\n")
	})
}

// TestGivenUpBuildOutlivesTheLoop: the master ends after it has given up a build
// that still runs; its share of the machine is given back when it returns.
func TestGivenUpBuildOutlivesTheLoop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, localBuilder(step("work", "work")))
		r.fleet.on("work", hangs(time.Minute))
		r.start()
		r.build("b")
		pass(time.Second)
		r.control(worker.Kill)
		if n := r.host.inUse(); n != 1 {
			t.Fatalf("%d builds hold the machine", n)
		}
		r.stop(Drain) // sees that nothing is held
	})
}

// TestReplacementIsReleased: the master ends before a busy worker could be made
// anew; what it was to become is let go of too.
func TestReplacementIsReleased(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(dir string) *config.Config {
			return &config.Config{Workers: []config.Worker{{Name: "w", Workdir: dir}}, Builders: []config.Builder{work("b", "work")}}
		}
		r := newRig(t, conf("1"))
		r.fleet.on("work", hangs(time.Minute))
		r.start()
		r.build("b")
		settle()
		before := r.fleet.kind("w")
		r.reload(conf("2"))
		next := r.fleet.kind("w")
		r.stop(AtOnce)
		if next == before || !before.released.Load() || !next.released.Load() {
			t.Errorf("released: the one before %v, the next %v", before.released.Load(), next.released.Load())
		}
	})
}

// TestReloadOfAMasterThatEnds: what was made ready for a configuration that comes
// too late is given back.
func TestReloadOfAMasterThatEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		discarded := 0
		r := newRig(t, &config.Config{Workers: []config.Worker{{Name: "w"}}, Builders: []config.Builder{work("b", "work")}})
		r.opt = func(o *Options) {
			o.Prepare = func(context.Context, *config.Config) (Prepared, error) {
				return Prepared{Discard: func() { discarded++ }}, nil
			}
		}
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		r.build("b")
		settle()
		r.e.Stop(Drain)
		conf := complete(t, &config.Config{Workers: []config.Worker{{Name: "w"}, {Name: "new"}}, Builders: []config.Builder{work("b", "work")}})
		if _, err := r.e.Reload(t.Context(), conf); !errors.Is(err, ErrStopped) {
			t.Errorf("reload: %v", err)
		}
		settle()
		if !r.fleet.kind("new").released.Load() || discarded != 1 {
			t.Errorf("released %v, discarded %d times", r.fleet.kind("new").released.Load(), discarded)
		}
		r.stop(AtOnce)
	})
}
