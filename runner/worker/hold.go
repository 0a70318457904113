package worker

import "time"

// Hold says that a connection is cut, and that what runs on the worker goes on all
// the same until it is over. The zero value: the connection stands.
type Hold struct {
	Since  time.Time // when the cut was noticed
	Until  time.Time // when the worker counts as lost, unless it is back before
	Reason string    // what the cut showed as
}

// Set reports whether the connection is cut.
func (h Hold) Set() bool { return !h.Since.IsZero() }

// Holder is a [Conn] that outlives cuts. While it is cut, Done stays open, Ping
// fails, and what is asked of the worker waits until it is back.
type Holder interface {
	// Hold tells how it is now; changed is closed when that changes.
	Hold() (h Hold, changed <-chan struct{})
}
