package runner

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"bothy/runner/config"
)

// A worker that dials in must never become one in this process.
func TestOthersThanLocalWorkersAreAwaited(t *testing.T) {
	r := &Runner{conf: &config.Config{}, log: slog.New(slog.DiscardHandler)} // there is no place for local ones
	r.dialIn.Store(&dialIn{})
	if err := r.newRemote(); err != nil {
		t.Fatal(err)
	}
	defer r.remote.Close()
	for _, kind := range []config.WorkerKind{config.WorkerRemote, config.WorkerCommand} {
		k, err := r.attach(config.Worker{Name: "far", Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		if conn, err := k.Attach(ctx); conn != nil || !errors.Is(err, gone) {
			t.Errorf("%s: attached %v, %v", kind, conn, err)
		}
		if err := k.Release(t.Context(), true); err != nil {
			t.Error(err)
		}
	}
}
