package vmtest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
)

// silence is how long the machine may print nothing: it is emulated, and there
// are tests that take half a minute. Each suite has a limit of its own in init.sh.
const silence = 4 * time.Minute

//go:embed init.sh
var initScript []byte

// suites are the test programs that run in the machine, in this order.
var suites = []suite{
	{"osrelease", "bothy/osrelease", ""},
	{"machine", "bothy/localworker/internal/machine", ""},
	// Methods that use no cgroup are as good on any machine; so are throughput
	// and time limits, which take more than a minute here.
	{"spawn", "bothy/localworker/internal/spawn", "-test.skip=^TestLargeOutput$|^TestUsage$/^cgroup.procs$|^TestStops$|/^(leader|clone3-alone|group)$"},
	{"localworker", "bothy/localworker", ""},
	{"inside", "bothy/runner/internal/vmtest", "-test.run=^TestInside"},
}

type suite struct {
	name, pkg string
	args      string // of the test program
}

// chosen is all suites, or those that BOTHY_VM_SUITES names.
func chosen() []suite {
	names := strings.Fields(os.Getenv("BOTHY_VM_SUITES"))
	if len(names) == 0 {
		return suites
	}
	return slices.DeleteFunc(slices.Clone(suites), func(s suite) bool { return !slices.Contains(names, s.name) })
}

func TestVM(t *testing.T) {
	if os.Getenv(insideMark) != "" {
		t.Skip("this is the machine")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("NOT TESTED: the machine's kernel is for amd64")
	}
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	qemu, kernel, busybox := tools(t)
	image := pack(t, busybox)
	results := boot(t, qemu, kernel, image)
	if results["stuck"] != nil {
		// No test's own time limit has ended it: the emulated machine stands
		// still as a whole, which it does once in a while.
		t.Logf("THE MACHINE STOOD STILL; its last words:\n%s", results[""].tail(10))
		results = boot(t, qemu, kernel, image)
	}
	for _, s := range chosen() {
		t.Run(s.name, func(t *testing.T) {
			r := results[s.name]
			if r == nil || r.code == "" {
				t.Fatalf("did not end; the machine's last words:\n%s", results[""].tail(60))
			}
			t.Log(r.summary())
			if r.code != "0" {
				t.Errorf("exit code %s\n%s", r.code, r.failures())
			}
			if !strings.Contains(r.text.String(), "--- PASS") {
				t.Errorf("no test passed:\n%s", r.tail(40))
			}
		})
	}
}

// boot runs the machine until it turns itself off. The entry "stuck" says that
// it did not.
func boot(t *testing.T, qemu, kernel, image string) map[string]*result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1400", "-smp", "2",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 quiet psi=1 panic=-1 oops=panic",
		"-nographic", "-nic", "none", "-no-reboot", "-monitor", "none")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	patience := time.AfterFunc(silence, cancel)
	results := follow(t, out, func() { patience.Reset(silence) })
	patience.Stop()
	err = cmd.Wait()
	t.Logf("the machine ran for %v", time.Since(began).Round(100*time.Millisecond))
	switch {
	case ctx.Err() != nil:
		results["stuck"] = &result{}
	case err != nil:
		t.Errorf("qemu: %v\n%s", err, &stderr)
	}
	return results
}

// tools finds what the machine is made of.
func tools(t *testing.T) (qemu, kernel, busybox string) {
	t.Helper()
	var err error
	if qemu, err = exec.LookPath("qemu-system-x86_64"); err != nil {
		testrig.Missing(t, "no qemu-system-x86_64 (package qemu-system-x86)")
	}
	kernels, err := filepath.Glob("/boot/vmlinuz-*cloud*")
	if err != nil || len(kernels) == 0 {
		testrig.Missing(t, "no /boot/vmlinuz-*cloud* (package linux-image-cloud-amd64)")
	}
	kernel = slices.Max(kernels)
	if _, err := os.ReadFile(kernel); err != nil {
		testrig.Missing(t, "%v", err)
	}
	if busybox, err = exec.LookPath("busybox"); err != nil {
		testrig.Missing(t, "no busybox (package busybox-static)")
	}
	for _, tool := range []string{"cpio", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			testrig.Missing(t, "no %s", tool)
		}
	}
	return qemu, kernel, busybox
}

// pack makes the machine's first and only file system.
func pack(t *testing.T, busybox string) (image string) {
	t.Helper()
	work := t.TempDir()
	root := filepath.Join(work, "root")
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "root", "usr/lib", "tests"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	goBuild(t, "build", "-o", filepath.Join(root, "bin/bothy"), "bothy")
	goBuild(t, "test", "-c", "-o", filepath.Join(root, "bin/delegate"), "bothy/runner/internal/vmtest")
	for _, s := range chosen() {
		dir := filepath.Join(root, "tests", s.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		goBuild(t, "test", "-c", "-o", filepath.Join(dir, "test"), s.pkg)
		if err := os.WriteFile(filepath.Join(dir, "args"), []byte(s.args), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Tests read their fixtures by the path they have in the repository.
	for name, to := range map[string]string{"../../../testdata": "testdata", busybox: "bin/busybox"} {
		if out, err := exec.Command("cp", "-aL", name, filepath.Join(root, to)).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v\n%s", name, err, out)
		}
	}
	// Busybox runs some of its own commands, sleep for one, without a process.
	withLibraries(t, root, "sh", "sleep", "nohup", "setsid")
	var order strings.Builder
	for _, s := range chosen() {
		order.WriteString(s.name + "\n")
	}
	for name, text := range map[string]string{
		"init": string(initScript), "tests/order": order.String(),
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
		"etc/group":      "root:x:0:\nnogroup:x:65534:\n",
		"etc/os-release": "ID=vmtest\nID_LIKE=\"small machine\"\nVERSION_ID=1\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image = filepath.Join(work, "initrd.gz")
	cpio := exec.Command("sh", "-c", "set -e; find . | cpio --quiet -o -H newc | gzip -1 >"+image)
	cpio.Dir = root
	if out, err := cpio.CombinedOutput(); err != nil {
		t.Fatalf("pack: %v\n%s", err, out)
	}
	return image
}

// withLibraries copies programs of this machine, and what they are linked with.
func withLibraries(t *testing.T, root string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		libs, err := exec.Command("ldd", path).Output()
		if err != nil {
			testrig.Missing(t, "ldd %s: %v", path, err)
		}
		files := map[string]string{filepath.Join("/bin", name): path}
		for _, lib := range library.FindAllString(string(libs), -1) {
			files[lib] = lib
		}
		for to, from := range files {
			to = filepath.Join(root, to)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("cp", "-L", from, to).CombinedOutput(); err != nil {
				t.Fatalf("copy %s: %v\n%s", from, err, out)
			}
		}
	}
}

// library is a path in what ldd prints.
var library = regexp.MustCompile(`/\S+`)

func goBuild(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{args[0], "-ldflags=-s -w"}, args[1:]...)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// result is what came back of one suite.
type result struct {
	name string
	code string // its exit code; empty: it did not end
	text bytes.Buffer
}

// slow is a test that took five seconds or more.
var slow = regexp.MustCompile(`(?m)^--- \w+: \w+ \((?:[5-9]|\d\d+)\.\d+s\)`)

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL|^panic:|^FAIL`)

// failures is the part of the output that matters.
func (r *result) failures() string {
	text := r.text.String()
	if len(text) < 20000 {
		return text
	}
	at := failure.FindStringIndex(text)
	if at == nil {
		return r.tail(200)
	}
	return text[max(0, at[0]-6000):min(len(text), at[0]+14000)]
}

func (r *result) tail(lines int) string {
	if r == nil {
		return ""
	}
	all := strings.SplitAfter(r.text.String(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

func (r *result) summary() string {
	text := r.text.String()
	s := fmt.Sprintf("%d passed, %d failed, %d skipped", strings.Count(text, "--- PASS"), strings.Count(text, "--- FAIL"), strings.Count(text, "--- SKIP"))
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "@time "); ok {
			s += ", " + strings.TrimSpace(rest)
		}
	}
	for _, line := range slow.FindAllString(text, -1) {
		s += "\n" + line
	}
	return s
}

// follow reads the machine's console: init marks where a suite begins and ends.
// The entry "" has everything.
func follow(t *testing.T, console io.Reader, heard func()) map[string]*result {
	t.Helper()
	all := &result{}
	results := map[string]*result{"": all}
	var now *result
	sc := bufio.NewScanner(console)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		heard()
		line := strings.TrimRight(sc.Text(), "\r")
		all.text.WriteString(line + "\n")
		switch {
		case strings.HasPrefix(line, "@begin "):
			now = &result{name: strings.TrimPrefix(line, "@begin ")}
			results[now.name] = now
		case strings.HasPrefix(line, "@end ") && now != nil:
			now.code = strings.TrimPrefix(line, "@end ")
			now = nil
		case now != nil:
			now.text.WriteString(line + "\n")
		}
	}
	if err := sc.Err(); err != nil {
		t.Error(err)
	}
	return results
}
