package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"bothy/osrelease"
)

// Where a limit comes from, as reports name it.
const (
	sourceMachine    = "machine"
	sourceAffinity   = "affinity"
	sourceRAM        = "ram"
	sourceV1         = "cgroup-v1"
	sourceV2         = "cgroup-v2"
	sourceCgroup     = "cgroup"
	sourceConfigured = "configured"
)

// amount is what a limit file says.
type amount struct {
	value     float64
	unlimited bool
}

// reading is one limit as found. "Unlimited" and "could not be read" are
// different answers.
type reading struct {
	source, path string
	raw          string // as written in the file
	value        float64
	unlimited    bool
	soft         bool // worth showing, not a limit of what can be used
	err          error
	note         string // for a person
}

// limitFile is a file that holds a limit.
type limitFile struct {
	source, path string
	read         func(osrelease.Root, string) (raw string, a amount, err error)
	soft         bool
	last         *reading // the last one that could be read
}

// addUnified collects the files of the own v2 cgroup and its ancestors. A
// controller that is not enabled in a cgroup has no files there; they are kept in
// the list, since enabling it later (systemctl set-property does) makes them.
func (d *Detector) addUnified() {
	for _, dir := range d.own.unified.dirs {
		d.cpus = append(d.cpus, limitFile{source: sourceV2, path: path.Join(dir, "cpu.max"), read: readCPUMax})
		d.memory = append(d.memory,
			limitFile{source: sourceV2, path: path.Join(dir, "memory.max"), read: readBytes},
			limitFile{source: sourceV2, path: path.Join(dir, "memory.high"), read: readBytes, soft: true})
		d.oomGroups = append(d.oomGroups, path.Join(dir, "memory.oom.group"))
	}
}

// addLegacy collects the files of the own v1 cgroups and their ancestors.
func (d *Detector) addLegacy() {
	for _, dir := range d.own.cpu.dirs {
		d.cpus = append(d.cpus, limitFile{source: sourceV1, path: path.Join(dir, "cpu.cfs_quota_us"), read: readQuota})
	}
	for _, dir := range d.own.memory.dirs {
		d.memory = append(d.memory, limitFile{source: sourceV1, path: path.Join(dir, "memory.limit_in_bytes"), read: readBytes})
	}
	// What lies above the mount cannot be read, but v1 sums it up here.
	if h := d.own.memory; h.root != "/" && len(h.dirs) > 0 {
		d.memory = append(d.memory, limitFile{source: sourceV1, path: path.Join(h.dirs[0], "memory.stat"), read: readHierarchical})
	}
}

func readCPUMax(root osrelease.Root, name string) (string, amount, error) {
	raw, err := readLine(root, name)
	if err != nil {
		return "", amount{}, err
	}
	a, err := parseCPUMax(raw)
	return raw, a, err
}

func readBytes(root osrelease.Root, name string) (string, amount, error) {
	raw, err := readLine(root, name)
	if err != nil {
		return "", amount{}, err
	}
	a, err := parseBytes(raw)
	return raw, a, err
}

func readQuota(root osrelease.Root, name string) (string, amount, error) {
	quota, err := readLine(root, name)
	if err != nil {
		return "", amount{}, err
	}
	if a, err := parseQuota(quota, "1"); err != nil || a.unlimited {
		return quota, a, err
	}
	period, err := readLine(root, path.Join(path.Dir(name), "cpu.cfs_period_us"))
	if err != nil {
		return "", amount{}, err
	}
	a, err := parseQuota(quota, period)
	return quota + " " + period, a, err
}

func readHierarchical(root osrelease.Root, name string) (string, amount, error) {
	const key = "hierarchical_memory_limit"
	data, err := root.ReadFile(name, maxSmall)
	if err != nil {
		return "", amount{}, err
	}
	raw, ok := field(data, key+" ")
	if !ok {
		return "", amount{}, errors.New("no " + key)
	}
	a, err := parseBytes(raw)
	return key + " " + raw, a, err
}

func readLine(root osrelease.Root, name string) (string, error) {
	data, err := root.ReadFile(name, maxSmall)
	return strings.TrimSpace(string(data)), err
}

func exists(root osrelease.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

// readAll reads the files. One that does not exist is left out: its controller
// is not enabled there, or its cgroup is no more.
func readAll(root osrelease.Root, files []limitFile) []reading {
	var readings []reading
	for i := range files {
		f := &files[i]
		raw, a, err := f.read(root, f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		r := reading{source: f.source, path: f.path, raw: raw, value: a.value, unlimited: a.unlimited, soft: f.soft, err: err}
		if err == nil {
			f.last = &r
		}
		readings = append(readings, r)
		if err != nil && f.last != nil {
			last := *f.last
			last.note = "as last read"
			readings = append(readings, last)
		}
	}
	return readings
}

// oomGroupWarnings names the cgroups in which an OOM kill takes every process.
func (d *Detector) oomGroupWarnings() []string {
	var warnings []string
	for _, name := range d.oomGroups {
		if raw, err := readLine(d.root, name); err == nil && raw == "1" {
			warnings = append(warnings, fmt.Sprintf("%s is 1: when a build runs out of memory, the kernel kills every process of that cgroup, and the master would die with the build", name))
		}
	}
	return warnings
}

// decide returns the least of the limits that bind, and its index; -1: none.
func decide(readings []reading) (value float64, by int) {
	value, by = math.Inf(1), -1
	for i, r := range readings {
		if r.binds() && r.value < value {
			value, by = r.value, i
		}
	}
	return value, by
}

func (r reading) binds() bool { return r.err == nil && !r.unlimited && !r.soft }

// reason returns the text of err without the path, which is said besides.
func reason(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "does not exist"
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
