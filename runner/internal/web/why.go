package web

import (
	"context"
	"slices"
	"strings"

	"bothy/runner/internal/queue"
)

// reasons are workers with the same reason not to take a request.
type reasons struct {
	Workers []string // none: it has nothing to do with workers
	Reason  string
}

// why returns what keeps a pending request from each worker, the most common
// reason first; nil if it is not pending.
func (s *Web) why(ctx context.Context, request int64) ([]reasons, error) {
	all, err := s.Engine.Why(ctx, request)
	if err != nil {
		return nil, err
	}
	var groups []reasons
	for _, r := range all {
		text := r.Reason
		if r.Predicate == queue.Ready {
			text = "starts next"
		}
		i := slices.IndexFunc(groups, func(g reasons) bool { return g.Reason == text })
		if i < 0 {
			groups = append(groups, reasons{Reason: text})
			i = len(groups) - 1
		}
		if r.Worker != "" {
			groups[i].Workers = append(groups[i].Workers, r.Worker)
		}
	}
	slices.SortStableFunc(groups, func(a, b reasons) int { return len(b.Workers) - len(a.Workers) })
	return groups, nil
}

// Names are the workers in words, only the first ones if there are many.
func (r reasons) Names() string {
	const most = 3
	if len(r.Workers) > most+1 {
		return strings.Join(r.Workers[:most], ", ") + " and " + count(len(r.Workers)-most, "other")
	}
	return strings.Join(r.Workers, ", ")
}
