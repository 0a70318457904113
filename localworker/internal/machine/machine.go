// Package machine finds out what this machine, container or cgroup really
// grants: CPUs, memory, and how many builds that is good for. Everything can be
// read below another root directory, so that any machine can be described by a
// small tree of text files.
//
//	machine.go   Detector: what is looked at, and the cheap second look
//	report.go    Report: the answer, its JSON and the slot formula
//	explain.go   the answer for a person
//	cgroup.go    where our own cgroup is, and its ancestors
//	limits.go    the limit files of one cgroup
//	facts.go     CPUs and RAM of the machine
//	parse.go     the text formats of the kernel
//	pressure.go  memory pressure and OOM kills
package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"bothy/osrelease"
)

// Options are the settings of the [machine] table. The zero value is "auto" for
// all of them.
type Options struct {
	ConfiguredCPUs   float64 // 0: no limit besides those found
	ConfiguredMemory int64   // bytes; 0: no limit besides those found
	Reserve          int64   // bytes kept for the master and the system; 0: see [AutoReserve]; negative: none
	MemoryPerBuild   int64   // bytes; 0: [DefaultMemoryPerBuild]
}

// DefaultMemoryPerBuild is what a builder without setting and history is planned
// with, in bytes. product.md: memory_per_build.
const DefaultMemoryPerBuild = 1 << 30

// AutoReserve returns the part of memory that is not given to builds unless
// configured otherwise: 10 %, at least 256 MiB. product.md: reserve_memory.
func AutoReserve(memory int64) int64 { return max(256<<20, memory/10) }

// Detect looks at the machine whose root directory is root; "/" is this one. It
// fails only if root is not a directory or an option makes no sense: whatever
// cannot be read is said in the report.
func Detect(root string, o Options) (Report, error) {
	d, err := NewDetector(root, o)
	if err != nil {
		return Report{}, err
	}
	r := d.Read()
	r.Why = r.Explain()
	return r, nil
}

// Detector remembers where the limits of this process are written, so that
// reading them again is cheap. It belongs to one goroutine at a time.
type Detector struct {
	root     osrelease.Root
	hostOnly bool // neither /proc nor /sys: gopsutil and the Go runtime know what can be known
	options  Options

	osRelease  map[string]any
	fixed      []string // warnings that do not change between reads
	machine    []reading
	ram        reading
	membership []byte // /proc/self/cgroup at the last scan
	own        ownCgroup
	cpus       []limitFile
	memory     []limitFile
	oomGroups  []string
}

// NewDetector looks at the machine once. Errors are those of [Detect].
func NewDetector(root string, o Options) (*Detector, error) {
	if o.ConfiguredCPUs < 0 || math.IsNaN(o.ConfiguredCPUs) || math.IsInf(o.ConfiguredCPUs, 0) {
		return nil, fmt.Errorf("configured CPUs: %v is not a number of CPUs", o.ConfiguredCPUs)
	}
	if o.ConfiguredMemory < 0 || o.MemoryPerBuild < 0 {
		return nil, errors.New("configured memory must not be negative")
	}
	if o.MemoryPerBuild == 0 {
		o.MemoryPerBuild = DefaultMemoryPerBuild
	}
	d := &Detector{options: o, root: osrelease.Root(root)}
	if !d.root.Real() {
		d.root = osrelease.Root(filepath.Clean(root))
		if info, err := os.Stat(root); err != nil {
			return nil, fmt.Errorf("look at the machine: %w", err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("look at the machine below %s: not a directory", root)
		}
	}
	d.hostOnly = d.root.Real() && runtime.GOOS != "linux"
	d.readOSRelease(root)
	d.readMachine()
	d.scan()
	return d, nil
}

func (d *Detector) readOSRelease(root string) {
	fields, warnings, err := osrelease.Read(root)
	if err != nil && !(d.hostOnly && errors.Is(err, fs.ErrNotExist)) {
		d.fixed = append(d.fixed, "os-release: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, w := range warnings {
		d.fixed = append(d.fixed, w.String())
	}
	d.osRelease = osrelease.Properties(fields)
}

// scan finds the own cgroup and the limit files of it and its ancestors.
func (d *Detector) scan() {
	d.cpus, d.memory, d.oomGroups, d.own = nil, nil, nil, ownCgroup{}
	if d.hostOnly {
		return
	}
	d.membership = d.readMembership()
	d.own = locate(d.root, d.membership)
	d.addUnified()
	d.addLegacy()
}

func (d *Detector) readMembership() []byte {
	data, err := d.root.ReadFile(membershipFile, maxSmall)
	if err != nil {
		return nil
	}
	return data
}

// Read reads the limits again, which takes well under a millisecond, and returns
// a report without Why. RAM, os-release and the list of mounts are not looked at
// again; a move of this process to another cgroup is noticed. A limit that
// cannot be read any more stays in force.
func (d *Detector) Read() Report {
	if !d.hostOnly && !bytes.Equal(d.membership, d.readMembership()) {
		d.scan()
	}
	r := Report{OSRelease: d.osRelease, Cgroup: d.own.describe(), Warnings: append([]string{}, d.fixed...)}
	r.Warnings = append(r.Warnings, d.own.warnings...)

	cpus := append([]reading{}, d.machine...)
	cpus = append(cpus, d.readAffinity()...)
	cpus = append(cpus, d.readLimits("cpu", d.cpus)...)
	if d.options.ConfiguredCPUs > 0 {
		cpus = append(cpus, reading{source: sourceConfigured, path: "machine.cpus", value: d.options.ConfiguredCPUs})
	}
	r.CPUs = newCPUs(cpus)

	memory := append([]reading{d.ram}, d.readLimits("memory", d.memory)...)
	if d.options.ConfiguredMemory > 0 {
		memory = append(memory, reading{source: sourceConfigured, path: "machine.memory", value: float64(d.options.ConfiguredMemory)})
	}
	r.Memory = newMemory(memory, d.ram, d.options)

	r.Slots = Slots(r.CPUs.Value, r.Memory.Bytes, r.Memory.Reserve, r.Memory.PerBuild)
	r.Warnings = append(r.Warnings, r.doubts()...)
	r.Warnings = append(r.Warnings, d.oomGroupWarnings()...)
	return r
}

// readLimits reads the limits of a controller; if there are none, it says why.
func (d *Detector) readLimits(controller string, files []limitFile) []reading {
	if readings := readAll(d.root, files); len(readings) > 0 {
		return readings
	}
	return d.own.missing(controller)
}
