package engine

import (
	"sync/atomic"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
)

// TestCommitPace: short builds share commits while others run; who submits, and
// who waits for the last build, never waits for the pace.
func TestCommitPace(t *testing.T) {
	for _, tt := range []struct {
		pace     time.Duration
		min, max int64 // commits of 200 builds that follow one another in a second
	}{{0, 200, 10_000}, {50 * time.Millisecond, 15, 30}} {
		t.Run(tt.pace.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				builder := func(name string) config.Builder {
					return config.Builder{Name: name, NoCollapse: true, Steps: []config.Step{step(name, name)}}
				}
				r := newRig(t, onMachine(builder("short"), builder("long")), func(o *Options) { o.CommitPace = tt.pace })
				r.fleet.on("short", sleeps(5*time.Millisecond))
				r.fleet.on("long", sleeps(time.Minute))
				r.host = newFakeHost(2)
				r.open()
				var commits atomic.Int64
				inner := r.e.commit
				r.e.commit = func(b *store.Batch) error {
					commits.Add(1)
					return inner(b)
				}
				go r.e.Run()
				r.running = true
				began := time.Now()
				long := r.build("long")
				subs := make([]Submission, 200)
				for i := range subs {
					subs[i].Builder = "short"
				}
				tickets := r.submit(subs...)
				if d := time.Since(began); d != 0 {
					t.Errorf("accepting took %v", d)
				}
				for _, k := range tickets {
					r.want(k, build.Success)
				}
				if d := time.Since(began); d < time.Second || d > time.Second+tt.pace {
					t.Errorf("the short builds took %v", d)
				}
				if n := commits.Load(); n < tt.min || n > tt.max {
					t.Errorf("%d commits, want %d to %d", n, tt.min, tt.max)
				}
				r.want(long, build.Success)
				if d := time.Since(began); d != time.Minute {
					t.Errorf("the last build is told of after %v", d)
				}
			})
		})
	}
}
