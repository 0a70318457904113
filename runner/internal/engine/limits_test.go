package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/worker"
)

// TestMaxBuilds, scenarios 18 and 19: a worker runs as many builds as max_builds
// says, of one builder too, each in a directory of its own; exclusive gives
// Buildbot's one build of a builder.
func TestMaxBuilds(t *testing.T) {
	for _, tt := range []struct {
		name      string
		exclusive bool
		builders  []string // of the requests, in order
		together  int      // how many of the first run at once
		why       string   // what keeps the next
	}{
		{"one builder", false, []string{"a", "a", "a"}, 2, "runs 2 of 2 builds"},
		{"two builders", false, []string{"a", "b", "a"}, 2, "runs 2 of 2 builds"},
		{"exclusive", true, []string{"a", "a"}, 1, "runs a build of a, which is exclusive"},
		{"exclusive beside another", true, []string{"a", "b", "a"}, 2, "runs 2 of 2 builds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				exclusive := func(b *config.Builder) { b.Exclusive = tt.exclusive }
				r := newRig(t, &config.Config{
					Workers:  []config.Worker{{Name: "w", Kind: config.WorkerRemote, MaxBuilds: 2}},
					Builders: []config.Builder{work("a", "work", exclusive), work("b", "work", exclusive)},
				})
				r.fleet.on("work", sleeps(time.Minute))
				r.start()
				settle()
				var ks []*Ticket
				for _, name := range tt.builders {
					ks = append(ks, r.build(name))
				}
				pass(time.Second)
				var dirs []string
				for i, k := range ks {
					bs := r.builds(k.ID)
					if (len(bs) > 0) != (i < tt.together) {
						t.Errorf("request %d has %d builds", k.ID, len(bs))
					}
					for _, s := range r.fleet.started {
						if len(bs) > 0 && s.Token == bs[0].Token {
							dirs = append(dirs, (&fakeBuild{spec: s}).Dir())
						}
					}
				}
				if slices.Sort(dirs); len(slices.Compact(dirs)) != tt.together {
					t.Errorf("directories %q", dirs)
				}
				if why := r.why(ks[tt.together]); why != tt.why {
					t.Errorf("why: %q, want %q", why, tt.why)
				}
				for _, k := range ks {
					r.want(k, build.Success)
				}
			})
		})
	}
}

// TestMissingOff: with missing_timeout = 0 nobody is told of a loss, however long
// it lasts; it is known all the same.
func TestMissingOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.MissingTimeout = config.Off
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		r.fleet.kind("w").lose(true)
		pass(1000 * time.Hour)
		if s := r.w().State; s.Missing() || s.Loss.Phase != worker.LossOpen || len(p.letters()) != 0 {
			t.Errorf("%+v, %d mails", s, len(p.letters()))
		}
	})
}

// TestStartTakesAStopBack: of a busy remote worker too; one that is away is
// started on its own machine.
func TestStartTakesAStopBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		a, b := r.build("b"), r.build("b")
		pass(time.Second)
		r.control(worker.Stop)
		pass(time.Second)
		if g := r.w().State.Graceful; g.By != "ana" || g.Reason != "disk swap" {
			t.Errorf("%+v", g)
		}
		r.control(worker.Start)
		r.want(a, build.Success)
		r.want(b, build.Success)
		if n := r.fleet.kind("w").told.Load(); n != 0 {
			t.Errorf("told to end %d times", n)
		}
		r.fleet.kind("w").lose(true)
		pass(time.Second)
		err := r.e.ControlWorker(t.Context(), "w", worker.Start, "ana", "")
		if err == nil || !strings.Contains(err.Error(), "started on its own machine") {
			t.Errorf("start of an absent worker: %v", err)
		}
	})
}

// TestWorkerProperties: a worker's beat those of builder and request, configured
// ones beat what its system says, default_properties fill gaps; each says where
// it is from.
func TestWorkerProperties(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "true"))
		conf.Workers[0].Properties = map[string]any{"os_version_id": "mine", "a": "worker"}
		conf.Workers[0].DefaultProperties = map[string]any{"a": "default", "b": "default", "c": "default"}
		conf.Builders[0].Properties = map[string]any{"a": "builder", "b": "builder", "os_id": "builder"}
		r := newRig(t, conf)
		r.start()
		settle()
		forced := build.Properties{"a": {Value: "forced", Source: "Force"}, "d": {Value: "forced", Source: "Force"}}
		_, b := r.want(r.submit(Submission{Builder: "b", Properties: forced})[0], build.Success)
		for name, want := range map[string]build.Property{
			"a": {Value: "worker", Source: "Worker"}, "b": {Value: "builder", Source: "Builder"},
			"c": {Value: "default", Source: "Worker"}, "d": {Value: "forced", Source: "Force"},
			"os_id": {Value: "test", Source: "os-release"}, "os_id_like": {Value: nil, Source: "os-release"},
			"os_version_id": {Value: "mine", Source: "Worker"}, "workername": {Value: "w", Source: "Worker"},
		} {
			if got := b.Properties[name]; got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}

// TestRepositoryWithoutPassword: properties are shown to whoever may look, and
// the password of a builder's repository is not among them.
func TestRepositoryWithoutPassword(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "true"))
		conf.Builders[0].Source = config.Source{Kind: config.SourceGit, URL: "https://ann:geheim@h/x.git"}
		r := newRig(t, conf)
		r.start()
		settle()
		_, b := r.want(r.build("b"), build.Success)
		if got := b.Properties["repository"].Value; got != "https://ann:xxxxx@h/x.git" {
			t.Errorf("repository: %v", got)
		}
	})
}
