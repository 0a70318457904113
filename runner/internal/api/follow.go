package api

import (
	"context"
	"net/http"
	"sync"
)

// follows are the logs that are being sent while they are written, to those who
// were let in by a configuration that may change. The zero value is ready.
type follows struct {
	mu  sync.Mutex
	all map[*http.Request]context.CancelFunc
}

// begin returns a context for the answer to r, which ends with it or when r would
// no longer be let in. The caller must call end.
func (f *follows) begin(r *http.Request) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(r.Context())
	if !isRevocable(ctx) {
		return ctx, cancel
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[*http.Request]context.CancelFunc{}
	}
	f.all[r] = cancel
	return ctx, func() {
		cancel()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.all, r)
	}
}

// check ends those that still does not let in. It does not wait for still, which
// may have passwords to compute.
func (f *follows) check(still func(*http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r, cancel := range f.all {
		go func() {
			if !still(r) {
				cancel()
			}
		}()
	}
}
