package vmtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/build"
	"bothy/runner/internal/testrig"
)

// insideMark is in the environment of everything in the machine.
const insideMark = "BOTHY_VM"

func TestMain(m *testing.M) {
	switch {
	case filepath.Base(os.Args[0]) == "delegate": // init's, which has no program for it
		if err := delegate(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case os.Getenv(insideMark) != "":
		os.Exit(testrig.Run(m, "/bin/bothy", 4))
	default:
		os.Exit(m.Run())
	}
}

// delegate marks a group as systemd marks that of a unit with Delegate=yes.
func delegate(group string) error {
	return os.NewSyscallError("setxattr", unix.Setxattr(group, "trusted.delegate", []byte("1"), 0))
}

func inside(t *testing.T) {
	t.Helper()
	if os.Getenv(insideMark) == "" {
		t.Skip("runs in the machine that TestVM boots")
	}
}

const cgroups = "/sys/fs/cgroup"

// group makes a cgroup of the test with limits, "file" to what is written, and
// removes it after the test.
func group(t *testing.T, limits map[string]string) string {
	t.Helper()
	return makeGroup(t, filepath.Join(cgroups, strings.ReplaceAll(t.Name(), "/", ".")), limits)
}

func subgroup(t *testing.T, of string, limits map[string]string) string {
	t.Helper()
	return makeGroup(t, filepath.Join(of, "inner"), limits)
}

func makeGroup(t *testing.T, dir string, limits map[string]string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		testrig.Until(t, dir+" cannot be removed", func() bool {
			err := os.Remove(dir)
			if left, _ := filepath.Glob(dir + "/*/"); err != nil && len(left) > 0 {
				t.Fatalf("%s has groups: %q", dir, left)
			}
			return err == nil
		})
	})
	for name, text := range limits {
		set(t, filepath.Join(dir, name), text)
	}
	return dir
}

func set(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// start runs the program of a scene in a cgroup.
func start(s *testrig.Scene, cgroup string, args ...string) *testrig.Process {
	s.T.Helper()
	fd, err := unix.Open(cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		s.T.Fatal(err)
	}
	defer unix.Close(fd)
	p := s.Prepare(args...)
	p.Cmd.SysProcAttr.UseCgroupFD, p.Cmd.SysProcAttr.CgroupFD = true, fd
	p.Launch()
	return p
}

// enough is for what takes a second at most, in an emulated machine.
const enough = 30 * time.Second

func newScene(t *testing.T, conf string) *testrig.Scene {
	t.Helper()
	return testrig.NewScene(t, t.TempDir(), conf)
}

// What doctor says of nested groups with limits is what the kernel enforces.
func TestInsideDoctor(t *testing.T) {
	inside(t)
	for _, c := range []struct {
		name         string
		outer, inner map[string]string
		machine      string
		cpus         float64
		memory       int64
		slots        int
		limit        string // the file below outer that decides
	}{
		{"quota of the parent", map[string]string{"cpu.max": "150000 100000"}, nil, "", 1.5, 0, 1, "cpu.max"},
		{"the tighter memory limit counts", map[string]string{"memory.max": "500M"}, map[string]string{"memory.max": "300M"},
			"reserve_memory = \"100MiB\"\nmemory_per_build = \"80MiB\"", 2, 300 << 20, 2, "inner/memory.max"},
		{"memory for one", nil, map[string]string{"memory.max": "300M"}, "reserve_memory = \"100MiB\"\nmemory_per_build = \"150MiB\"", 2, 300 << 20, 1, "inner/memory.max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			outer := group(t, c.outer)
			set(t, outer+"/cgroup.subtree_control", "+cpu +memory +pids")
			inner := subgroup(t, outer, c.inner)
			s := newScene(t, "[machine]\n"+c.machine+"\n[[builders]]\nname = \"b\"\nsteps = [\"true\"]\n")
			p := start(s, inner, "doctor", "--json")
			p.Exits(0)
			type limit struct {
				Source, Path string
			}
			var d struct {
				Slots       int
				Containment string
				CPUs        struct {
					Value  float64
					Limits []limit
				}
				Memory struct {
					Bytes  int64
					Limits []limit
				}
				OSRelease map[string]any `json:"os_release"`
			}
			if err := json.Unmarshal([]byte(p.Out.String()), &d); err != nil {
				t.Fatalf("%v\n%s", err, p.All())
			}
			if d.Containment != "cgroup-v2" || d.Slots != c.slots || d.CPUs.Value != c.cpus || c.memory > 0 && d.Memory.Bytes != c.memory || d.OSRelease["os_id"] != "vmtest" {
				t.Errorf("%+v", d)
			}
			if !slices.ContainsFunc(slices.Concat(d.CPUs.Limits, d.Memory.Limits), func(l limit) bool {
				return l.Source == "cgroup-v2" && strings.HasSuffix(l.Path, filepath.Join(filepath.Base(outer), c.limit))
			}) {
				t.Errorf("%s is not named: %+v", c.limit, d)
			}
			start(s, inner, "run").Exits(0)
		})
	}
}

const fleeing = `
[[builders]]
name = "cancelled"
steps = [{ name = "flee", sigterm_time = "1s", run = '''
setsid sleep 1000.7 & sleep 1001.7 & nohup sh -c 'trap "" TERM; sleep 1002.7; sleep 1003.7' >/dev/null 2>&1 &
(setsid sh -c 'sleep 1004.7 & sleep 1005.7' &)
sleep 0.5; echo fled; sleep 1006.7''' }]
[[builders]]
name = "daemons"
steps = [
  { name = "start", run = "setsid sleep 1007.7 & echo $! >daemons; sleep 1008.7 & echo $! >>daemons; sleep 0.2; echo started" },
  { name = "use", run = "n=0; for p in $(cat daemons); do kill -0 $p && n=$((n+1)); done; echo alive $n" },
]
`

// kinds are the cgroups that a master may find itself in.
func kinds(t *testing.T, limits map[string]string, test func(t *testing.T, cgroup string)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"delegated", "plain"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := group(t, limits)
			if kind == "delegated" {
				if err := delegate(g); err != nil {
					t.Fatal(err)
				}
			}
			test(t, g)
		})
	}
}

// noGroups checks that no groups of builds are left.
func noGroups(t *testing.T, g string) {
	t.Helper()
	testrig.Until(t, "groups of builds are left in "+g, func() bool {
		left, err := filepath.Glob(g + "/*/")
		return err == nil && len(left) == 0
	})
}

func TestInsideContainment(t *testing.T) {
	inside(t)
	kinds(t, nil, func(t *testing.T, g string) {
		s := newScene(t, fleeing)
		p := start(s, g, "run", "cancelled")
		p.Awaits("| fled\n")
		p.Signal(syscall.SIGINT)
		if took := p.Exits(130); took > enough {
			t.Errorf("took %v with a grace of 1 s", took)
		}
		p.Prints("ended ", "left-over process")
		s.NothingLeft("the cancelled build", enough)

		p = start(s, g, "run", "daemons")
		p.Exits(0)
		p.Prints("| started\n", "| alive 2\n", "ended ", "left-over process")
		s.NothingLeft("the build with daemons", enough)
		noGroups(t, g)
	})
}

// A master is killed, and its builds' processes go with it, and its groups: the
// next one can be started where it was.
func TestInsideKilledMaster(t *testing.T) {
	inside(t)
	kinds(t, nil, func(t *testing.T, g string) {
		s := newScene(t, fleeing)
		p := start(s, g, "run", "cancelled")
		p.Awaits("| fled\n")
		p.Signal(syscall.SIGKILL)
		p.Exits(-1)
		s.NothingLeft("kill -9 of the master", enough)
		noGroups(t, g)
		start(s, g, "run", "--", "true").Exits(0)
		noGroups(t, g)
	})
}

// A master is killed together with its spawners. Nobody can be put beside the
// groups with controllers that it leaves, but a master started where it was
// ends what it left, and gives the controllers back.
func TestInsideKilledMasterAndSpawners(t *testing.T) {
	inside(t)
	t.Parallel()
	g := group(t, nil)
	if err := delegate(g); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, fleeing)
	p := start(s, g, "run", "cancelled")
	p.Awaits("| fled\n")
	old := g + "/bothy-master"
	text, err := os.ReadFile(old + "/cgroup.procs")
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(text))
	if len(pids) < 2 {
		t.Fatalf("in the master's group are %q", pids)
	}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} { // none sees another's end
		for _, text := range pids {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.Exits(-1)
	start(s, old, "run", "--", "true").Exits(0)
	s.NothingLeft("kill -9 of master and spawners", enough)
	noGroups(t, g)
	start(s, g, "run", "--", "true").Exits(0)
	noGroups(t, g)
}

// A step that eats all memory is named, also when only a child of it was
// killed and it says that all is well. The master lives, and so do others.
func TestInsideOOM(t *testing.T) {
	inside(t)
	const limit = 200
	kinds(t, map[string]string{"memory.max": fmt.Sprintf("%dM", limit)}, func(t *testing.T, g string) {
		s := newScene(t, `
[machine]
reserve_memory = "20MiB"
memory_per_build = "32MiB"
[[builders]]
name = "eater"
steps = ["exec tail /dev/zero"]
[[builders]]
name = "bystander"
steps = ["sleep 1; echo fine"]
[[builders]]
name = "child"
steps = ["tail /dev/zero; exit 0"]
`)
		p := start(s, g, "run", "--keep-going", "eater", "bystander")
		p.Exits(1)
		p.Prints("killed by OOM", "running again with", "| fine\n", "1 failed, 1 succeeded")
		p.Prints("killed by OOM at ", fmt.Sprintf(" of %d MiB", limit))
		p = start(s, g, "run", "child")
		p.Exits(1)
		p.Prints("killed by OOM at ", fmt.Sprintf(" of %d MiB", limit))
		if strings.Contains(p.Out.String(), "perhaps") {
			t.Errorf("it is certain:\n%s", p.All())
		}
		noGroups(t, g)
	})
}

// setClock moves the wall clock.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	tv := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Fatal(err)
	}
}

// The clock is set back by an hour, and forward again, while builds run, also
// those of the other tests.
func TestInsideClock(t *testing.T) {
	inside(t)
	t.Parallel()
	s := newScene(t, `
[machine]
cpus = 1
memory_per_build = "32MiB"
[[workers]]
name = "bot"
max_builds = 1
[[builders]]
name = "tick"
collapse_requests = false
steps = [{ run = 'echo "$BOTHY_BUILD_NUMBER"; sleep 0.1', timeout = "10m", max_time = "30m" }]
`)
	base := s.Path(".bothy")
	var ids []int64
	m := s.Serve(base)
	submit := func(n int) { ids = append(ids, m.Submit(slices.Repeat([]string{"tick"}, n)...)...) }
	for _, by := range []time.Duration{-time.Hour, 2 * time.Hour, -time.Hour} {
		submit(3)
		testrig.Until(t, "no build runs", func() bool { return m.Status().Running == 1 })
		setClock(t, by)
		submit(2)
	}
	// The next master finds requests whose times are in no order.
	m.Signal(syscall.SIGTERM)
	m.Exits(0)
	m = s.Serve(base)
	m.Idle()
	m.Drain()
	checkOrder(t, s.Records(base), ids)
}

// checkOrder checks that all succeeded, in the order in which they were asked
// for, and took no less than no time.
func checkOrder(t *testing.T, r *testrig.Records, ids []int64) {
	t.Helper()
	var done []int64
	for _, b := range r.Builds() {
		if b.Completed.Before(b.Started) {
			t.Errorf("build %d took %v", b.Number, b.Completed.Sub(b.Started))
		}
		steps, err := r.Store.Steps(t.Context(), b.ID)
		if err != nil {
			t.Error(err)
		}
		for _, st := range steps {
			if st.Completed.Before(st.Started) {
				t.Errorf("step %d of build %d took %v", st.Number, b.Number, st.Completed.Sub(st.Started))
			}
		}
		switch b.Result {
		case build.Success:
			done = append(done, b.Request)
		case build.Retry: // by the planned stop
		default:
			t.Errorf("build %d: %v, %s", b.Number, b.Result, b.Text)
		}
	}
	if !slices.Equal(done, ids) {
		t.Errorf("built in the order %v, asked for in the order %v", done, ids)
	}
}
