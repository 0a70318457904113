package engine

import (
	"context"
	"fmt"

	"bothy/runner/internal/control"
)

// Status says what the engine does at present.
func (e *Engine) Status(ctx context.Context) (control.Status, error) {
	var s control.Status
	err := e.call(ctx, func(l *loop) {
		s = control.Status{Running: len(l.builds), Pending: l.queue.Len(), Stopping: l.stopping}
		if l.degraded != nil {
			s.Degraded = l.degraded.Error()
		}
	})
	if err != nil {
		return control.Status{}, err // the loop may still be at it
	}
	return s, nil
}

// Pending returns how many requests wait, by builder, without builders that have
// none.
func (e *Engine) Pending(ctx context.Context) (map[string]int, error) {
	var n map[string]int
	err := e.call(ctx, func(l *loop) { n = l.queue.Counts() })
	if err != nil {
		return nil, err // the loop may still be at it
	}
	return n, nil
}

// Healthy returns nil while requests are accepted.
func (e *Engine) Healthy(ctx context.Context) error {
	s, err := e.Status(ctx)
	switch {
	case err != nil:
		return err
	case s.Degraded != "":
		return fmt.Errorf("%w: %s", ErrDegraded, s.Degraded)
	case s.Stopping:
		return ErrStopped
	}
	return nil
}
