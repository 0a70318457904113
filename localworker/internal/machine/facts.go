package machine

import (
	"errors"

	"bothy/osrelease"
)

// readMachine reads what does not change while we run: which CPUs the machine
// has, and its RAM.
func (d *Detector) readMachine() {
	if d.hostOnly {
		d.machine = []reading{{source: sourceMachine, path: "runtime.NumCPU", value: float64(hostCPUs())}}
	} else {
		d.machine = []reading{onlineReading(d.root)}
	}
	if d.root.Real() {
		bytes, err := hostMemory()
		d.ram = reading{source: sourceRAM, path: "gopsutil", value: float64(bytes), err: err}
		if !d.hostOnly {
			d.ram.path = "/proc/meminfo"
		}
		return
	}
	d.ram = reading{source: sourceRAM, path: "/proc/meminfo"}
	data, err := d.root.ReadFile(d.ram.path, maxSmall)
	if err == nil {
		var bytes int64
		bytes, err = parseMemTotal(data)
		d.ram.value = float64(bytes)
	}
	d.ram.err = err
}

func onlineReading(root osrelease.Root) reading {
	set, name, err := online(root)
	return reading{source: sourceMachine, path: name, value: float64(set.count()), err: err}
}

// online returns the CPUs that are switched on, and the file that says so. A set
// without error is not empty.
func online(root osrelease.Root) (cpuSet, string, error) {
	const sys, proc = "/sys/devices/system/cpu/online", "/proc/cpuinfo"
	data, err := root.ReadFile(sys, maxSmall)
	if err == nil {
		var set cpuSet
		if set, err = parseCPUList(string(data)); err == nil && set.count() > 0 {
			return set, sys, nil
		}
	}
	if data, err := root.ReadFile(proc, maxLarge); err == nil {
		if set := parseCPUInfo(data); set.count() > 0 {
			return set, proc, nil
		}
	}
	if err == nil {
		err = errors.New("names no CPU")
	}
	return nil, sys, err
}

// readAffinity returns how many CPUs this process may run on. The mask may name
// CPUs that are offline or do not exist; the system call leaves them out, the
// file does not.
func (d *Detector) readAffinity() []reading {
	if d.hostOnly {
		return nil
	}
	if d.root.Real() {
		if n, err := hostAffinity(); err == nil {
			return []reading{{source: sourceAffinity, path: "sched_getaffinity(2)", value: float64(n)}}
		}
	}
	r := reading{source: sourceAffinity, path: "/proc/self/status"}
	data, err := d.root.ReadFile(r.path, maxSmall)
	if err != nil {
		r.err = err
		return []reading{r}
	}
	allowed, err := parseAllowed(data)
	if err != nil {
		r.err = err
		return []reading{r}
	}
	if set, _, err := online(d.root); err == nil {
		allowed = allowed.and(set)
	}
	if r.value = float64(allowed.count()); r.value == 0 {
		r.err = errors.New("names no CPU that is online")
	}
	return []reading{r}
}
