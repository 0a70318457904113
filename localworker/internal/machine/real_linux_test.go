package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// childEnv makes this test binary write a report to the file it names, and end.
const childEnv = "BOTHY_TEST_MACHINE_REPORT"

// TestRealCgroup puts a process two levels below limits in the cgroups of this
// machine, v1 or v2, and asks it what it found.
func TestRealCgroup(t *testing.T) {
	here, err := NewDetector("/", Options{})
	if err != nil {
		t.Fatal(err)
	}
	const memory = 512 << 20
	var procs []string
	// nest makes outer/middle/inner below dir and limits outer.
	nest := func(dir string, limits map[string]string) {
		t.Helper()
		outer := filepath.Join(dir, fmt.Sprintf("bothy-test-%d", os.Getpid()))
		inner := filepath.Join(outer, "middle", "inner")
		for _, d := range []string{outer, filepath.Dir(inner), inner} {
			err := os.Mkdir(d, 0o755)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err != nil {
				t.Skipf("SKIPPED: no cgroup can be made: %v", err)
			}
			t.Cleanup(func() {
				if err := os.Remove(d); err != nil {
					t.Error(err)
				}
			})
		}
		for name, value := range limits {
			if err := os.WriteFile(filepath.Join(outer, name), []byte(value), 0); err != nil {
				t.Skipf("SKIPPED: no limit can be set: %v", err)
			}
		}
		procs = append(procs, filepath.Join(inner, "cgroup.procs"))
	}
	legacy := false
	if dir := here.own.cpu.dirs; len(dir) > 0 {
		nest(dir[0], map[string]string{"cpu.cfs_quota_us": "50000"})
		legacy = true
	}
	if dir := here.own.memory.dirs; len(dir) > 0 {
		nest(dir[0], map[string]string{"memory.limit_in_bytes": fmt.Sprint(memory)})
		legacy = true
	}
	if dir := here.own.unified.dirs; len(dir) > 0 && !legacy {
		if err := os.WriteFile(filepath.Join(dir[0], "cgroup.subtree_control"), []byte("+cpu +memory"), 0); err != nil {
			t.Skipf("SKIPPED: no controllers for a child: %v", err)
		}
		nest(dir[0], map[string]string{"cpu.max": "50000 100000", "memory.max": fmt.Sprint(memory)})
	}
	if len(procs) == 0 {
		t.Skip("SKIPPED: this machine has no cgroup with limits in reach")
	}

	file := filepath.Join(t.TempDir(), "report.json")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The shell moves itself first, so that the child never runs elsewhere.
	script := `for f in "$@"; do echo $$ > "$f" || exit 3; done; exec "$EXE"`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, procs...)...)
	cmd.Env = append(os.Environ(), childEnv+"="+file, "EXE="+exe)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(here.own.cpu.dirs)+len(here.own.unified.dirs) > 0 && r.CPUs.Value != 0.5 {
		t.Errorf("%v CPUs, want 0.5", r.CPUs.Value)
	}
	if r.Memory.Bytes != memory || r.Slots != 1 {
		t.Errorf("%d bytes and %d slots, want %d and 1", r.Memory.Bytes, r.Slots, memory)
	}
	if t.Failed() {
		t.Logf("%s", data)
	}
}

func TestMain(m *testing.M) {
	file := os.Getenv(childEnv)
	if file == "" {
		os.Exit(m.Run())
	}
	if err := writeReport(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeReport(file string) error {
	r, err := Detect("/", Options{})
	if err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// A narrowed affinity is seen by the next read.
func TestRealAffinity(t *testing.T) {
	d, err := NewDetector("/", Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- func() error {
			// Never unlocked: the thread ends with this goroutine, and its mask with it.
			runtime.LockOSThread()
			var set, one unix.CPUSet
			if err := unix.SchedGetaffinity(0, &set); err != nil {
				return err
			}
			for cpu := 0; one.Count() == 0; cpu++ {
				if set.IsSet(cpu) {
					one.Set(cpu)
				}
			}
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				return err
			}
			if v := d.Read().CPUs.Value; v > 1 {
				return fmt.Errorf("%v CPUs with an affinity of one", v)
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
