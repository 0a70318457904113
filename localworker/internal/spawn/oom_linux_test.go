package spawn

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// Where a master shares its memory group, and cannot make one in it, an OOM kill
// is told by what goes with it.
func TestOOMInASharedGroup(t *testing.T) {
	const limit = 64 << 20
	pos := findPosition("/", os.Getpid())
	if pos.memory == "" {
		t.Skip("SKIP: no cgroup v1 memory controller; TestInsideOOM shows it for version 2")
	}
	const eat = "tail /dev/zero; "
	for i, c := range []struct {
		name, script string
		beside       bool // somebody else lives in the group from the beginning
		meanwhile    bool // somebody else comes while the script waits for it
		oom, certain bool
	}{
		{"itself", "exec tail /dev/zero", true, true, true, true},
		{"its child, by its shell", eat + "exit $?", true, true, true, true},
		{"a child, with nobody else there", eat + "exit 0", false, false, true, true},
		{"a child, beside others who stay", eat + "exit 0", true, false, true, true},
		{"a child, while others come", eat + "exit 0", false, true, true, false},
		{"killed by itself", "kill -KILL $$", false, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			group := fmt.Sprintf("%s/test-shared-%d-%d", pos.memory, os.Getpid(), i)
			if err := os.Mkdir(group, 0o755); err != nil {
				t.Skipf("SKIP: %v", err)
			}
			t.Cleanup(func() {
				if !removeGroupSoon(group, giveUp) {
					t.Errorf("%s cannot be removed", group)
				}
			})
			if err := writeFile(group+"/memory.limit_in_bytes", fmt.Sprint(limit)); err != nil {
				t.Skipf("SKIP: %v", err)
			}
			if c.beside {
				liveIn(t, group)
			}
			come := filepath.Join(t.TempDir(), "come")
			cmd := inGroup(group, "exec "+os.Args[0])
			cmd.Env = slices.Concat(os.Environ(), raceEnv(), []string{"SPAWN_TEST_SHARED=1", "SPAWN_TEST_METHOD=" + string(Leader), fmt.Sprintf("SPAWN_TEST_BASE=test-shared-%d-%d", os.Getpid(), i),
				"SPAWN_TEST_MASTER=exec 2>/dev/null; echo ready; while [ ! -e " + come + " ]; do sleep 0.01; done; " + c.script})
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			r := bufio.NewReader(out)
			if said, err := r.ReadString('\n'); said != "ready\n" {
				t.Fatalf("the master said %q, %v", said, err)
			}
			if c.meanwhile {
				liveIn(t, group)
			}
			if err := os.WriteFile(come, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			var x worker.Exit
			if err := json.NewDecoder(r).Decode(&x); err != nil {
				t.Fatal(err)
			}
			switch {
			case (x.OOM != nil) != c.oom:
				t.Errorf("%+v", x)
			case c.oom && (x.OOM.Certain != c.certain || x.OOM.Limit != limit || x.OOM.At < limit/2 || x.OOM.At > limit):
				t.Errorf("%+v, %+v", x, x.OOM)
			}
		})
	}
}

// inGroup is a shell that enters a group of cgroup v1 and goes on there.
func inGroup(group, script string) *exec.Cmd {
	return exec.Command("sh", "-c", "echo $$ > "+group+"/cgroup.procs && "+script)
}

// liveIn has a process live in a group until the end of the test, and returns
// when it is there.
func liveIn(t *testing.T, group string) {
	t.Helper()
	cmd := inGroup(group, "echo here; exec sleep 1000")
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
	if said, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(said) != "here" {
		t.Fatalf("it said %q, %v", said, err)
	}
}
