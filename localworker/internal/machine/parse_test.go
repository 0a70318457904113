package machine

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMountinfo(t *testing.T) {
	const text = `22 1 8:1 / / rw - ext4 /dev/sda rw
30 22 0:27 / /sys/fs/cgroup rw,nosuid shared:4 master:7 - cgroup2 cgroup2 rw,nsdelegate
31 22 0:28 /docker/a\040b /sys/fs/cgroup/cpu\054cpuacct ro - cgroup cgroup rw,cpu,cpuacct
32 22 0:29 /../.. /mnt/a\134b/ ro - cgroup cgroup rw,xattr,name=systemd
33 22 0:30 relative /x rw - cgroup2 none rw
34 22 0:31 / /y rw cgroup2 none rw
35 22 0:32 / /z rw - cgroup2
- - -
`
	want := []mount{
		{root: "/", point: "/sys/fs/cgroup", unified: true},
		{root: "/docker/a b", point: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"rw", "cpu", "cpuacct"}},
		{root: "/../..", point: `/mnt/a\b`, controllers: []string{"rw", "xattr", "name=systemd"}},
	}
	if d := cmp.Diff(want, parseMountinfo([]byte(text)), cmp.AllowUnexported(mount{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseMembership(t *testing.T) {
	got := parseMembership([]byte("12:memory:/docker/a:b\n4:cpu,cpuacct:/x (deleted)\n1:name=systemd:/\n0::/y\n5:pids\nnonsense\n6:freezer:relative\n"))
	want := membership{
		unified: "/y",
		legacy:  map[string]string{"memory": "/docker/a:b", "cpu": "/x", "cpuacct": "/x", "name=systemd": "/"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(membership{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCPUSets(t *testing.T) {
	tests := []struct {
		text  string
		parse func(string) (cpuSet, error)
		count int // -1: an error
	}{
		{"0\n", parseCPUList, 1},
		{"0-3,8,10-11", parseCPUList, 7},
		{"0-3,2-5", parseCPUList, 6},
		{"", parseCPUList, 0},
		{"65535", parseCPUList, 1},
		{"65536", parseCPUList, -1},
		{"0-4294967295", parseCPUList, -1},
		{"3-2", parseCPUList, -1},
		{"-1", parseCPUList, -1},
		{"0-31:2/4", parseCPUList, -1},
		{"0,,1", parseCPUList, -1},
		{"f", parseCPUMask, 4},
		{"1,00000000,ffffffff\n", parseCPUMask, 33},
		{"100000000", parseCPUMask, -1},
		{"x", parseCPUMask, -1},
		{"", parseCPUMask, -1},
		{strings.Repeat("f,", maxCPU/32) + "f", parseCPUMask, -1},
	}
	for _, tt := range tests {
		set, err := tt.parse(tt.text)
		if got := set.count(); (err != nil) != (tt.count < 0) || err == nil && got != tt.count {
			t.Errorf("%.30q: %d CPUs, error %v; want %d", tt.text, got, err, tt.count)
		}
	}
	mask, err := parseCPUMask("1,0")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseCPUList("31-33")
	if err != nil {
		t.Fatal(err)
	}
	if got := mask.and(list); got.count() != 1 || list.and(mask).count() != 1 {
		t.Errorf("the first word of a mask is not the highest: %v", got)
	}
}

func TestParseAmounts(t *testing.T) {
	none := amount{unlimited: true}
	quota := func(s string) (amount, error) {
		quota, period, _ := strings.Cut(s, " ")
		return parseQuota(quota, period)
	}
	tests := []struct {
		name, text string
		parse      func(string) (amount, error)
		want       amount
		err        string
	}{
		{"cpu.max", "150000 100000\n", parseCPUMax, amount{value: 1.5}, ""},
		{"cpu.max", "1000 1000000", parseCPUMax, amount{value: 0.001}, ""},
		{"cpu.max", "max 100000", parseCPUMax, none, ""},
		{"cpu.max", "max", parseCPUMax, none, ""},
		{"cpu.max", "200000", parseCPUMax, amount{value: 2}, ""},
		{"cpu.max", "", parseCPUMax, amount{}, `"" is not a CPU quota`},
		{"cpu.max", "1 2 3", parseCPUMax, amount{}, `"1 2 3" is not a CPU quota`},
		{"cpu.max", "100000 0", parseCPUMax, amount{}, `"0" is not a CPU period`},
		{"cpu.max", "0 100000", parseCPUMax, amount{}, `"0" is not a CPU quota`},
		{"cpu.max", "nan 100000", parseCPUMax, amount{}, `"nan" is not a CPU quota`},
		{"cfs", "-1 100000", quota, none, ""},
		{"cfs", "250000 100000", quota, amount{value: 2.5}, ""},
		{"cfs", "250000 -1", quota, amount{}, `"-1" is not a CPU period`},
		{"memory", "max\n", parseBytes, none, ""},
		{"memory", "-1", parseBytes, none, ""},
		{"memory", "0", parseBytes, amount{}, ""},
		{"memory", "4294967296\n", parseBytes, amount{value: 1 << 32}, ""},
		{"memory, pages of 4 KiB", "9223372036854771712", parseBytes, amount{value: 9223372036854771712, unlimited: true}, ""},
		{"memory, pages of 64 KiB", "9223372036854710272", parseBytes, amount{value: 9223372036854710272, unlimited: true}, ""},
		{"memory, older kernels", "18446744073709551615", parseBytes, amount{value: 18446744073709551615, unlimited: true}, ""},
		{"memory", "18446744073709551616", parseBytes, amount{}, `"18446744073709551616" is not a number of bytes`},
		{"memory", "-2", parseBytes, amount{}, `"-2" is not a number of bytes`},
		{"memory", "1 GiB", parseBytes, amount{}, `"1 GiB" is not a number of bytes`},
	}
	for _, tt := range tests {
		got, err := tt.parse(tt.text)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tt.want || text != tt.err {
			t.Errorf("%s %q: got %+v, error %q; want %+v, error %q", tt.name, tt.text, got, text, tt.want, tt.err)
		}
	}
}

func TestParseFacts(t *testing.T) {
	for text, want := range map[string]int64{
		"MemFree: 1 kB\nMemTotal:       16384 kB\n": 16 << 20,
		"MemTotal: 1 MB\n":                          0,
		"MemTotal: 0 kB\n":                          0,
		"MemTotal: -4 kB\n":                         0,
		"MemTotal: 9223372036854775807 kB\n":        0,
		"SwapTotal: 1 kB\nXMemTotal: 1 kB\n":        0,
		"MemTotal:\t 4 kB\nMemTotal: 8 kB\n":        4 << 10,
	} {
		if got, err := parseMemTotal([]byte(text)); got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: got %d, error %v; want %d", text, got, err, want)
		}
	}
	if n := parseCPUInfo([]byte("processor\t: 0\nmodel name\t: processor : 7\n\nprocessor\t: 3\nprocessor : x\nProcessor\t: 9\n")).count(); n != 2 {
		t.Errorf("cpuinfo: %d CPUs, want 2", n)
	}
	for text, want := range map[string]int64{"oom 1\noom_kill 2\n": 2, "oom_kill -2": -1, "oom_kills 2": -1, "": -1} {
		got, ok := counter([]byte(text), "oom_kill")
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("counter in %q: %d %v, want %d", text, got, ok, want)
		}
	}
}

func TestParsePressure(t *testing.T) {
	tests := []struct {
		text       string
		some, full float64
		ok         bool
	}{
		{"some avg10=1.50 avg60=2.00 avg300=3.00 total=4\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=0\n", 1.5, 0.5, true},
		{"some avg10=100.00 avg60=2.00\n", 100, 0, true},
		{"some avg60=2.00\n", 0, 0, false},
		{"some avg10=nan\n", 0, 0, false},
		{"some avg10=100.01\n", 0, 0, false},
		{"some avg10=-1\n", 0, 0, false},
		{"full avg10=1.00\n", 0, 0, false},
		{"", 0, 0, false},
	}
	for _, tt := range tests {
		some, full, err := parsePressure([]byte(tt.text))
		if some != tt.some || full != tt.full || (err == nil) != tt.ok {
			t.Errorf("%q: got %v %v %v", tt.text, some, full, err)
		}
	}
}

func FuzzCgroupFiles(f *testing.F) {
	f.Add("30 22 0:27 /../.. /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n31 22 0:28 / /a\\040b rw - cgroup cgroup rw,cpu,cpuacct\n", "0::/../x\n4:cpu,cpuacct:/docker/a\n")
	f.Add("1 2 3 4 5 6 - cgroup2 x y", "0::/ (deleted)")
	f.Add(`30 22 0:27 /\777 /\0 rw - cgroup c c`, ":::/\n::")
	f.Fuzz(func(t *testing.T, mountinfo, members string) {
		in := parseMembership([]byte(members))
		paths := []string{in.unified}
		for _, p := range in.legacy {
			paths = append(paths, p)
		}
		for _, m := range parseMountinfo([]byte(mountinfo)) {
			for _, p := range paths {
				rel, exact := below(p, m.root)
				if rel == "" || rel[0] != '/' || strings.Contains(rel+"/", "/../") {
					t.Errorf("below(%q, %q) = %q leads out of the mount", p, m.root, rel)
				}
				if exact && !strings.HasPrefix(p, strings.TrimSuffix(m.root, "/")) {
					t.Errorf("below(%q, %q) claims to be exact", p, m.root)
				}
			}
		}
	})
}

func FuzzCPUSets(f *testing.F) {
	f.Add("0-3,8")
	f.Add("ff,ffffffff")
	f.Add("65535")
	f.Add("0-4294967295,-,")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (cpuSet, error){parseCPUList, parseCPUMask} {
			set, err := parse(text)
			if err != nil && set != nil {
				t.Errorf("%q: a set and an error", text)
			}
			if n := set.count(); n > maxCPU || set.and(set).count() != n {
				t.Errorf("%q: %d CPUs", text, n)
			}
		}
	})
}

func FuzzLimits(f *testing.F) {
	for _, s := range []string{
		"max 100000", "150000 100000", "9223372036854771712", "-1", "max",
		"some avg10=0.10 avg60=0.00\nfull avg10=nan", "MemTotal: 1 kB", "oom_kill 1", "processor : 1\nprocessor:99999999999",
		"Cpus_allowed_list:\t0-3\nCpus_allowed: f",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data := []byte(text)
		for _, parse := range []func(string) (amount, error){parseCPUMax, parseBytes, func(s string) (amount, error) { return parseQuota(s, s) }} {
			if a, err := parse(text); err == nil && (math.IsNaN(a.value) || math.IsInf(a.value, 0) || a.value < 0) {
				t.Errorf("%q: %v", text, a.value)
			}
		}
		if some, full, err := parsePressure(data); err == nil && !(some >= 0 && some <= 100 && full >= 0 && full <= 100) {
			t.Errorf("%q: pressure %v %v", text, some, full)
		}
		if n, err := parseMemTotal(data); err == nil && n <= 0 {
			t.Errorf("%q: %d bytes", text, n)
		}
		if n, ok := counter(data, "oom_kill"); ok && n < 0 {
			t.Errorf("%q: %d kills", text, n)
		}
		if n := parseCPUInfo(data).count(); n > strings.Count(text, "processor") {
			t.Errorf("%q: %d CPUs", text, n)
		}
		if set, err := parseAllowed(data); err == nil && set.count() > maxCPU {
			t.Errorf("%q: %d CPUs", text, set.count())
		}
	})
}
