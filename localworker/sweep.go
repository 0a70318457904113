package localworker

import (
	"context"

	"bothy/localworker/internal/spawn"
	"bothy/runner/worker"
)

// Sweep ends the processes that builds of earlier masters on the base directory
// left behind, however those ended, and returns their names. Call it once,
// before the first build.
func (h *Host) Sweep(ctx context.Context) ([]worker.Process, error) {
	return spawn.Sweep(ctx, h.spawnOptions())
}
