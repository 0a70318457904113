package spawn_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/localworker/internal/spawn"
)

// startMaster starts this test binary as a master that runs a script, and
// returns when the script has said "ready".
func startMaster(t *testing.T, m spawn.Method, base, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SPAWN_TEST_MASTER="+script, "SPAWN_TEST_BASE="+base, "SPAWN_TEST_METHOD="+string(m))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(func() { spawn.Sweep(context.Background(), spawn.Options{BaseID: base, Epoch: 1 << 40}) })
	said, err := bufio.NewReader(out).ReadString('\n')
	if strings.Contains(said, "not available") {
		t.Skipf("SKIP: %s", said)
	}
	if said != "ready\n" {
		t.Fatalf("the master said %q, %v", said, err)
	}
	return cmd
}

// spawnersOf returns the process numbers of a base directory's spawners.
func spawnersOf(t *testing.T, base string) (pids []int) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(b), "bothy-spawner\x00"+base+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// groupsOf returns the cgroups that carry a base directory's name.
func groupsOf(base string) (dirs []string) {
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "bothy-"+base+"-") {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

func TestMasterKilled(t *testing.T) {
	for _, m := range []spawn.Method{spawn.Clone, spawn.Procs, spawn.Leader} {
		t.Run(string(m), func(t *testing.T) {
			base, mk := baseID(), mark()
			cmd := startMaster(t, m, base, brood(mk)+"(setsid env -i sleep "+mk+" &); echo ready; wait")
			grown(t, mk, 4)
			if n := len(spawnersOf(t, base)); n != 1 {
				t.Fatalf("%d spawners", n)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			until(t, 2*time.Second, "the end of all processes", func() bool {
				return len(living(t, mk)) == 0 && len(living(t, base)) == 0
			})
			if g := groupsOf(base); len(g) > 0 {
				t.Errorf("cgroups are left: %q", g)
			}
		})
	}
}

func TestMasterAndSpawnerKilled(t *testing.T) {
	for _, m := range []spawn.Method{spawn.Clone, spawn.Procs, spawn.Leader, spawn.CloneAlone, spawn.Group} {
		t.Run(string(m), func(t *testing.T) {
			base, mk, other := baseID(), mark(), mark()
			script := brood(mk) + "echo ready; wait"
			if m.Mode() == spawn.ModeCgroup {
				script = "(setsid env -i sleep " + mk + " &); " + script // only its cgroup tells
			}
			cmd := startMaster(t, m, base, script)
			stranger := exec.Command("sleep", other)
			stranger.Env = []string{spawn.CookieName + "=" + base + "x.1.1.1"}
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				stranger.Process.Kill()
				stranger.Wait()
			}()
			sleepers := 3
			if m.Mode() == spawn.ModeCgroup {
				sleepers = 4
			}
			grown(t, mk, sleepers)
			for _, pid := range spawnersOf(t, base) { // it must not notice the master's end
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				until(t, 10*time.Second, "the stop of the spawner", func() bool {
					stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
					_, after, _ := strings.Cut(string(stat), ") ")
					return strings.HasPrefix(after, "T")
				})
			}
			cmd.Process.Kill()
			for _, pid := range spawnersOf(t, base) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Wait()
			until(t, 2*time.Second, "the end of the spawners", func() bool { return len(living(t, "bothy-spawner\x00"+base+"\x00")) == 0 })
			if len(living(t, mk)) < 4 {
				t.Fatal("the processes did not outlive master and spawner: nothing to prove")
			}

			if ended, err := spawn.Sweep(t.Context(), spawn.Options{BaseID: base, Epoch: 1}); err != nil || len(ended) > 0 {
				t.Errorf("a sweep of the same epoch ended %s, %v", names(ended), err)
			}
			ended, err := spawn.Sweep(t.Context(), spawn.Options{BaseID: base, Epoch: 2})
			if err != nil {
				t.Fatal(err)
			}
			nobody(t, mk)
			if n := strings.Count(names(ended), mk); n < 4 {
				t.Errorf("ended %s", names(ended))
			}
			if len(living(t, other)) != 1 {
				t.Error("a process of another base directory was ended")
			}
			if g := groupsOf(base); len(g) > 0 {
				t.Errorf("cgroups are left: %q", g)
			}
		})
	}
}

func TestSpawnerKilled(t *testing.T) {
	for _, m := range []spawn.Method{spawn.Clone, spawn.Procs, spawn.Leader} {
		t.Run(string(m), func(t *testing.T) {
			r := open(t, spawn.Options{Only: m})
			b := r.begin(t)
			mk := mark()
			rec, started := expect("ready")
			go func() {
				<-started
				grown(t, mk, 3)
				for _, pid := range spawnersOf(t, r.base) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}()
			_, err := b.Run(t.Context(), sh(brood(mk)+"echo ready; wait"), rec)
			if !errors.Is(err, spawn.ErrSpawner) {
				t.Errorf("error %v", err)
			}
			nobody(t, mk)
			if _, err := b.End(context.Background()); err != nil {
				t.Error(err)
			}
			again, err := r.pool.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			b, err = again.Begin(500)
			if err != nil {
				t.Fatal(err)
			}
			if x := run(t, b, sh("exit 8"), &record{}); x.Code != 8 {
				t.Errorf("%+v", x)
			}
			end(t, b)
		})
	}
}

// A program that did not call Main must not be re-executed.
func TestWithoutHelper(t *testing.T) {
	base := baseID()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SPAWN_TEST_NO_HELPER=1", "SPAWN_TEST_MASTER=echo $BOTHY_COOKIE; tr '\\0' '\\n' < /proc/$PPID/cmdline", "SPAWN_TEST_BASE="+base)
	defer spawn.Sweep(context.Background(), spawn.Options{BaseID: base, Epoch: 1 << 40})
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatal(err)
	}
	if got := string(out); !strings.HasPrefix(got, base+".1.1.1\n/proc/self/exe\n") {
		t.Errorf("output %q", got)
	}
}

func TestProbeLeavesNoTrace(t *testing.T) {
	base := "probe-" + strconv.Itoa(os.Getpid())
	s, err := spawn.Probe(t.Context(), spawn.Options{Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if s.Mode != spawn.ModeCgroup && s.Mode != spawn.ModeLeader {
		t.Errorf("%+v", s)
	}
	t.Logf("%+v", s)
	if g := groupsOf(base); len(g) > 0 {
		t.Errorf("cgroups are left: %q", g)
	}
	if l := living(t, "bothy-spawner\x00"+base+"\x00"); len(l) > 0 {
		t.Errorf("%q live", l)
	}
}

// A child that is cloned from a group that was ever killed is born dead on some
// kernels (Linux 6.18): another method must be found.
func TestMasterInOnceKilledGroup(t *testing.T) {
	r := open(t, spawn.Options{Only: spawn.Clone})
	b := r.begin(t)
	defer end(t, b)
	rec := &record{}
	run(t, b, sh("cat /proc/self/cgroup; grep ' - cgroup2 ' /proc/self/mountinfo | cut -d' ' -f5"), rec)
	lines := strings.Fields(rec.text("o"))
	_, own, ok := strings.Cut(rec.text("o"), "0::")
	if !ok {
		t.Fatalf("output %q", rec.text("o"))
	}
	own, _, _ = strings.Cut(own, "\n")
	group := filepath.Join(lines[len(lines)-1], filepath.Dir(own), "killed")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	defer os.Remove(group)
	if err := os.WriteFile(group+"/cgroup.kill", []byte("1"), 0); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	// A shell enters the group and becomes the master.
	base := baseID()
	cmd := exec.Command("sh", "-c", "echo $$ > "+group+"/cgroup.procs && exec "+os.Args[0])
	cmd.Env = append(os.Environ(), "SPAWN_TEST_MASTER=cat /proc/self/cgroup", "SPAWN_TEST_BASE="+base)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if want := "killed/bothy-" + base + "-1/b1.s1\n"; !strings.Contains(string(out), want) {
		t.Errorf("the command was in %q, %v; want %q", out, err, want)
	}
	spawn.Sweep(context.Background(), spawn.Options{BaseID: base, Epoch: 2})
	os.Remove(group + "/bothy-" + base + "-1")
}
