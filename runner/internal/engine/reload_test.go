package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// reload takes over a configuration that is complete but for what the test does
// not care about.
func (r *rig) reload(conf *config.Config) Diff {
	r.t.Helper()
	d, err := r.e.Reload(r.t.Context(), complete(r.t, conf))
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// work is a builder of one step.
func work(name, line string, change ...func(*config.Builder)) config.Builder {
	b := config.Builder{Name: name, NoCollapse: true, Source: config.Source{Kind: config.SourceNone}, Steps: []config.Step{step("work", line)}}
	for _, f := range change {
		f(&b)
	}
	return b
}

// TestReloadKeepsWhatRuns: a build ends with the configuration it began with;
// the next one has the new one.
func TestReloadKeepsWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(steps ...config.Step) *config.Config {
			b := work("b", "")
			b.Steps = steps
			return &config.Config{URL: fmt.Sprintf("http://x%d/", len(steps)), Workers: []config.Worker{{Name: "w", MaxBuilds: 1}}, Builders: []config.Builder{b}}
		}
		r := newRig(t, conf(step("one", "work"), step("two", "url")))
		var urls []string
		r.fleet.on("work", sleeps(time.Minute))
		r.fleet.on("url", func(c *fakeCommand) (worker.Exit, error) {
			urls = append(urls, c.env("BOTHY_URL"))
			return worker.Exit{}, nil
		})
		r.start()
		first, second := r.build("b"), r.build("b")
		pass(time.Second)
		events := r.watch()
		d := r.reload(conf(step("other", "url")))
		mustEqual(t, "diff", d.Lines(), []string{"url changed", "builder b: steps changed"})
		_, b := r.want(first, build.Success)
		mustEqual(t, "steps", r.steps(b.ID), []string{"one success", "two success"})
		_, b = r.want(second, build.Success)
		mustEqual(t, "steps", r.steps(b.ID), []string{"other success"})
		mustEqual(t, "urls", urls, []string{"http://x2/", "http://x1/"})
		if i := slices.IndexFunc(events(), func(ev Event) bool { return ev.Kind == Reloaded }); i < 0 || events()[i].Text != d.String() {
			t.Error("no event tells of it")
		}
		if r.e.Config().URL != "http://x1/" {
			t.Error("Config is the old one")
		}
		if d := r.reload(conf(step("other", "url"))); len(d.Lines()) != 0 {
			t.Errorf("nothing changed: %v", d.Lines())
		}
	})
}

// TestReloadBuilders: requests of a builder that is gone are CANCELLED and say
// so; one that runs ends; one that runs and is lost is CANCELLED then.
func TestReloadBuilders(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		workers := []config.Worker{{Name: "w", Kind: config.WorkerRemote, MaxBuilds: 2}}
		r := newRig(t, &config.Config{Workers: workers, Builders: []config.Builder{work("gone", "work"), work("b", "true")}})
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		runs, lost, waits := r.build("gone"), r.build("gone"), r.build("gone")
		pass(time.Minute)
		d := r.reload(&config.Config{Workers: workers, Builders: []config.Builder{work("b", "true"), work("new", "true")}})
		mustEqual(t, "diff", d.Lines(), []string{"builder new added", "builder gone removed", "cancelled 1 pending request of a removed builder"})
		if !slices.Equal(d.Cancelled, []int64{waits.ID}) {
			t.Errorf("cancelled %v", d.Cancelled)
		}
		req, _ := r.want(waits, build.Cancelled)
		mustContain(t, req.Text, "no longer configured")
		if _, err := r.e.Submit(t.Context(), Submission{Builder: "gone"}); !errors.Is(err, ErrUnknown) {
			t.Errorf("submit: %v", err)
		}
		if err := r.e.StopBuild(t.Context(), r.builds(runs.ID)[0].ID, "", ""); err != nil {
			t.Error(err)
		}
		r.want(runs, build.Cancelled)
		r.fleet.kind("w").lose(false)
		req, _ = r.want(lost, build.Cancelled)
		mustContain(t, req.Text, "no longer configured")
		r.want(r.build("new"), build.Success)
		var ids []string
		for _, b := range r.e.Builders() {
			ids = append(ids, fmt.Sprint(b.ID, b.Name, b.Removed.IsZero()))
		}
		mustEqual(t, "ids", ids, []string{"1gonefalse", "2btrue", "3newtrue"})
	})
}

// TestReloadWorkers: workers come and go. One that goes takes no more builds and
// is released when it is idle; one that comes takes what waits.
func TestReloadWorkers(t *testing.T) {
	for _, kind := range []config.WorkerKind{config.WorkerLocal, config.WorkerRemote} {
		t.Run(string(kind), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				conf := func(names ...string) *config.Config {
					c := &config.Config{Builders: []config.Builder{work("b", "work")}}
					for _, n := range names {
						c.Workers = append(c.Workers, config.Worker{Name: n, Kind: kind, MaxBuilds: 1})
					}
					return c
				}
				r := newRig(t, conf("w", "idle"))
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				k := r.submit(Submission{Builder: "b", Worker: "w"})[0]
				pass(time.Minute)
				w, idle := r.fleet.kind("w"), r.fleet.kind("idle")
				d := r.reload(conf("x"))
				mustEqual(t, "diff", d.Lines(), []string{"worker x added", "worker w removed", "worker idle removed"})
				settle()
				if !idle.released.Load() || idle.closed.Load() != 1 || w.released.Load() || w.closed.Load() != 0 {
					t.Errorf("idle: %v %d, busy: %v %d", idle.released.Load(), idle.closed.Load(), w.released.Load(), w.closed.Load())
				}
				names := func() (all []string) {
					for _, v := range r.e.Workers() {
						all = append(all, fmt.Sprint(v.Name, v.Removed.IsZero(), len(v.Builds)))
					}
					return all
				}
				mustEqual(t, "workers", names(), []string{"wfalse 1", "xtrue 0"})
				if r.e.Worker("w").Blocked(time.Now()) != removedText {
					t.Error("it says nothing of its end")
				}
				if _, err := r.e.Submit(t.Context(), Submission{Builder: "b", Worker: "w"}); !errors.Is(err, ErrUnknown) {
					t.Errorf("submit: %v", err)
				}
				other := r.build("b") // on x
				r.want(k, build.Success)
				settle()
				if !w.released.Load() || w.closed.Load() != 1 {
					t.Errorf("released %v, closed %d", w.released.Load(), w.closed.Load())
				}
				mustEqual(t, "workers", names(), []string{"xtrue 1"})
				if err := r.e.ControlWorker(t.Context(), "w", worker.Pause, "", ""); !errors.Is(err, ErrUnknown) {
					t.Errorf("pause: %v", err)
				}
				if _, b := r.want(other, build.Success); b.Worker != "x" {
					t.Errorf("built on %s", b.Worker)
				}
				r.reload(conf("x", "w")) // with its id
				settle()
				mustEqual(t, "workers", names(), []string{"wtrue 0", "xtrue 0"})
				if _, b := r.want(r.submit(Submission{Builder: "b", Worker: "w"})[0], build.Success); b.Worker != "w" {
					t.Errorf("built on %s", b.Worker)
				}
			})
		})
	}
}

// TestReloadChangesWorkers: what is the master's business changes at once, while
// the worker stays connected; what makes it another worker, when it is idle.
func TestReloadChangesWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(w config.Worker) *config.Config {
			return &config.Config{Workers: []config.Worker{w}, Builders: []config.Builder{work("b", "work")}}
		}
		r := newRig(t, conf(config.Worker{Name: "w", MaxBuilds: 1}))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		a, b := r.build("b"), r.build("b")
		pass(time.Minute)
		before := r.fleet.kind("w")
		mustEqual(t, "diff", r.reload(conf(config.Worker{Name: "w", MaxBuilds: 2})).Lines(), []string{"worker w: max_builds changed"})
		pass(time.Minute)
		if w := r.w(); len(w.Builds) != 2 || w.MaxBuilds != 2 || before.closed.Load() != 0 {
			t.Errorf("%+v", w)
		}
		r.reload(conf(config.Worker{Name: "w", MaxBuilds: 2, Workdir: "other"}))
		c := r.build("b")
		pass(time.Minute)
		if why := r.why(c); !strings.Contains(why, "its configuration has changed") {
			t.Errorf("why: %q", why)
		}
		r.want(a, build.Success)
		r.want(b, build.Success)
		settle()
		if !before.released.Load() || before.closed.Load() != 1 || r.fleet.kind("w") == before {
			t.Error("it was not made anew")
		}
		r.reload(conf(config.Worker{Name: "w", Kind: config.WorkerRemote, MaxBuilds: 2}))
		r.want(c, build.Success)
		settle()
		if w := r.w(); w.Kind != config.WorkerRemote || !w.State.Connected() {
			t.Errorf("%+v", w)
		}
	})
}

// TestReloadWhileAWorkerGoes: a removed worker that is still busy comes back; so
// does one that is made anew twice, and one that never attached.
func TestReloadWhileAWorkerGoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(names ...string) *config.Config {
			c := &config.Config{Builders: []config.Builder{work("b", "work")}, Workers: []config.Worker{{Name: "other"}}}
			for _, n := range names {
				name, dir, _ := strings.Cut(n, "/")
				c.Workers = append(c.Workers, config.Worker{Name: name, MaxBuilds: 1, Workdir: dir})
			}
			return c
		}
		r := newRig(t, conf("w/1"))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		k := r.submit(Submission{Builder: "b", Worker: "w"})[0]
		pass(time.Minute)
		r.control(worker.Pause)
		for _, c := range []*config.Config{conf(), conf("w/1"), conf("w/2"), conf("w/3"), conf(), conf("w/4")} {
			r.reload(c)
			pass(time.Second)
		}
		r.want(k, build.Success)
		settle()
		if w := r.w(); !w.State.Connected() || !w.State.Paused.Set() || w.Conf.Workdir != "4" || !w.Removed.IsZero() {
			t.Errorf("%+v", w)
		}
		r.control(worker.Unpause)
		r.want(r.submit(Submission{Builder: "b", Worker: "w"})[0], build.Success)
	})
}

// TestReloadAbsentWorker: one that never came is let go of at once; its question
// for a connection ends.
func TestReloadAbsentWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, watchedWorkers("w", "x"))
		r.absent()
		r.start()
		pass(2 * time.Hour)
		k := r.fleet.kind("w")
		r.reload(watchedWorkers("x"))
		settle()
		if !k.released.Load() || r.e.Worker("w") != nil {
			t.Error("it is kept")
		}
		pass(time.Hour)
		r.reload(watchedWorkers("w", "x"))
		pass(time.Minute)
		if s := r.w().State; s.Missing() || !s.Loss.Since.Equal(time.Now().Add(-time.Minute)) {
			t.Errorf("a worker that is configured anew begins anew: %+v", s.Loss)
		}
	})
}

// TestReloadKind: a local worker that becomes a remote one is missing after its
// timeout from the change on, and was never seen; so over a restart of the master.
func TestReloadKind(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := &post{}
				local := watchedWorkers("w")
				local.Workers[0].Kind = config.WorkerLocal
				r := newRig(t, local, withPost(p))
				r.start()
				pass(100 * time.Hour)
				r.fleet.absent = true
				if restart {
					r.stop(Drain)
					r.conf = complete(t, watchedWorkers("w"))
					r.start()
				} else {
					r.reload(watchedWorkers("w"))
				}
				began := time.Now()
				if v := r.w(); !v.Configured.Equal(began) || !v.LastSeen.IsZero() || v.Info != nil || !v.State.Loss.Since.Equal(began) {
					t.Errorf("%+v", v)
				}
				pass(time.Hour - time.Second)
				if r.w().State.Missing() {
					t.Error("reported too early")
				}
				pass(2 * time.Second)
				if !r.w().State.Missing() {
					t.Errorf("%+v", r.w().State)
				}
				pass(2 * time.Minute)
				ls := p.letters()
				if len(ls) != 1 {
					t.Fatalf("%v", subjects(ls))
				}
				mustContain(t, ls[0].body, "has never connected since it was configured on "+began.Format(time.DateOnly))
			})
		})
	}
}

// TestReloadOfAMissingWorker: one that was reported, is taken out and put back
// while it is being let go of is a new one: its loss is one of its own.
func TestReloadOfAMissingWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, watchedWorkers("w", "x"))
		r.start()
		k := r.submit(Submission{Builder: "b", Worker: "w"})[0]
		r.want(k, build.Success)
		r.fleet.kind("w").slow = time.Minute
		r.fleet.kind("w").lose(true)
		pass(2 * time.Hour)
		if !r.w().State.Missing() {
			t.Fatalf("%+v", r.w().State)
		}
		r.reload(watchedWorkers("x"))
		settle()
		r.fleet.absent = true
		r.reload(watchedWorkers("w", "x"))
		pass(2 * time.Minute)
		if s := r.w().State; s.Missing() || time.Since(s.Loss.Since) > 3*time.Minute {
			t.Errorf("%+v", s.Loss)
		}
		pass(time.Hour)
		if !r.w().State.Missing() {
			t.Errorf("%+v", r.w().State)
		}
	})
}

// TestReloadTimers: a shorter missing_timeout and a canary that is turned off
// count at once.
func TestReloadTimers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, watchedWorkers("w"))
		r.start()
		settle()
		r.fleet.kind("w").lose(true)
		pass(30 * time.Minute)
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.MissingTimeout = 20 * time.Minute
		r.reload(conf)
		settle()
		if !r.w().State.Missing() {
			t.Errorf("%+v", r.w().State)
		}
	})
}

// TestReloadIsPreparedWhole: whatever goes wrong, nothing has changed.
func TestReloadIsPreparedWhole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(change func(*config.Config)) *config.Config {
			c := &config.Config{
				Workers:  []config.Worker{{Name: "w"}},
				Builders: []config.Builder{work("b", "true")}, Locks: []config.Lock{{Name: "l"}},
			}
			change(c)
			return c
		}
		var adopted, discarded int
		prepareErr := errors.New("the secrets cannot be had")
		r := newRig(t, conf(func(*config.Config) {}))
		attach := r.fleet.attach
		var made []*fakeKind
		r.opt = func(o *Options) {
			o.Attach = func(w config.Worker) (worker.Kind, error) {
				if w.Name == "bad" {
					return nil, errors.New("no such driver")
				}
				k, err := attach(w)
				made = append(made, k.(*fakeKind))
				return k, err
			}
			o.Prepare = func(_ context.Context, c *config.Config) (Prepared, error) {
				if c.Title == "secrets" {
					return Prepared{}, prepareErr
				}
				return Prepared{Adopt: func() { adopted++ }, Discard: func() { discarded++ }, Restart: []string{"web.listen"}}, nil
			}
		}
		r.start()
		settle()
		for name, c := range map[string]*config.Config{
			"secrets": conf(func(c *config.Config) { c.Title = "secrets" }),
			"basedir": conf(func(c *config.Config) { c.BaseDir = filepath.Join(t.TempDir(), "other") }),
			"worker": conf(func(c *config.Config) {
				c.Workers = append(c.Workers, config.Worker{Name: "good"}, config.Worker{Name: "bad"})
			}),
			"func": conf(func(c *config.Config) { c.Builders = append(c.Builders, work("f", "", withFunc("none"))) }),
		} {
			if d, err := r.e.Reload(t.Context(), complete(t, c)); err == nil || d.Lines() != nil {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
		settle()
		if discarded != 1 || adopted != 0 {
			t.Errorf("%d discarded, %d adopted", discarded, adopted)
		}
		for _, k := range made[1:] {
			if !k.released.Load() {
				t.Errorf("worker %s is kept", k.name)
			}
		}
		if len(r.e.Workers()) != 1 || r.e.Config().Title != "Bothy" {
			t.Error("something has changed")
		}
		d := r.reload(conf(func(c *config.Config) { c.Title, c.Locks = "new", nil }))
		mustEqual(t, "diff", d.Lines(), []string{"title changed", "lock l removed", "web.listen counts from the next start on"})
		if adopted != 1 {
			t.Error("not adopted")
		}
		r.want(r.build("b"), build.Success)
		p, err := r.store.SelectJournal(t.Context(), store.Select{Limit: store.NoLimit})
		if err != nil || !slices.ContainsFunc(p.Rows, func(e store.Entry) bool {
			return e.Kind == aboutMaster && e.What == "reload" && strings.Contains(e.Reason, "title changed")
		}) {
			t.Errorf("journal: %+v, %v", p.Rows, err)
		}
	})
}

func withFunc(name string) func(*config.Builder) {
	return func(b *config.Builder) { b.Steps = []config.Step{config.Func(name)} }
}

// TestReloadNeeds: what pending builds need is what the new configuration says.
func TestReloadNeeds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(cpus float64) *config.Config {
			return onMachine(work("b", "work", func(b *config.Builder) { b.CPUs = cpus }))
		}
		r := newRig(t, conf(3))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		a, b := r.build("b"), r.build("b")
		pass(time.Minute)
		if n := r.host.inUse(); n != 1 {
			t.Errorf("%d builds run", n)
		}
		r.reload(conf(1))
		settle()
		if n := r.host.inUse(); n != 2 {
			t.Errorf("%d builds run", n)
		}
		r.want(a, build.Success)
		r.want(b, build.Success)
	})
}
