package machine

import (
	"fmt"
	"math"
)

// Report says what the machine grants and what follows. Its JSON is what
// `bothy doctor --json` prints of the machine.
type Report struct {
	Slots     int            `json:"slots"`
	CPUs      CPUs           `json:"cpus"`
	Memory    Memory         `json:"memory"`
	OSRelease map[string]any `json:"os_release"` // worker properties; nil values are known to be absent
	// Containment is for the caller to fill in: how process trees are ended here.
	Containment string   `json:"containment"`
	Cgroup      Cgroup   `json:"cgroup"`
	Warnings    []string `json:"warnings"`
	Why         []string `json:"why,omitempty"` // the lines of Explain
}

// CPUs is how many CPUs may be used together.
type CPUs struct {
	Value float64 `json:"value"` // the least of the limits; 1 if none is known
	Chain
}

// Memory is how many bytes may be used together.
type Memory struct {
	Bytes    int64 `json:"bytes"`     // the least of the limits; 0 if none is known
	Reserve  int64 `json:"reserve"`   // bytes of it that builds do not get
	PerBuild int64 `json:"per_build"` // bytes a build is planned with
	Chain
	autoReserve bool
}

// Chain holds the limits of one resource: those of the machine first, then those
// of the own cgroup and each ancestor on the way up, then the configured one.
type Chain struct {
	DecidedBy  string       `json:"decided_by,omitempty"` // source and path of the limit that is the least
	Limits     []Limit      `json:"limits"`
	Soft       []Limit      `json:"soft,omitempty"` // memory.high: going over it makes builds slow, not impossible
	Unlimited  []Unlimited  `json:"unlimited,omitempty"`
	Unreadable []Unreadable `json:"unreadable,omitempty"`

	readings []reading
	decides  int
}

// Limit is a limit that was read: CPUs, or bytes.
type Limit struct {
	Source string  `json:"source"` // machine, affinity, ram, cgroup-v1, cgroup-v2 or configured
	Path   string  `json:"path"`
	Value  float64 `json:"value"`
	Raw    string  `json:"raw,omitempty"` // as the file has it
	Note   string  `json:"note,omitempty"`
}

// Unlimited is a place where a limit could be, but none is set.
type Unlimited struct {
	Source string `json:"source"`
	Path   string `json:"path"`
	Raw    string `json:"raw,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Unreadable is a place whose limit is not known.
type Unreadable struct {
	Source string `json:"source"`
	Path   string `json:"path"`
	Error  string `json:"error"`
}

// Cgroup says where this process is. The directories are empty where there is no
// such hierarchy, or where it cannot be looked at.
type Cgroup struct {
	Mode     Mode   `json:"mode"`
	V2       string `json:"v2,omitempty"`
	V1CPU    string `json:"v1_cpu,omitempty"`
	V1Memory string `json:"v1_memory,omitempty"`
}

// maxSlots keeps an absurd setting from becoming an absurd number of goroutines.
const maxSlots = 1 << 16

// Slots returns how many builds may run at once: max(1, min(⌊cpus⌋,
// ⌊(memory − reserve) / perBuild⌋)). Sizes are in bytes, perBuild is positive.
func Slots(cpus float64, memory, reserve, perBuild int64) int {
	byCPU, byMemory := shares(cpus, memory, reserve, perBuild)
	return max(1, min(byCPU, byMemory))
}

func shares(cpus float64, memory, reserve, perBuild int64) (byCPU, byMemory int) {
	return int(min(math.Floor(cpus), maxSlots)), int(min(max(0, memory-reserve)/perBuild, maxSlots))
}

func newChain(readings []reading) (Chain, float64) {
	value, by := decide(readings)
	c := Chain{Limits: []Limit{}, readings: readings, decides: by}
	if by >= 0 {
		c.DecidedBy = readings[by].source + " " + readings[by].path
	}
	for _, r := range readings {
		switch {
		case r.err != nil:
			c.Unreadable = append(c.Unreadable, Unreadable{r.source, r.path, reason(r.err)})
		case r.unlimited:
			c.Unlimited = append(c.Unlimited, Unlimited{r.source, r.path, r.raw, r.note})
		case r.soft:
			c.Soft = append(c.Soft, Limit{r.source, r.path, r.value, r.raw, r.note})
		default:
			c.Limits = append(c.Limits, Limit{r.source, r.path, r.value, r.raw, r.note})
		}
	}
	return c, value
}

func newCPUs(readings []reading) CPUs {
	chain, value := newChain(readings)
	if chain.decides < 0 {
		value = 1
	}
	return CPUs{Value: value, Chain: chain}
}

// newMemory treats a limit larger than RAM as none: it never binds.
func newMemory(readings []reading, ram reading, o Options) Memory {
	for i := range readings {
		if r := &readings[i]; ram.err == nil && r.err == nil && !r.unlimited && r.value > ram.value {
			r.unlimited, r.note = true, "larger than RAM"
		}
	}
	chain, value := newChain(readings)
	m := Memory{Reserve: o.Reserve, PerBuild: o.MemoryPerBuild, Chain: chain}
	if chain.decides >= 0 {
		m.Bytes = int64(value)
	}
	switch {
	case o.Reserve < 0:
		m.Reserve = 0
	case o.Reserve == 0:
		m.Reserve, m.autoReserve = AutoReserve(m.Bytes), true
	}
	return m
}

// doubts returns warnings about numbers that may be wrong.
func (r Report) doubts() []string {
	var warnings []string
	for _, u := range r.CPUs.Unreadable {
		warnings = append(warnings, fmt.Sprintf("could not read a CPU limit: %s %s: %s", u.Source, u.Path, u.Error))
	}
	if r.CPUs.decides < 0 {
		warnings = append(warnings, "the number of CPUs is not known; 1 is assumed")
	}
	for _, u := range r.Memory.Unreadable {
		warnings = append(warnings, fmt.Sprintf("could not read a memory limit: %s %s: %s", u.Source, u.Path, u.Error))
	}
	if r.Memory.decides < 0 {
		warnings = append(warnings, "the size of memory is not known; one build at a time")
	}
	for _, s := range r.Memory.Soft {
		if s.Value < float64(r.Memory.Bytes) {
			warnings = append(warnings, fmt.Sprintf("%s is %s: builds that together use more are slowed down, although %s are granted", s.Path, FormatBytes(int64(s.Value)), FormatBytes(r.Memory.Bytes)))
		}
	}
	return warnings
}
