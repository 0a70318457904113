package vmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/build"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/store"
)

// insideMark is in the environment of everything in the machine.
const insideMark = "BOTHY_VM"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "delegate" { // init's, which has no program for it
		if err := delegate(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
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

// group makes a cgroup with limits, "file" to what is written, and removes it
// after the test.
func group(t *testing.T, path string, limits map[string]string) string {
	t.Helper()
	dir := filepath.Join(cgroups, path)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		until(t, 5*time.Second, dir+" cannot be removed", func() bool {
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

// bothy is a run of the real program.
type bothy struct {
	t     *testing.T
	cmd   *exec.Cmd
	mu    sync.Mutex
	out   bytes.Buffer // both of its streams
	ended chan struct{}
}

func (b *bothy) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *bothy) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// start runs the program in a cgroup; empty: in ours.
func start(t *testing.T, dir, cgroup string, args ...string) *bothy {
	t.Helper()
	b := &bothy{t: t, ended: make(chan struct{})}
	b.cmd = exec.Command("/bin/bothy", args...)
	b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = dir, b, b
	if cgroup != "" {
		fd, err := unix.Open(cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		b.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { b.cmd.Wait(); close(b.ended) }()
	t.Cleanup(func() { b.cmd.Process.Kill(); <-b.ended })
	return b
}

func (b *bothy) exits(code int, within time.Duration) {
	b.t.Helper()
	select {
	case <-b.ended:
	case <-time.After(within):
		b.t.Fatalf("%q still runs after %v\n%s", b.cmd.Args, within, b.text())
	}
	if got := b.cmd.ProcessState.ExitCode(); got != code {
		b.t.Errorf("%q: %v, want exit code %d\n%s", b.cmd.Args, b.cmd.ProcessState, code, b.text())
	}
}

func (b *bothy) awaits(text string) {
	b.t.Helper()
	until(b.t, 20*time.Second, fmt.Sprintf("%q has not printed %q: %s", b.cmd.Args, text, b.text()), func() bool { return strings.Contains(b.text(), text) })
}

func (b *bothy) prints(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.text(), text) {
			b.t.Errorf("%q does not print %q:\n%s", b.cmd.Args, text, b.text())
		}
	}
}

func until(t *testing.T, within time.Duration, otherwise string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("%s (within %v)", otherwise, within)
		}
		<-tick.C
	}
}

func configure(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bothy.toml"), []byte("[web]\nlisten = \"127.0.0.1:0\"\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
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
		limit        string // the file that decides
	}{
		{"quota of the parent", map[string]string{"cpu.max": "150000 100000"}, nil, "", 1.5, 0, 1, "outer/cpu.max"},
		{"the tighter memory limit counts", map[string]string{"memory.max": "500M"}, map[string]string{"memory.max": "300M"},
			"reserve_memory = \"100MiB\"\nmemory_per_build = \"80MiB\"", 2, 300 << 20, 2, "outer/inner/memory.max"},
		{"memory for one", nil, map[string]string{"memory.max": "300M"}, "reserve_memory = \"100MiB\"\nmemory_per_build = \"150MiB\"", 2, 300 << 20, 1, "outer/inner/memory.max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			outer := group(t, "outer", c.outer)
			set(t, outer+"/cgroup.subtree_control", "+cpu +memory +pids")
			inner := group(t, "outer/inner", c.inner)
			dir := configure(t, "[machine]\n"+c.machine+"\n[[builders]]\nname = \"b\"\nsteps = [\"true\"]\n")
			b := start(t, dir, inner, "doctor", "--json")
			b.exits(0, 20*time.Second)
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
			if err := json.Unmarshal([]byte(b.text()), &d); err != nil {
				t.Fatalf("%v\n%s", err, b.text())
			}
			if d.Containment != "cgroup-v2" || d.Slots != c.slots || d.CPUs.Value != c.cpus || c.memory > 0 && d.Memory.Bytes != c.memory || d.OSRelease["os_id"] != "vmtest" {
				t.Errorf("%+v", d)
			}
			if !slices.ContainsFunc(slices.Concat(d.CPUs.Limits, d.Memory.Limits), func(l limit) bool {
				return l.Source == "cgroup-v2" && strings.HasSuffix(l.Path, c.limit)
			}) {
				t.Errorf("%s is not named: %+v", c.limit, d)
			}
			run := start(t, dir, inner, "run")
			run.exits(0, 20*time.Second)
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
  { name = "start", run = "setsid sleep 1007.7 & sleep 1008.7 & sleep 0.2; echo started" },
  { name = "use", run = "ps -o args | grep -c '^sleep 100[78].7' | sed 's/^/alive /'" },
]
`

// sleepers lists what runs of the scene.
func sleepers(t *testing.T) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && bytes.HasPrefix(b, []byte("sleep\x00")) {
			found = append(found, filepath.Base(filepath.Dir(f))+" "+string(b[6:]))
		}
	}
	return found
}

// kinds are the cgroups that a master may find itself in.
func kinds(t *testing.T, limits map[string]string, test func(t *testing.T, cgroup string, delegated bool)) {
	for _, kind := range []string{"delegated", "plain"} {
		t.Run(kind, func(t *testing.T) {
			g := group(t, kind, limits)
			if kind == "delegated" {
				if err := delegate(g); err != nil {
					t.Fatal(err)
				}
			}
			test(t, g, kind == "delegated")
		})
	}
}

// noGroups checks that no groups of builds are left.
func noGroups(t *testing.T, g string) {
	t.Helper()
	until(t, 5*time.Second, "groups of builds are left in "+g, func() bool {
		left, err := filepath.Glob(g + "/*/")
		return err == nil && len(left) == 0
	})
}

func TestInsideContainment(t *testing.T) {
	inside(t)
	kinds(t, nil, func(t *testing.T, g string, _ bool) {
		dir := configure(t, fleeing)
		b := start(t, dir, g, "run", "cancelled")
		b.awaits("| fled\n")
		began := time.Now()
		b.cmd.Process.Signal(os.Interrupt)
		b.exits(130, 20*time.Second)
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %v with a grace of 1 s", took)
		}
		b.prints("ended ", "left-over process")
		if left := sleepers(t); len(left) > 0 {
			t.Errorf("left: %q", left)
		}

		b = start(t, dir, g, "run", "daemons")
		b.exits(0, 20*time.Second)
		b.prints("| started\n", "| alive 2\n", "ended ", "left-over process")
		if left := sleepers(t); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		noGroups(t, g)
	})
}

// A master is killed, and its builds' processes go with it. The next one
// removes its groups.
func TestInsideKilledMaster(t *testing.T) {
	inside(t)
	kinds(t, nil, func(t *testing.T, g string, delegated bool) {
		dir := configure(t, fleeing)
		b := start(t, dir, g, "run", "cancelled")
		b.awaits("| fled\n")
		b.cmd.Process.Kill()
		until(t, 2*time.Second, "processes of a killed master live on", func() bool { return len(sleepers(t)) == 0 })
		if delegated {
			// Nobody can be put beside groups with controllers; systemd makes
			// the unit's group anew.
			removeGroups(t, g)
		}
		b = start(t, dir, g, "run", "--", "true")
		b.exits(0, 20*time.Second)
		noGroups(t, g)
	})
}

// removeGroups empties a group, as systemd does when a unit has stopped.
func removeGroups(t *testing.T, g string) {
	t.Helper()
	left, err := filepath.Glob(g + "/*/")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range left {
		removeGroups(t, dir)
		until(t, 5*time.Second, dir+" cannot be removed", func() bool { return os.Remove(dir) == nil })
	}
	until(t, 5*time.Second, g+" keeps its controllers", func() bool {
		return os.WriteFile(filepath.Join(g, "cgroup.subtree_control"), []byte("-memory -pids -cpu"), 0) == nil
	})
}

// A step that eats all memory is named, also when only a child of it was
// killed and it says that all is well. The master lives, and so do others.
func TestInsideOOM(t *testing.T) {
	inside(t)
	const limit = 200
	kinds(t, map[string]string{"memory.max": fmt.Sprintf("%dM", limit)}, func(t *testing.T, g string, delegated bool) {
		dir := configure(t, `
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
		b := start(t, dir, g, "run", "--keep-going", "eater", "bystander")
		b.exits(1, 90*time.Second)
		b.prints("killed by OOM", "running again with", "| fine\n", "1 failed, 1 succeeded")
		if delegated { // else the build has no counter of its own: "perhaps"
			b.prints("killed by OOM at ", fmt.Sprintf(" of %d MiB", limit))
			if strings.Contains(b.text(), "perhaps") {
				t.Errorf("it is certain:\n%s", b.text())
			}
			b = start(t, dir, g, "run", "child")
			b.exits(1, 60*time.Second)
			b.prints("killed by OOM at ", fmt.Sprintf(" of %d MiB", limit))
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

// The clock is set back by an hour, and forward again, while builds run.
func TestInsideClock(t *testing.T) {
	inside(t)
	dir := configure(t, `
[machine]
cpus = 1
memory_per_build = "32MiB"
[[workers]]
name = "bot"
max_builds = 1
[[builders]]
name = "tick"
collapse_requests = false
steps = [{ run = 'echo "$BOTHY_BUILD_NUMBER"; sleep 0.3', timeout = "10s", max_time = "60s" }]
`)
	layout, err := basedir.Resolve(filepath.Join(dir, ".bothy"))
	if err != nil {
		t.Fatal(err)
	}
	client := control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, layout) })
	serve := func() *bothy {
		b := start(t, dir, "", "serve")
		until(t, 20*time.Second, "the server does not answer", func() bool { _, err := client.Status(t.Context()); return err == nil })
		return b
	}
	var ids []int64
	submit := func(n int) {
		t.Helper()
		out, err := client.Submit(t.Context(), control.SubmitRequest{Builders: slices.Repeat([]string{"tick"}, n)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, out.Requests...)
	}
	running := func() control.Status {
		t.Helper()
		st, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	b := serve()
	for _, by := range []time.Duration{-time.Hour, 2 * time.Hour, -time.Hour} {
		submit(3)
		until(t, 20*time.Second, "no build runs", func() bool { return running().Running == 1 })
		setClock(t, by)
		submit(2)
	}
	// The next master finds requests whose times are in no order.
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.exits(0, 20*time.Second)
	if st, err := client.Status(t.Context()); err == nil {
		t.Fatalf("still there: %+v", st)
	}
	b = serve()
	until(t, 60*time.Second, "the builds do not come to an end", func() bool { st := running(); return st.Pending == 0 && st.Running == 0 })
	if err := client.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.exits(0, 20*time.Second)
	checkOrder(t, layout, ids)
}

// checkOrder checks that all succeeded, in the order in which they were asked
// for, and took no less than no time.
func checkOrder(t *testing.T, layout basedir.Layout, ids []int64) {
	t.Helper()
	s, err := store.Open(layout.StateDB, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	builds, err := s.Builds(t.Context(), store.Filter{Limit: 500})
	if err != nil {
		t.Fatal(errors.Join(err, s.Close()))
	}
	var done []int64
	for _, b := range slices.Backward(builds) { // the oldest first
		if b.Completed.Before(b.Started) {
			t.Errorf("build %d took %v", b.Number, b.Completed.Sub(b.Started))
		}
		steps, err := s.Steps(t.Context(), b.ID)
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
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if id <= 0 {
			t.Error("request " + strconv.FormatInt(id, 10))
		}
	}
}
