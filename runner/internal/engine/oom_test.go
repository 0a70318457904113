package engine

import (
	"testing"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// TestPerhapsOOMOfASuccess: a kill that perhaps was not the step's does not undo
// its success, but is told.
func TestPerhapsOOMOfASuccess(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", func(*fakeCommand) (worker.Exit, error) {
			return worker.Exit{OOM: &worker.OOM{At: 1 << 30, Limit: 1 << 30}}, nil
		})
		r.start()
		req, b := r.want(r.build("b"), build.Success)
		if req.Attempts != 1 {
			t.Errorf("%d attempts", req.Attempts)
		}
		mustContain(t, r.text(b.ID), "killed a process for want of memory meanwhile, perhaps one of this step")
	})
}
