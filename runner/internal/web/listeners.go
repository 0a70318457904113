package web

import (
	"context"
	"net/http"
	"sync"
)

// listeners are those who are being told of what happens: whether they may be is
// asked when they begin, and that may change before they end. The zero value is
// ready.
type listeners struct {
	mu    sync.Mutex
	all   map[*http.Request]listener
	still func(*http.Request) bool // who may listen by the last change; nil: there was none
}

type listener struct {
	end       context.CancelFunc
	revocable bool // a change of the configuration counts
}

// begin returns a context for the answer to r, which ends with it or when r may
// no longer be told anything; acc is what let r in. The caller must call end.
func (l *listeners) begin(r *http.Request, acc *Access) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(r.Context())
	l.mu.Lock()
	if l.all == nil {
		l.all = map[*http.Request]listener{}
	}
	l.all[r] = listener{cancel, acc.Revocable}
	still := l.still
	l.mu.Unlock()
	if acc.Revocable && still != nil && !still(r) { // let in just before the change
		cancel()
	}
	return ctx, func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, r)
	}
}

// check ends those that a changed configuration, as still knows it, does not let
// in. It does not wait for still, which may have passwords to compute.
func (l *listeners) check(still func(*http.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.still = still
	for r, o := range l.all {
		if o.revocable {
			go func() {
				if !still(r) {
					o.end()
				}
			}()
		}
	}
}

// forget ends those that show the session of r, which has ended.
func (l *listeners) forget(r *http.Request) {
	gone, err := r.Cookie(cookieName)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, o := range l.all {
		if c, err := other.Cookie(cookieName); err == nil && c.Value == gone.Value {
			o.end()
		}
	}
}
