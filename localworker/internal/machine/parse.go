package machine

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits on what is read, in bytes. cpuinfo has about 1.5 KiB per CPU, mountinfo
// some 200 bytes per mount.
const (
	maxSmall = 64 << 10
	maxLarge = 4 << 20
)

// mount is a cgroup file system in /proc/self/mountinfo.
type mount struct {
	root        string   // the cgroup that is seen at point, relative to our cgroup namespace
	point       string   // where it is mounted
	unified     bool     // cgroup v2
	controllers []string // of a v1 hierarchy, "name=systemd" included
}

// parseMountinfo returns the cgroup mounts of proc_pid_mountinfo(5), in the order
// of the file. Other mounts and lines it does not understand are left out.
func parseMountinfo(data []byte) []mount {
	var mounts []mount
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 {
			continue
		}
		m := mount{root: unescape(fields[3]), point: unescape(fields[4])}
		if !path.IsAbs(m.root) || !path.IsAbs(m.point) {
			continue
		}
		m.point = path.Clean(m.point)
		switch fields[dash+1] {
		case "cgroup2":
			m.unified = true
		case "cgroup":
			m.controllers = strings.Split(fields[dash+3], ",")
		default:
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes the \ooo that the kernel writes for blanks and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// membership is what /proc/self/cgroup says: a cgroup's path per hierarchy.
type membership struct {
	unified string            // empty: not in a v2 hierarchy
	legacy  map[string]string // by v1 controller
}

func parseMembership(data []byte) membership {
	m := membership{legacy: map[string]string{}}
	for line := range bytes.Lines(data) {
		parts := strings.SplitN(strings.TrimRight(string(line), "\r\n"), ":", 3)
		if len(parts) != 3 || !path.IsAbs(parts[2]) {
			continue
		}
		// The cgroup was removed; its ancestors are still right.
		cgroup := strings.TrimSuffix(parts[2], " (deleted)")
		if parts[1] == "" {
			m.unified = cgroup
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			m.legacy[controller] = cgroup
		}
	}
	return m
}

// maxCPU bounds the numbers in a CPU list. Linux: NR_CPUS is at most 8192.
const maxCPU = 1 << 16

// cpuSet is a set of CPU numbers as bits.
type cpuSet []uint64

func (s *cpuSet) add(cpu int) {
	for len(*s) <= cpu/64 {
		*s = append(*s, 0)
	}
	(*s)[cpu/64] |= 1 << (cpu % 64)
}

func (s cpuSet) count() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s cpuSet) and(o cpuSet) cpuSet {
	both := slices.Clone(s[:min(len(s), len(o))])
	for i := range both {
		both[i] &= o[i]
	}
	return both
}

// parseCPUList reads the kernel's list format, "0-3,8". An empty list is an empty set.
func parseCPUList(s string) (cpuSet, error) {
	var set cpuSet
	s = strings.TrimSpace(s)
	if s == "" {
		return set, nil
	}
	for item := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil || from > to || to >= maxCPU {
			return nil, fmt.Errorf("%.20q is not a CPU or a range of CPUs", item)
		}
		for cpu := from; cpu <= to; cpu++ {
			set.add(int(cpu))
		}
	}
	return set, nil
}

// parseCPUMask reads the kernel's mask format: words of 32 bits in hexadecimal,
// the highest first, "ff,ffffffff".
func parseCPUMask(s string) (cpuSet, error) {
	var set cpuSet
	words := strings.Split(strings.TrimSpace(s), ",")
	if len(words) > maxCPU/32 {
		return nil, errors.New("CPU mask is too long")
	}
	for i, word := range words {
		mask, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%.20q is not a CPU mask", word)
		}
		for ; mask != 0; mask &= mask - 1 {
			set.add((len(words)-1-i)*32 + bits.TrailingZeros64(mask))
		}
	}
	return set, nil
}

// parseAllowed returns the CPUs that /proc/self/status says we may use.
func parseAllowed(status []byte) (cpuSet, error) {
	if list, ok := field(status, "Cpus_allowed_list:"); ok {
		return parseCPUList(list)
	}
	if mask, ok := field(status, "Cpus_allowed:"); ok {
		return parseCPUMask(mask)
	}
	return nil, errors.New("no Cpus_allowed_list")
}

// parseCPUInfo returns the CPUs that have an entry in /proc/cpuinfo.
func parseCPUInfo(data []byte) cpuSet {
	var set cpuSet
	for line := range bytes.Lines(data) {
		key, value, _ := strings.Cut(string(line), ":")
		cpu, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
		if strings.TrimSpace(key) == "processor" && err == nil && cpu < maxCPU {
			set.add(int(cpu))
		}
	}
	return set
}

// parseMemTotal returns the bytes of RAM that /proc/meminfo names.
func parseMemTotal(meminfo []byte) (int64, error) {
	text, ok := field(meminfo, "MemTotal:")
	if !ok {
		return 0, errors.New("no MemTotal")
	}
	kib, ok := strings.CutSuffix(text, " kB")
	n, err := strconv.ParseInt(strings.TrimSpace(kib), 10, 64)
	if !ok || err != nil || n <= 0 || n > math.MaxInt64>>10 {
		return 0, fmt.Errorf("MemTotal: %.40q is not a number of kB", text)
	}
	return n << 10, nil
}

// field returns what follows name at the start of a line, without blanks around it.
func field(data []byte, name string) (string, bool) {
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return string(bytes.TrimSpace(rest)), true
		}
	}
	return "", false
}

// counter returns the number behind name in a file of "name number" lines.
func counter(data []byte, name string) (int64, bool) {
	text, ok := field(data, name+" ")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

// defaultPeriod is the period of a CPU quota that names none. Linux: 100 ms.
const defaultPeriod = 100_000 // µs

// parseCPUMax reads cpu.max: "QUOTA PERIOD" in µs, or "max PERIOD".
func parseCPUMax(s string) (amount, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 || len(fields) > 2 {
		return amount{}, notA("CPU quota", s)
	}
	period := strconv.Itoa(defaultPeriod)
	if len(fields) == 2 {
		period = fields[1]
	}
	if fields[0] == "max" {
		return amount{unlimited: true}, nil
	}
	return parseQuota(fields[0], period)
}

// parseQuota reads cpu.cfs_quota_us and cpu.cfs_period_us; a negative quota is none.
func parseQuota(quota, period string) (amount, error) {
	q, err := strconv.ParseInt(strings.TrimSpace(quota), 10, 64)
	if err != nil || q == 0 {
		return amount{}, notA("CPU quota", quota)
	}
	if q < 0 {
		return amount{unlimited: true}, nil
	}
	p, err := strconv.ParseInt(strings.TrimSpace(period), 10, 64)
	if err != nil || p <= 0 {
		return amount{}, notA("CPU period", period)
	}
	return amount{value: float64(q) / float64(p)}, nil
}

// parseBytes reads a memory limit: a number of bytes, "max", or -1.
func parseBytes(s string) (amount, error) {
	s = strings.TrimSpace(s)
	if s == "max" || s == "-1" {
		return amount{unlimited: true}, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return amount{}, notA("number of bytes", s)
	}
	return amount{value: float64(n), unlimited: n >= noLimit}, nil
}

// noLimit is the least number of bytes that means "none" whatever the machine
// has: v1 writes the largest multiple of the page size below 2^63,
// 9223372036854771712 with pages of 4 KiB.
const noLimit = 1 << 62

func notA(what, s string) error {
	return fmt.Errorf("%.40q is not a %s", strings.TrimSpace(s), what)
}

// parsePressure reads a PSI file and returns the shares of the last 10 s, in per
// cent, in which some task, and in which all tasks, waited.
func parsePressure(data []byte) (some, full float64, err error) {
	if some, err = avg10(data, "some"); err != nil {
		return 0, 0, err
	}
	// Absent for CPUs before Linux 5.13.
	full, err = avg10(data, "full")
	if err != nil {
		full = 0
	}
	return some, full, nil
}

func avg10(data []byte, name string) (float64, error) {
	text, _ := field(data, name+" ")
	for part := range strings.FieldsSeq(text) {
		if number, ok := strings.CutPrefix(part, "avg10="); ok {
			v, err := strconv.ParseFloat(number, 64)
			if err != nil || !(v >= 0 && v <= 100) {
				return 0, notA("share of time", number)
			}
			return v, nil
		}
	}
	return 0, fmt.Errorf("no avg10 in the %q line", name)
}
