package remote

import (
	"net/netip"
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
	strangers int
	slowed    int // failures being answered
	failures  int // in a row
	last      time.Time
}

// admit lets a stranger in, who must leave again. It is false when there are too
// many.
func (g *guard) admit(from netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strangers >= maxStrangers {
		return false
	}
	r := g.record(from)
	if r == nil || r.strangers >= maxPerAddress {
		return false
	}
	g.strangers++
	r.strangers++
	return true
}

// leave is the end of being a stranger.
func (g *guard) leave(from netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.strangers--
	g.addresses[from].strangers--
	g.forget(from)
}

// failed counts a failed login and returns how long its answer must wait; false:
// there is to be none. After true, answered must be called.
func (g *guard) failed(from netip.Prefix) (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.addresses[from]
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
	if r.strangers == 0 && (r.failures == 0 || time.Since(r.last) > forgiven) {
		delete(g.addresses, from)
	}
}

// evict makes room by forgetting the address that failed longest ago and has no
// stranger here. The caller holds mu.
func (g *guard) evict() bool {
	var oldest netip.Prefix
	for from, r := range g.addresses {
		if r.strangers == 0 && (!oldest.IsValid() || r.last.Before(g.addresses[oldest].last)) {
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
