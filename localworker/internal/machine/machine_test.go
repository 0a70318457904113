package machine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSlots(t *testing.T) {
	const MiB, GiB = 1 << 20, 1 << 30
	tests := []struct {
		cpus                      float64
		memory, reserve, perBuild int64
		want                      int
	}{
		{4, 64 * GiB, 0, GiB, 4},
		{3.99, 64 * GiB, 0, GiB, 3},
		{0.5, 64 * GiB, 0, GiB, 1},
		{64, 8 * GiB, GiB, GiB, 7},
		{64, 8*GiB - 1, GiB, GiB, 6},
		{64, 8 * GiB, GiB, 2 * GiB, 3},
		{64, 128 * MiB, 256 * MiB, GiB, 1},
		{64, 0, 256 * MiB, GiB, 1},
		{1e18, 1 << 60, 0, 1, maxSlots},
	}
	for _, tt := range tests {
		if got := Slots(tt.cpus, tt.memory, tt.reserve, tt.perBuild); got != tt.want {
			t.Errorf("Slots(%v, %d, %d, %d) = %d, want %d", tt.cpus, tt.memory, tt.reserve, tt.perBuild, got, tt.want)
		}
	}
}

func TestAutoReserve(t *testing.T) {
	for memory, want := range map[int64]int64{0: 256 << 20, 2 << 30: 256 << 20, 2560 << 20: 256 << 20, 100 << 30: 10 << 30} {
		if got := AutoReserve(memory); got != want {
			t.Errorf("AutoReserve(%d) = %d, want %d", memory, got, want)
		}
	}
}

// What is configured is one more limit, never a way around the others.
func TestOptions(t *testing.T) {
	const GiB = 1 << 30
	tests := []struct {
		name    string
		o       Options
		slots   int
		cpus    float64
		memory  int64
		reserve int64
		decided string
	}{
		{"auto", Options{}, 4, 4, 6 * GiB, 6 * GiB / 10, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
		{"fewer CPUs", Options{ConfiguredCPUs: 1.5}, 1, 1.5, 6 * GiB, 6 * GiB / 10, "configured machine.cpus"},
		{"more CPUs than there are", Options{ConfiguredCPUs: 100}, 4, 4, 6 * GiB, 6 * GiB / 10, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
		{"less memory", Options{ConfiguredMemory: 3 * GiB}, 2, 4, 3 * GiB, 3 * GiB / 10, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
		{"more memory than there is", Options{ConfiguredMemory: 99 * GiB}, 4, 4, 6 * GiB, 6 * GiB / 10, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
		{"reserve", Options{Reserve: 5 * GiB}, 1, 4, 6 * GiB, 5 * GiB, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
		{"no reserve, small builds", Options{Reserve: -1, MemoryPerBuild: 3 * GiB}, 2, 4, 6 * GiB, 0, "cgroup-v2 /sys/fs/cgroup/cpu.max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Detect(filepath.Join(machines, "private-cgroupns"), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Slots != tt.slots || r.CPUs.Value != tt.cpus || r.Memory.Bytes != tt.memory || r.Memory.Reserve != tt.reserve || r.CPUs.DecidedBy != tt.decided {
				t.Errorf("got %d slots, %v CPUs (%s), %d bytes, %d reserve", r.Slots, r.CPUs.Value, r.CPUs.DecidedBy, r.Memory.Bytes, r.Memory.Reserve)
			}
		})
	}
}

func TestDetectErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	tests := []struct {
		root string
		o    Options
	}{
		{file, Options{}},
		{file + "-none", Options{}},
		{t.TempDir(), Options{ConfiguredCPUs: -1}},
		{t.TempDir(), Options{ConfiguredMemory: -1}},
		{t.TempDir(), Options{MemoryPerBuild: -1}},
	}
	for _, tt := range tests {
		r, err := Detect(tt.root, tt.o)
		if err == nil {
			t.Errorf("Detect(%s, %+v): no error, %d slots", tt.root, tt.o, r.Slots)
		} else if tt.o == (Options{}) && !strings.Contains(err.Error(), tt.root) {
			t.Errorf("Detect(%s): %v does not name it", tt.root, err)
		}
	}
}

// An empty root is a machine of which nothing is known; it still has a slot.
func TestNothingKnown(t *testing.T) {
	r, err := Detect(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Slots != 1 || r.CPUs.Value != 1 || r.Memory.Bytes != 0 {
		t.Errorf("%d slots, %v CPUs, %d bytes", r.Slots, r.CPUs.Value, r.Memory.Bytes)
	}
	for _, want := range []string{"os-release: ", "the number of CPUs is not known", "the size of memory is not known"} {
		if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("no warning %q in %q", want, r.Warnings)
		}
	}
}

// container returns the root of a v2 container whose own cgroup is /a, and a
// function that writes one of its files.
func container(t testing.TB) (root string, set func(name, content string)) {
	root = tree(t, map[string]string{
		"usr/lib/os-release":               "ID=test\n",
		"proc/meminfo":                     "MemTotal: 16777216 kB\n",
		"proc/self/status":                 "Cpus_allowed_list:\t0-7\n",
		"proc/self/cgroup":                 "0::/a\n",
		"proc/self/mountinfo":              "30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"sys/devices/system/cpu/online":    "0-7\n",
		"sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
		"sys/fs/cgroup/a/cpu.max":          "max 100000\n",
		"sys/fs/cgroup/a/memory.max":       "max\n",
		"sys/fs/cgroup/b/cpu.max":          "100000 100000\n",
	})
	return root, func(name, content string) { t.Helper(); write(t, filepath.Join(root, name), content) }
}

func TestReadAgain(t *testing.T) {
	const GiB = 1 << 30
	root, set := container(t)
	d, err := NewDetector(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, slots int, cpus float64, memory int64) Report {
		t.Helper()
		r := d.Read()
		if r.Slots != slots || r.CPUs.Value != cpus || r.Memory.Bytes != memory {
			t.Errorf("%s: %d slots, %v CPUs, %d bytes; want %d, %v, %d", what, r.Slots, r.CPUs.Value, r.Memory.Bytes, slots, cpus, memory)
		}
		return r
	}
	check("at first", 8, 8, 16*GiB)
	set("sys/fs/cgroup/a/cpu.max", "300000 100000\n")
	check("quota set", 3, 3, 16*GiB)
	set("sys/fs/cgroup/a/memory.max", "3221225472\n")
	check("memory limited", 2, 3, 3*GiB)

	set("sys/fs/cgroup/a/memory.max", "garbage\n")
	r := check("unreadable: what was read last holds", 2, 3, 3*GiB)
	if len(r.Memory.Unreadable) != 1 || len(r.Warnings) != 1 {
		t.Errorf("unreadable %v, warnings %q", r.Memory.Unreadable, r.Warnings)
	}
	set("sys/fs/cgroup/a/memory.max", "max\n")
	if r := check("limit taken away", 3, 3, 16*GiB); len(r.Memory.Unreadable) != 0 {
		t.Errorf("still unreadable: %v", r.Memory.Unreadable)
	}

	// As when the controller is enabled while we run.
	set("sys/fs/cgroup/cpu.max", "200000 100000\n")
	check("limit of an ancestor appears", 2, 2, 16*GiB)
	set("proc/self/status", "Cpus_allowed_list:\t3\n")
	check("affinity", 1, 1, 16*GiB)
	set("proc/self/status", "Cpus_allowed_list:\t0-7\n")
	if err := os.RemoveAll(filepath.Join(root, "sys/fs/cgroup/cpu.max")); err != nil {
		t.Fatal(err)
	}
	check("limit of the ancestor gone", 3, 3, 16*GiB)
	set("proc/self/cgroup", "0::/b\n")
	if r := check("moved to another cgroup", 1, 1, 16*GiB); r.Cgroup.V2 != "/sys/fs/cgroup/b" {
		t.Errorf("own cgroup is %s", r.Cgroup.V2)
	}
}

func TestPressure(t *testing.T) {
	const low, high = "some avg10=9.99 avg60=0.00 avg300=0.00 total=1\n", "some avg10=10.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=2.00\n"
	const machine, own = "/proc/pressure/memory", "/sys/fs/cgroup/a/memory.pressure"
	tests := []struct {
		name  string
		files map[string]string
		want  Pressure
	}{
		{"no PSI", nil, Pressure{}},
		{"garbage", map[string]string{machine: "high!", own: ""}, Pressure{}},
		{"low", map[string]string{machine: low}, Pressure{Known: true, Some: 9.99, Path: machine}},
		{"machine", map[string]string{machine: high, own: low}, Pressure{Known: true, High: true, Some: 10, Full: 2, Path: machine}},
		{"own cgroup", map[string]string{machine: low, own: high}, Pressure{Known: true, High: true, Some: 10, Full: 2, Path: own}},
		{"own cgroup only", map[string]string{own: high}, Pressure{Known: true, High: true, Some: 10, Full: 2, Path: own}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, set := container(t)
			d, err := NewDetector(root, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range tt.files {
				set(name, content)
			}
			if d := cmp.Diff(tt.want, d.Pressure()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestOOMKills(t *testing.T) {
	for name, want := range map[string]OOMKills{
		"v2-bare":         {Own: 3, System: 7},
		"v1-container":    {Own: 2, System: -1},
		"hybrid":          {Own: 5, System: -1},
		"garbage":         {Own: -1, System: -1},
		"no-cgroup-mount": {Own: -1, System: -1},
	} {
		d, err := NewDetector(filepath.Join(machines, name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.OOMKills(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// The report of `bothy doctor --json` has these keys on any machine; nothing
// but a number stands for a limit.
func TestJSONShape(t *testing.T) {
	for _, name := range []string{"no-cgroup-mount", "v2-two-levels-up", "garbage"} {
		r, err := Detect(filepath.Join(machines, name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		type limits []struct {
			Source, Path *string
			Value        *float64
		}
		var doc struct {
			Slots *int
			CPUs  struct {
				Value  *float64
				Limits limits
			}
			Memory struct {
				Bytes, Reserve *int64
				Limits         limits
			}
			OSRelease   map[string]*string `json:"os_release"`
			Containment *string
			Warnings    []string
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Slots == nil || doc.CPUs.Value == nil || doc.Memory.Bytes == nil || doc.Memory.Reserve == nil || doc.Containment == nil || doc.Warnings == nil {
			t.Errorf("%s: something is missing in %s", name, data)
		}
		least := 1e9
		for _, l := range append(doc.CPUs.Limits, doc.Memory.Limits...) {
			if l.Source == nil || l.Path == nil || l.Value == nil {
				t.Fatalf("%s: incomplete limit in %s", name, data)
			}
		}
		for _, l := range doc.CPUs.Limits {
			least = min(least, *l.Value)
		}
		if least != *doc.CPUs.Value {
			t.Errorf("%s: CPUs %v, the least limit is %v", name, *doc.CPUs.Value, least)
		}
		for _, key := range []string{"os_id", "os_id_like", "os_version_id", "os_version_codename"} {
			if _, ok := doc.OSRelease[key]; !ok {
				t.Errorf("%s: no %s", name, key)
			}
		}
	}
}

func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 512 << 20: "512 MiB", 4187593113: "3.9 GiB", -256 << 20: "-256 MiB", 1 << 62: "4 EiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("FormatBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

// BenchmarkRead is the look at the limits every 2 s: the aim is 200 µs.
func BenchmarkRead(b *testing.B) {
	d, err := NewDetector("/", Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d.Read()
	}
}

func BenchmarkPressure(b *testing.B) {
	d, err := NewDetector("/", Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d.Pressure()
		d.OOMKills()
	}
}

func TestPressureString(t *testing.T) {
	for want, p := range map[string]Pressure{
		"memory pressure is not known": {},
		"memory pressure is high: some process waited for memory 12.5 % of the last 10 s (/x)": {Known: true, High: true, Some: 12.5, Path: "/x"},
		"memory pressure is low: some process waited for memory 0.0 % of the last 10 s (/x)":   {Known: true, Path: "/x"},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
