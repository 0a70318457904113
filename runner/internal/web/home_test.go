package web_test

import (
	"testing"

	"bothy/runner"
	"bothy/runner/config"
)

// Home shows what runs, with the last line of its output, what waits and what
// broke, as it happens.
func TestHomeIsLive(t *testing.T) {
	hold := newGate(t)
	r := newRig(t, &config.Config{
		Builders: []config.Builder{builder("test", "echo 'first line'; "+hold.wait+"; echo end; exit 1")},
		Workers:  []config.Worker{{Name: "w", MaxBuilds: 1}},
	})
	b := r.tab()
	b.open("")
	b.says("#running", "Nothing runs")
	eval[bool](b, "window.here = true") // it is never loaded again
	r.submit(runner.Request{Builder: "test"})
	b.says("#running", "test #1")
	b.says("#running .out", "first line")
	q := r.submit(runner.Request{Builder: "test", Reason: "because"})
	b.says("#waiting", "because")
	b.says("#waiting", "w: ")
	b.says("#load", "1 waiting")
	hold.open()
	r.wait(q)
	b.says("#broken", "test #2")
	b.says("#running", "Nothing runs")
	b.says("#live", "live")
	b.until("window.here")
}
