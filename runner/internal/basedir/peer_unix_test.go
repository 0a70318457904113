//go:build unix

package basedir

import "testing"

func TestAllowed(t *testing.T) {
	for _, tt := range []struct {
		peer, own int
		ok        bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1000, 0, false}, {1001, 1000, false}, {-1, 1000, false}} {
		if err := allowed(tt.peer, tt.own); (err == nil) != tt.ok {
			t.Errorf("peer %d, own %d: %v", tt.peer, tt.own, err)
		}
	}
}
