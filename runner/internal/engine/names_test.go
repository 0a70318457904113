package engine

import (
	"fmt"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
)

// names are ids and names of all that was ever known.
func (r *rig) names() (all []string) {
	for _, w := range r.e.KnownWorkers() {
		all = append(all, fmt.Sprint("worker ", w.ID, " ", w.Name, " ", w.Kind, " ", w.Removed.IsZero()))
	}
	for _, b := range r.e.Builders() {
		all = append(all, fmt.Sprint("builder ", b.ID, " ", b.Name, " ", b.Tags, " ", b.Removed.IsZero()))
	}
	return all
}

// TestIdsStay: names get their ids when they are first seen, by a terminal's
// master too, and keep them whatever the configuration says later.
func TestIdsStay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := func(builder string, tags []string, workers ...string) *config.Config {
			c := &config.Config{Builders: []config.Builder{work(builder, "true", func(b *config.Builder) { b.Tags = tags })}}
			for _, w := range workers {
				c.Workers = append(c.Workers, config.Worker{Name: w})
			}
			return c
		}
		r := newRig(t, conf("a", nil, "w"))
		r.opt = func(o *Options) { o.Foreground = true }
		r.start()
		settle()
		r.stop(Drain)
		r.opt = func(*Options) {}
		r.conf = complete(t, conf("b", []string{"x"}, "v"))
		r.start()
		first := []string{"worker 1 w local false", "worker 2 v local true", "builder 1 a [] false", "builder 2 b [x] true"}
		mustEqual(t, "names", r.names(), first)
		began := time.Now()
		r.want(r.submit(Submission{Builder: Command, Argv: []string{"true"}})[0], build.Success)
		mustEqual(t, "names", r.names(), append(first[:4:4], "builder 3 _command [] true"))
		pass(time.Hour)
		r.crash(false)

		r.opt = func(o *Options) { o.Foreground = true }
		r.conf = complete(t, conf("c", nil, "w"))
		r.start()
		settle()
		r.stop(Drain)
		r.opt = func(*Options) {}
		r.conf = complete(t, conf("a", []string{"y"}, "w", "v"))
		r.start()
		mustEqual(t, "names", r.names(), []string{
			"worker 1 w local true", "worker 2 v local true",
			"builder 1 a [y] true", "builder 2 b [x] false", "builder 3 _command [] true", "builder 4 c [] false",
		})
		if at := r.e.KnownWorkers()[0].Configured; !at.After(began) {
			t.Errorf("w came back at %s", at)
		}
	})
}
