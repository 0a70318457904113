package hostile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/internal/testrig"
)

// nobody is the user without rights of its own that every Linux has.
const nobody = 65534

// nobodysScene is a scene in which the program runs as nobody, in a directory
// that belongs to it.
func nobodysScene(t *testing.T, conf string) *testrig.Scene {
	t.Helper()
	testrig.NeedRoot(t)
	t.Parallel()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		testrig.Missing(t, "no setpriv")
	}
	// t.TempDir is root's alone.
	dir, err := os.MkdirTemp("", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	s := testrig.NewScene(t, dir, conf)
	s.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, s.Mark()}
	s.Wrap = []string{setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"}
	return s
}

// As a user without any rights, in a directory of its own.
func TestOtherUser(t *testing.T) {
	s := nobodysScene(t, containment)
	checkContainment(t, s)
	p := s.Run(0, "run", "--", "id", "-u")
	p.Prints("65534")
	out := s.Run(0, "doctor")
	out.Prints("containment: ")
}

// A path that is too long for a socket changes nothing.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for len(dir) < 400 {
		dir = filepath.Join(dir, strings.Repeat("long", 20))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := testrig.NewScene(t, dir, gatedConf())
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	s.Write("two.go", "")
	two.Exits(1)
	s.Write("one.go", "")
	one.Exits(0)
}

// A program started by something that sets nothing.
func TestBareEnvironment(t *testing.T) {
	s := newScene(t, gatedConf())
	s.Env = []string{s.Mark()}
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	s.Write("two.go", "")
	two.Exits(1)
	s.Write("one.go", "")
	one.Exits(0)
	s.Run(0, "doctor")
}

// Where /tmp cannot be written either there is no control socket: a run works,
// and a second one says why it cannot.
func TestReadOnlyTmp(t *testing.T) {
	testrig.NeedRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		testrig.Missing(t, "no unshare")
	}
	t.Parallel()
	// The scene is on a mount of its own, which stays writable; the program too.
	place := mountTmpfs(t, "200m")
	copied := filepath.Join(place, "bothy")
	if err := os.Link(testrig.Program(), copied); err != nil {
		b, rerr := os.ReadFile(testrig.Program())
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err := os.WriteFile(copied, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := testrig.NewScene(t, place, gatedConf())
	s.Wrap = []string{unshare, "-m", "sh", "-c", `
mount -t tmpfs -o ro none /tmp.empty 2>/dev/null
mkdir -p "$PLACE" && mount --make-rprivate / && mount --bind "$PLACE" /mnt && mount -t tmpfs -o ro none /tmp && cd /mnt && shift && exec ./bothy "$@"`, "sh"}
	s.Env = append(s.Env, "PLACE="+place)
	s.Write("one.go", "")
	p := s.Run(0, "run", "one")
	p.Prints("one went on")
}

// The directory of the build is removed below it.
func TestDirectoryGoes(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"mkdir sub\", { run = \"cd .. && rm -rf sub && echo gone\", workdir = \"sub\" }, { run = \"pwd\", workdir = \"sub\" }]\n")
	p := s.Run(0, "run")
	p.Prints("| gone\n")
}

// PID 1 need not reap: in a PID namespace whose first process is a sleeping
// shell, zombies of ended processes stay, and nothing waits for them.
func TestInitDoesNotReap(t *testing.T) {
	testrig.NeedRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		testrig.Missing(t, "no unshare")
	}
	s := newScene(t, containment)
	s.Wrap = []string{unshare, "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", `"$@" & wait $!; exit $?`, "sh"}
	checkContainment(t, s)
}

// An interrupt that comes while the program is still starting.
func TestInterruptEarly(t *testing.T) {
	s := newScene(t, gatedConf())
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond} {
		p := s.Start("run", "one")
		<-time.After(after)
		p.SignalGroup(syscall.SIGINT)
		p.Ends()
		// Before the program has set up anything the system ends it.
		if st := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); p.Cmd.ProcessState.ExitCode() != 130 && !(st.Signaled() && st.Signal() == unix.SIGINT) {
			t.Errorf("interrupted after %v: %v\n%s", after, p.Cmd.ProcessState, p.All())
		}
	}
}
