package remote

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxStrangers is how many peers may be on their way to being logged in, and
	// maxPerAddress how many of them from one address: a fleet behind one router
	// comes back all at once when the master restarts, and tries again.
	maxStrangers  = 1024
	maxPerAddress = 256
	// maxSlowed is how many failed logins of one address are being answered
	// slowly; more are dropped without an answer.
	maxSlowed = 4
	// failure n is answered after firstDelay · 2ⁿ⁻¹, at most maxDelay. A worker
	// of Buildbot's gives up waiting after 5 s.
	firstDelay = 50 * time.Millisecond
	maxDelay   = 4 * time.Second
	// forgiven is how long an address must not fail to start anew.
	forgiven = 10 * time.Minute
	// maxAddresses is how many addresses are remembered at most.
	maxAddresses = 4096
)

// guard bounds what strangers may cost, by address.
type guard struct {
	mu        sync.Mutex
	strangers int
	addresses map[netip.Prefix]*record
}

// record is what is known of an address.
type record struct {
	strangers []*stranger // the oldest first
	slowed    int         // failures being answered
	failures  int         // in a row
	last      time.Time
}

// stranger is a peer on its way to being logged in.
type stranger struct {
	from netip.Prefix
	drop func() // makes it leave; does not block
	left bool   // it counts no more; guarded by mu
}

// admit lets a stranger in, who must leave again; nil when there are too many.
// When all places are taken, the address that has the most makes room for one that
// has fewer: some hosts that only connect do not keep a fleet out.
func (g *guard) admit(from netip.Prefix, drop func()) *stranger {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.record(from)
	if r == nil || len(r.strangers) >= maxPerAddress || g.strangers >= maxStrangers && !g.shrink(len(r.strangers)+1) {
		if r != nil {
			g.forget(from)
		}
		return nil
	}
	s := &stranger{from: from, drop: drop}
	g.strangers++
	r.strangers = append(r.strangers, s)
	return s
}

// shrink drops the oldest stranger of the address that has the most, if those are
// more than n. The caller holds mu.
func (g *guard) shrink(n int) bool {
	var most *record
	for _, r := range g.addresses {
		if len(r.strangers) > n {
			most, n = r, len(r.strangers)
		}
	}
	if most == nil {
		return false
	}
	s := most.strangers[0]
	s.drop()
	g.remove(s)
	return true
}

// leave is the end of being a stranger.
func (g *guard) leave(s *stranger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(s)
}

// remove is leave with mu held.
func (g *guard) remove(s *stranger) {
	if s.left {
		return
	}
	s.left = true
	g.strangers--
	r := g.addresses[s.from]
	r.strangers = slices.DeleteFunc(r.strangers, func(other *stranger) bool { return other == s })
	g.forget(s.from)
}

// failed counts a failed login and returns how long its answer must wait; false:
// there is to be none. After true, answered must be called.
func (g *guard) failed(from netip.Prefix) (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.record(from)
	if r == nil {
		return 0, false
	}
	if time.Since(r.last) > forgiven {
		r.failures = 0
	}
	r.failures++
	r.last = time.Now()
	if r.slowed >= maxSlowed {
		return 0, false
	}
	r.slowed++
	return min(firstDelay<<min(r.failures-1, 16), maxDelay), true
}

func (g *guard) answered(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addresses[from].slowed--
}

// record returns what is known of an address, nil when there is no room for it.
// The caller holds mu.
func (g *guard) record(from netip.Prefix) *record {
	if r := g.addresses[from]; r != nil {
		return r
	}
	if g.addresses == nil {
		g.addresses = map[netip.Prefix]*record{}
	}
	if len(g.addresses) >= maxAddresses && !g.evict() {
		return nil
	}
	r := &record{}
	g.addresses[from] = r
	return r
}

// forget drops an address of which there is nothing to know. The caller holds mu.
func (g *guard) forget(from netip.Prefix) {
	r := g.addresses[from]
	if len(r.strangers) == 0 && r.slowed == 0 && (r.failures == 0 || time.Since(r.last) > forgiven) {
		delete(g.addresses, from)
	}
}

// evict makes room by forgetting the address that failed longest ago and has no
// stranger here. The caller holds mu.
func (g *guard) evict() bool {
	var oldest netip.Prefix
	for from, r := range g.addresses {
		if len(r.strangers) == 0 && r.slowed == 0 && (!oldest.IsValid() || r.last.Before(g.addresses[oldest].last)) {
			oldest = from
		}
	}
	delete(g.addresses, oldest)
	return oldest.IsValid()
}

// origin returns what failures are counted by: an IPv4 address, or the network
// that one customer has of IPv6. Addresses of other kinds count as one.
func origin(addr string) netip.Prefix {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
