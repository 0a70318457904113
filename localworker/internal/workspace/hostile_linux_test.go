package workspace

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bothy/runner/worker"
)

// reexec runs the calling test again in a child, where it returns true. The
// parent skips if the child cannot be made.
func reexec(t *testing.T, attr *syscall.SysProcAttr) (child bool) {
	t.Helper()
	const mark = "BOTHY_TEST_CHILD"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	// By this name the child may run a binary in a directory it may not enter.
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Env = []string{mark + "=" + t.Name(), "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("SKIPPED: no child with other rights: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("child: %v", err)
	}
	if strings.Contains(string(out), "SKIP") {
		t.Skip("SKIPPED by the child")
	}
	return false
}

func TestUnreadableFileIsNamed(t *testing.T) {
	if os.Geteuid() == 0 && !reexec(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}) {
		return
	}
	src := t.TempDir()
	write(t, src, map[string]string{"sub/secret": "1", "a": ""})
	os.Chmod(filepath.Join(src, "sub/secret"), 0)
	a := newArea(t, Options{})
	_, err := a.Prepare(t.Context(), plainExec, request(1, copyOf(src), worker.WorkspaceFresh))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), src+": sub/secret: ") {
		t.Errorf("error %v", err)
	}
	os.Remove(filepath.Join(src, "sub/secret"))
	os.Chmod(filepath.Join(src, "sub"), 0)
	defer os.Chmod(filepath.Join(src, "sub"), 0o700)
	_, err = a.Prepare(t.Context(), plainExec, request(2, copyOf(src), worker.WorkspaceFresh))
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(src, "sub")) {
		t.Errorf("error %v", err)
	}
}

// Go's module cache is a tree of 0555 directories.
func TestReadOnlyDirectoriesAreRemoved(t *testing.T) {
	if os.Geteuid() == 0 && !reexec(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}) {
		return
	}
	a := newArea(t, Options{})
	d := prepare(t, a, request(1, worker.Source{Kind: worker.SourceNone}, worker.WorkspaceFresh))
	write(t, d.Path, map[string]string{"mod/x/y/z.go": "", "closed/f": ""})
	outside := t.TempDir()
	write(t, outside, map[string]string{"f": ""})
	os.Chmod(outside, 0o555)
	defer os.Chmod(outside, 0o755)
	os.Symlink(outside, filepath.Join(d.Path, "mod/x/link"))
	for _, dir := range []string{"mod/x/y", "mod/x", "mod"} {
		os.Chmod(filepath.Join(d.Path, dir), 0o555)
	}
	os.Chmod(filepath.Join(d.Path, "closed"), 0)
	release(t, d, worker.DropDir)
	if _, err := os.Lstat(d.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if info, _ := os.Stat(outside); info.Mode().Perm() != 0o555 {
		t.Errorf("the target of a symlink now has mode %v", info.Mode())
	}

	// The same directory kept, with a source file in a directory that became read-only.
	src := t.TempDir()
	write(t, src, map[string]string{"d/f": "1", "d/gone": "1"})
	d = prepare(t, a, request(2, copyOf(src), worker.WorkspaceKeep))
	os.Chmod(filepath.Join(d.Path, "d"), 0o555)
	release(t, d, worker.DropDir)
	os.Remove(filepath.Join(src, "d/gone"))
	write(t, src, map[string]string{"d/f": "22"})
	d = prepare(t, a, request(3, copyOf(src), worker.WorkspaceKeep))
	wantNames(t, d.Path, "d/f")
	if got := read(t, filepath.Join(d.Path, "d/f")); got != "22" {
		t.Errorf("file holds %q", got)
	}
}

func TestDiskFullNamesTheFile(t *testing.T) {
	attr := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if !reexec(t, attr) {
		return
	}
	small := t.TempDir()
	if err := syscall.Mount("none", small, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("SKIP: no small file system: %v", err)
	}
	defer syscall.Unmount(small, 0)
	src := t.TempDir()
	write(t, src, map[string]string{"sub/large": strings.Repeat("x", 1<<20)})
	a := newArea(t, Options{Dir: filepath.Join(small, "workers")})
	_, err := a.Prepare(t.Context(), plainExec, request(1, copyOf(src), worker.WorkspaceFresh))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "sub/large") {
		t.Errorf("error %v", err)
	}
	if left, err := Leftovers(a.o.Dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
