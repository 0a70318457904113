package api

import (
	"net/netip"
	"sync"
	"time"
)

// How wrong passwords are slowed down.
const (
	freeAttempts = 5           // wrong ones in a row before an address must wait
	firstWait    = time.Second // doubled with each further one
	longestWait  = time.Minute
	forgetAfter  = 15 * time.Minute
	maxAddresses = 4096 // remembered at once
)

// limiter slows down addresses that try passwords. The zero value is ready.
type limiter struct {
	mu    sync.Mutex
	addrs map[netip.Prefix]*attempts
}

// attempts are those of one address since the last one that succeeded.
type attempts struct {
	wrong int
	last  time.Time
}

// wait is how long the address must wait after its last attempt.
func (a *attempts) wait() time.Duration {
	if a.wrong < freeAttempts {
		return 0
	}
	return min(firstWait<<min(a.wrong-freeAttempts, 10), longestWait)
}

// neighbourhood is what one person is taken to hold: an IPv4 address, or the /64
// that a provider gives out in IPv6.
func neighbourhood(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // zero for an address that is none: all of those share it
	return p
}

// begin takes note of an attempt, as a wrong one until succeeded is called, so
// that a hundred at the same moment count as a hundred. It returns how long the
// address must wait instead; 0: the attempt may go on.
func (l *limiter) begin(addr netip.Addr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := time.Now(), neighbourhood(addr)
	a := l.addrs[key]
	if a != nil && now.Sub(a.last) >= forgetAfter {
		delete(l.addrs, key)
		a = nil
	}
	if a == nil {
		if l.addrs == nil {
			l.addrs = map[netip.Prefix]*attempts{}
		}
		l.makeRoom(now)
		a = &attempts{}
		l.addrs[key] = a
	}
	if wait := a.last.Add(a.wait()).Sub(now); a.wrong >= freeAttempts && wait > 0 {
		return wait
	}
	a.wrong++
	a.last = now
	return 0
}

// succeeded forgets what the address did wrong.
func (l *limiter) succeeded(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.addrs, neighbourhood(addr))
}

// makeRoom forgets old addresses, and the oldest one if none is old enough.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.addrs) < maxAddresses {
		return
	}
	var oldest netip.Prefix
	var at time.Time
	for key, a := range l.addrs {
		if now.Sub(a.last) >= forgetAfter {
			delete(l.addrs, key)
		} else if at.IsZero() || a.last.Before(at) {
			oldest, at = key, a.last
		}
	}
	if len(l.addrs) >= maxAddresses {
		delete(l.addrs, oldest)
	}
}
