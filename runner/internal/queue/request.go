package queue

import (
	"cmp"
	"time"

	"bothy/runner/worker"
)

// BypassLimit is how long a request may be passed over by requests of lower rank
// before what it needs is kept for it.
const BypassLimit = 10 * time.Minute

// Request is a build that is wanted.
type Request struct {
	ID          int64 // unique
	Builder     string
	Priority    int // larger goes first
	Submitted   time.Time
	Need        worker.Need
	Worker      string // the only worker that may run it; "": any of the builder's
	CollapseKey string // equal keys of a builder collapse; "": never
	Held        string // why it must not start; "": it may
}

// rank is a request's place in the order.
type rank struct {
	priority  int
	submitted time.Time
	id        int64
}

// compare is negative when a goes first.
func (a rank) compare(b rank) int {
	if c := cmp.Compare(b.priority, a.priority); c != 0 {
		return c
	}
	if c := a.submitted.Compare(b.submitted); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// item is a pending request.
type item struct {
	Request
	shape  *shape // nil: the request is not to be started now
	bypass *bypass

	// Requests with the same collapse key form a list, in the order of their
	// arrival.
	older, newer *item
}

// bypass remembers that a request was passed over.
type bypass struct {
	since time.Time
	by    rank   // the first that did it
	host  string // where, "" if only a lock was taken
}

func (it *item) rank() rank          { return rank{it.Priority, it.Submitted, it.ID} }
func (it *item) before(o *item) bool { return it.rank().compare(o.rank()) < 0 }

// due reports whether the request was passed over for so long that what it needs
// is kept for it, or else when that will be, if nothing changes.
func (it *item) due(now time.Time) (bool, time.Time) {
	if it.bypass == nil {
		return false, time.Time{}
	}
	at := it.bypass.since.Add(BypassLimit)
	return !now.Before(at), at
}

// passedOver notes that by started before it. host is "" when only a lock was
// taken from it.
func (it *item) passedOver(now time.Time, by rank, host string) {
	switch {
	case it.bypass == nil:
		it.bypass = &bypass{since: now, by: by, host: host}
	case it.bypass.host == "":
		it.bypass.host = host
	}
}

// inherit gives the first request of a shape the clock of the one before it, if
// it was passed over as well at that time.
func (it *item) inherit(b *bypass) {
	if it.bypass == nil && b != nil && !it.Submitted.After(b.since) && it.rank().compare(b.by) < 0 {
		c := *b
		it.bypass = &c
	}
}
