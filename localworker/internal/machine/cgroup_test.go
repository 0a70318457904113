package machine

import (
	"os"
	"path/filepath"
	"testing"

	"bothy/osrelease"

	"github.com/google/go-cmp/cmp"
)

// tree makes a root directory of files by name.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(root, name), content)
	}
	return root
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBelow(t *testing.T) {
	tests := []struct {
		cgroup, base, rel string
		exact             bool
	}{
		{"/a/b", "/", "/a/b", true},
		{"/", "/", "/", true},
		{"/docker/x", "/docker/x", "/", true},
		{"/docker/x/init", "/docker/x", "/init", true},
		{"/docker/xy", "/docker/x", "/docker/xy", false},
		{"/", "/docker/x", "/", false},
		{"/../x", "/..", "/x", true},
		{"/../../x", "/../..", "/x", true},
		{"/../../x", "/..", "/x", false}, // above the mount: what is left is no more than a try
		{"/../../x", "/", "/x", false},
		{"/", "/..", "/", false},
		{"/a", "", "/a", true},
		{"", "/", "/", false},
	}
	for _, tt := range tests {
		if rel, exact := below(tt.cgroup, tt.base); rel != tt.rel || exact != tt.exact {
			t.Errorf("below(%q, %q) = %q, %v; want %q, %v", tt.cgroup, tt.base, rel, exact, tt.rel, tt.exact)
		}
	}
}

func TestPlace(t *testing.T) {
	root := osrelease.Root(tree(t, map[string]string{
		"cg/a/b/f": "", "bind/b/f": "", "inner/x/f": "", "v1/a/f": "",
	}))
	v2 := func(root, point string) mount { return mount{root: root, point: point, unified: true} }
	tests := []struct {
		name       string
		mounts     []mount
		controller string
		cgroup     string
		dirs       []string
		exact      bool
	}{
		{"every ancestor", []mount{v2("/", "/cg")}, "", "/a/b", []string{"/cg/a/b", "/cg/a", "/cg"}, true},
		{"nearest ancestor of what is not there", []mount{v2("/", "/cg")}, "", "/a/gone/c", []string{"/cg/a", "/cg"}, false},
		{"mount of a part", []mount{v2("/a", "/bind")}, "", "/a/b", []string{"/bind/b", "/bind"}, true},
		{"the mount with most ancestors", []mount{v2("/a", "/bind"), v2("/", "/cg"), v2("/a/b", "/bind/b")}, "", "/a/b", []string{"/cg/a/b", "/cg/a", "/cg"}, true},
		{"the mount that can be reached", []mount{v2("/a", "/bind"), v2("/", "/hidden")}, "", "/a/b", []string{"/bind/b", "/bind"}, true},
		{"the mount that shows us", []mount{v2("/z", "/cg"), v2("/a", "/bind")}, "", "/a/b", []string{"/bind/b", "/bind"}, true},
		{"mounted by an outer namespace", []mount{v2("/..", "/inner")}, "", "/../x", []string{"/inner/x", "/inner"}, true},
		{"outside of the namespace", []mount{v2("/", "/inner")}, "", "/../../y", []string{"/inner"}, false},
		{"controller", []mount{v2("/", "/cg"), {root: "/", point: "/v1", controllers: []string{"cpuacct", "cpu"}}}, "cpu", "/a", []string{"/v1/a", "/v1"}, true},
		{"controller without mount", []mount{v2("/", "/cg")}, "cpu", "/a", nil, false},
		{"no directory at the mount point", []mount{v2("/", "/hidden")}, "", "/a", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := place(root, tt.mounts, tt.controller, tt.cgroup)
			if d := cmp.Diff(tt.dirs, h.dirs); d != "" || h.exact != tt.exact {
				t.Errorf("exact %v; dirs (-want +got):\n%s", h.exact, d)
			}
		})
	}
}

func TestMode(t *testing.T) {
	unified := mount{unified: true}
	cpu := mount{controllers: []string{"rw", "cpu", "cpuacct"}}
	systemd := mount{controllers: []string{"rw", "xattr", "name=systemd"}}
	tests := []struct {
		mounts []mount
		want   Mode
	}{
		{nil, ModeNone},
		{[]mount{unified}, ModeV2},
		{[]mount{cpu}, ModeV1},
		{[]mount{systemd, cpu, unified}, ModeHybrid},
		{[]mount{systemd, unified}, ModeV2},
		{[]mount{systemd}, ModeNone},
	}
	for _, tt := range tests {
		if got := modeOf(tt.mounts); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.mounts, got, tt.want)
		}
	}
}

// Without mountinfo the usual places are tried, v1 ones too.
func TestGuess(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/self/cgroup":                            "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "150000\n",
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes":  "1073741824\n",
		"sys/fs/cgroup/memory/docker/abc/memory.stat": "hierarchical_memory_limit 536870912\n",
		"proc/meminfo": "MemTotal: 4194304 kB\n",
	})
	r, err := Detect(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Cgroup.Mode != ModeV1 || r.CPUs.Value != 1.5 || r.Memory.Bytes != 512<<20 {
		t.Errorf("mode %s, %v CPUs, %d bytes", r.Cgroup.Mode, r.CPUs.Value, r.Memory.Bytes)
	}
	if want := "/sys/fs/cgroup/memory/docker/abc"; r.Cgroup.V1Memory != want {
		t.Errorf("own memory cgroup is %q, want %q", r.Cgroup.V1Memory, want)
	}
}
