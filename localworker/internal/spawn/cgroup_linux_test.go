package spawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

func TestFindPosition(t *testing.T) {
	const pid = 42
	const v2 = "cgroup2 cgroup2 rw"
	for _, c := range []struct {
		name         string
		mounts, self string
		dir          string // that has us in its cgroup.procs
		want         position
	}{
		{"unified", "31 30 0:28 / /sys/fs/cgroup rw shared:4 - " + v2 + "\n", "0::/user.slice/a b\n", "sys/fs/cgroup/user.slice/a b", position{unified: "sys/fs/cgroup/user.slice/a b"}},
		{"space in mount point", `31 30 0:28 / /c\040g rw - ` + v2 + "\n", "0::/x\n", "c g/x", position{unified: "c g/x"}},
		{"bind mount of a part", "31 30 0:28 /a /sys/fs/cgroup ro - " + v2 + "\n", "0::/a/b\n", "sys/fs/cgroup/b", position{unified: "sys/fs/cgroup/b"}},
		{"path is not below the mount", "31 30 0:28 / /sys/fs/cgroup rw - " + v2 + "\n", "0::/../../elsewhere\n", "sys/fs/cgroup", position{unified: "sys/fs/cgroup"}},
		{"version 1", "31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/m\n", "sys/fs/cgroup/memory/m", position{memory: "sys/fs/cgroup/memory/m"}},
		{"we are nowhere", "31 30 0:28 / /sys/fs/cgroup rw - " + v2 + "\n", "0::/x\n", "other", position{}},
		{"nonsense", "31 - \n-\n\n1 2 3 4 - cgroup2\n", "::\n", "other", position{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range map[string]string{
				"proc/self/mountinfo": c.mounts, "proc/self/cgroup": c.self,
				c.dir + "/cgroup.procs": "7\n" + strconv.Itoa(pid) + "\n",
			} {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want := c.want
			if want.unified != "" {
				want.unified = filepath.Join(root, want.unified)
			}
			if want.memory != "" {
				want.memory = filepath.Join(root, want.memory)
			}
			if got := findPosition(root, pid); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestGroupNames(t *testing.T) {
	if n, ok := groupEpoch(groupName("my-base", 12), "my-base"); !ok || n != 12 {
		t.Error(n, ok)
	}
	if _, ok := groupEpoch(groupName("my-base", 12), "my"); ok {
		t.Error("a longer id was taken for a shorter one")
	}
	if got := leafName(3, "3.1 ../é"); got != "s3-3.1_..___" {
		t.Error(got)
	}
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		in   string
		want process
		ok   bool
	}{
		{"12 (sh) S 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 1\n", process{pid: 12, ppid: 3, pgid: 4, start: 999}, true},
		{"12 (a) Z 1 (b) Z 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 1\n", process{pid: 12, ppid: 3, pgid: 4, start: 999, dead: true}, true},
		{"12 (first thread ended) Z 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 12 0 999 1000 1\n", process{pid: 12, ppid: 3, pgid: 4, start: 999}, true},
		{"12 (sh) S 3", process{}, false},
		{"", process{}, false},
		{")(", process{}, false},
	} {
		got, ok := parseStat([]byte(c.in))
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, ok)
		}
	}
	if p, ok := find(os.Getpid()); !ok || p.pid != os.Getpid() || p.ppid != os.Getppid() || p.start == 0 {
		t.Errorf("this process: %+v, %v", p, ok)
	}
}

// Both ways to find descendants find the same: a shell and its child.
func TestDescendants(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo started; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for name, children := range map[string]func(int) []int{"children": children, "table": childrenByTable()} {
		var found []int
		all, _ := walk(os.Getpid(), children)
		for _, p := range all {
			if p.pgid == cmd.Process.Pid {
				found = append(found, p.ppid)
			}
		}
		if want := []int{os.Getpid(), cmd.Process.Pid}; !slices.Equal(found, want) {
			t.Errorf("%s: parents of what was found %v, want %v", name, found, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (sh) S 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseStat(b); ok && p.pid <= 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestValue(t *testing.T) {
	b := []byte("oom 1\noom_kill 7\noom_kill_disable 3\nlast 4")
	for k, want := range map[string]int64{"oom": 1, "oom_kill": 7, "last": 4, "none": 0, "oom_kil": 0} {
		if got := value(b, k); got != want {
			t.Errorf("%s: %d", k, got)
		}
	}
}
