package queue

import (
	"fmt"
	"math"

	"bothy/runner/worker"
)

// Host is a machine whose capacity its workers share.
type Host struct {
	Name   string
	Slots  int     // builds at the same time
	CPUs   float64 // logical CPUs
	Memory int64   // bytes
	// Blocked is why nothing may start there, such as "memory pressure is high";
	// "": builds may start.
	Blocked string
	// Taken is what others use of the host, such as another Runner in the same
	// process. A need that fits the host but not beside them waits.
	Taken Taken
}

// Taken is a part of a host that is in use by others.
type Taken struct {
	Builds int
	Need   worker.Need
}

// need is a worker.Need in whole numbers, so that what was added can be taken
// away again without a rest.
type need struct{ cpus, memory int64 } // millionths of a CPU; bytes

func needOf(n worker.Need) need {
	cpus := math.Round(n.CPUs * 1e6)
	switch {
	case !(cpus > 0): // NaN too
		cpus = 0
	case cpus > 1e15:
		cpus = 1e15
	}
	return need{int64(cpus), max(0, n.Memory)}
}

func (a need) String() string {
	return fmt.Sprintf("%.4g CPUs and %.4g GiB", float64(a.cpus)/1e6, float64(a.memory)/(1<<30))
}

func (a need) within(b need) bool { return a.cpus <= b.cpus && a.memory <= b.memory }
func (a need) plus(b need) need   { return need{a.cpus + b.cpus, a.memory + b.memory} }
func (a need) minus(b need) need  { return need{a.cpus - b.cpus, a.memory - b.memory} }

// host is what is known about a host. A nil *host has no limits: it stands for
// workers that have a machine of their own.
type host struct {
	def    Host
	known  bool // SetHost was called for it
	all    need
	taken  need
	builds int  // ours
	used   need // by ours
}

func (h *host) set(def Host) {
	h.def, h.known = def, true
	h.all = needOf(worker.Need{CPUs: def.CPUs, Memory: def.Memory})
	h.taken = needOf(def.Taken.Need)
}

func (h *host) add(n need) {
	if h != nil {
		h.builds++
		h.used = h.used.plus(n)
	}
}

func (h *host) remove(n need) {
	if h != nil {
		h.builds--
		h.used = h.used.minus(n)
	}
}

// running counts all builds, ours and those of others.
func (h *host) running() int { return h.builds + h.def.Taken.Builds }

// free may be negative: a build that runs alone, or a host that became smaller.
func (h *host) free() need { return h.all.minus(h.used).minus(h.taken) }

// open reports whether a build with a small enough need could start.
func (h *host) open() bool {
	return h == nil || h.known && h.def.Blocked == "" && h.running() < h.def.Slots
}

// fits reports whether a build with the need can start now.
func (h *host) fits(n need) bool {
	if h == nil {
		return true
	}
	if !h.open() {
		return false
	}
	if !n.within(h.all) {
		return h.running() == 0
	}
	return n.within(h.free())
}

// obstacle says why a build with the need cannot start, "" if it can.
func (h *host) obstacle(n need) (Predicate, string) {
	switch {
	case h.fits(n):
		return Ready, ""
	case !h.known:
		return HostUnknown, fmt.Sprintf("its host %q is not known", h.def.Name)
	case h.def.Blocked != "":
		return HostBlocked, h.def.Blocked
	case h.running() >= h.def.Slots:
		return HostSlots, fmt.Sprintf("%d of %d slots of %s are in use", h.running(), h.def.Slots, h.def.Name)
	case !n.within(h.all):
		return HostAlone, fmt.Sprintf("it needs %v, more than %s has (%v): it waits until the %d builds there have ended",
			n, h.def.Name, h.all, h.running())
	}
	free := h.free()
	return HostRoom, fmt.Sprintf("it needs %v, %s has %v free", n, h.def.Name, need{max(0, free.cpus), max(0, free.memory)})
}
