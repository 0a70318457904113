package machine

import (
	"fmt"
	"path"
)

// PressureHigh is the share of the last 10 s, in per cent, from which memory
// pressure is called high, so that no further build starts: a tenth of the time
// some process waited for memory. Builds that merely stream through the page
// cache stay well below; systemd-oomd begins to kill when for 60 % of the time
// all processes waited (DefaultMemoryPressureLimit).
const PressureHigh = 10.0

// Pressure is what the kernel's pressure stall information says about memory.
type Pressure struct {
	Known bool    // false: the kernel has no PSI, or it cannot be read
	High  bool    // some file says at least PressureHigh; false if not known
	Some  float64 // per cent of the last 10 s in which some process waited, the worst file
	Full  float64 // the same for all processes, from that file
	Path  string  // that file
}

// String returns one line for a person.
func (p Pressure) String() string {
	if !p.Known {
		return "memory pressure is not known"
	}
	word := "low"
	if p.High {
		word = "high"
	}
	return fmt.Sprintf("memory pressure is %s: some process waited for memory %.1f %% of the last 10 s (%s)", word, p.Some, p.Path)
}

// Pressure reads the memory pressure of the machine and of the own cgroup.
func (d *Detector) Pressure() Pressure {
	var worst Pressure
	if d.hostOnly {
		return worst
	}
	files := []string{"/proc/pressure/memory"}
	if dirs := d.own.unified.dirs; len(dirs) > 0 {
		files = append(files, path.Join(dirs[0], "memory.pressure"))
	}
	for _, name := range files {
		data, err := d.root.ReadFile(name, maxSmall)
		if err != nil {
			continue
		}
		some, full, err := parsePressure(data)
		if err != nil || worst.Known && some <= worst.Some {
			continue
		}
		worst = Pressure{Known: true, High: some >= PressureHigh, Some: some, Full: full, Path: name}
	}
	return worst
}

// OOMKills counts processes killed for want of memory since boot, or since the
// cgroup was made; -1: not known. Only differences mean something.
type OOMKills struct {
	Own    int64 // in the own cgroup; with v2 also in those below it
	System int64 // on the whole machine
}

// OOMKills reads the counters.
func (d *Detector) OOMKills() OOMKills {
	kills := OOMKills{Own: -1, System: -1}
	if d.hostOnly {
		return kills
	}
	if n, ok := d.counter("/proc/vmstat", "oom_kill"); ok {
		kills.System = n
	}
	for _, own := range []struct {
		hierarchy
		file string
	}{{d.own.unified, "memory.events"}, {d.own.memory, "memory.oom_control"}} {
		if len(own.dirs) == 0 {
			continue
		}
		if n, ok := d.counter(path.Join(own.dirs[0], own.file), "oom_kill"); ok {
			kills.Own = n
		}
	}
	return kills
}

func (d *Detector) counter(file, name string) (int64, bool) {
	data, err := d.root.ReadFile(file, maxSmall)
	if err != nil {
		return 0, false
	}
	return counter(data, name)
}
