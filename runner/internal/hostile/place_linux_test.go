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
)

// nobody is the user without rights of its own that every Linux has.
const nobody = 65534

// nobodysScene is a scene in which the program runs as nobody, in a directory
// that belongs to it.
func nobodysScene(t *testing.T, conf string) *scene {
	t.Helper()
	needRoot(t)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		missing(t, "no setpriv")
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
	s := newSceneIn(t, dir, conf)
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, s.mark}
	s.wrap = []string{setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"}
	return s
}

// As a user without any rights, in a directory of its own.
func TestOtherUser(t *testing.T) {
	s := nobodysScene(t, containment)
	checkContainment(t, s)
	p := s.run(0, "run", "--", "id", "-u")
	p.prints("65534")
	out := s.run(0, "doctor")
	out.prints("containment: ")
}

// A path that is too long for a socket changes nothing.
func TestLongPath(t *testing.T) {
	dir := t.TempDir()
	for len(dir) < 400 {
		dir = filepath.Join(dir, strings.Repeat("long", 20))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := newSceneIn(t, dir, gatedConf())
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	s.write("two.go", "")
	two.exits(1, 10*time.Second)
	s.write("one.go", "")
	one.exits(0, 10*time.Second)
}

// A program started by something that sets nothing.
func TestBareEnvironment(t *testing.T) {
	s := newScene(t, gatedConf())
	s.env = []string{s.mark}
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	s.write("two.go", "")
	two.exits(1, 10*time.Second)
	s.write("one.go", "")
	one.exits(0, 10*time.Second)
	s.run(0, "doctor")
}

// Where /tmp cannot be written either there is no control socket: a run works,
// and a second one says why it cannot.
func TestReadOnlyTmp(t *testing.T) {
	needRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		missing(t, "no unshare")
	}
	// The scene is on a mount of its own, which stays writable; the program too.
	place := mountTmpfs(t, "200m")
	copied := filepath.Join(place, "bothy")
	if err := os.Link(program, copied); err != nil {
		b, rerr := os.ReadFile(program)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err := os.WriteFile(copied, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := newSceneIn(t, place, gatedConf())
	s.wrap = []string{unshare, "-m", "sh", "-c", `
mount -t tmpfs -o ro none /tmp.empty 2>/dev/null
mkdir -p "$PLACE" && mount --make-rprivate / && mount --bind "$PLACE" /mnt && mount -t tmpfs -o ro none /tmp && cd /mnt && shift && exec ./bothy "$@"`, "sh"}
	s.env = append(s.env, "PLACE="+place)
	s.write("one.go", "")
	p := s.run(0, "run", "one")
	p.prints("one went on")
}

// The directory of the build is removed below it.
func TestDirectoryGoes(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"mkdir sub\", { run = \"cd .. && rm -rf sub && echo gone\", workdir = \"sub\" }, { run = \"pwd\", workdir = \"sub\" }]\n")
	p := s.run(0, "run")
	p.prints("| gone\n")
}

// PID 1 need not reap: in a PID namespace whose first process is a sleeping
// shell, zombies of ended processes stay, and nothing waits for them.
func TestInitDoesNotReap(t *testing.T) {
	needRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		missing(t, "no unshare")
	}
	s := newScene(t, containment)
	s.wrap = []string{unshare, "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", `"$@" & wait $!; exit $?`, "sh"}
	checkContainment(t, s)
}

// An interrupt that comes while the program is still starting.
func TestInterruptEarly(t *testing.T) {
	s := newScene(t, gatedConf())
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond} {
		p := s.start("run", "one")
		<-time.After(after)
		p.signalGroup(syscall.SIGINT)
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			t.Fatalf("interrupted after %v, and still runs\n%s", after, p.all())
		}
		// Before the program has set up anything the system ends it.
		if st := p.cmd.ProcessState.Sys().(syscall.WaitStatus); p.cmd.ProcessState.ExitCode() != 130 && !(st.Signaled() && st.Signal() == unix.SIGINT) {
			t.Errorf("interrupted after %v: %v\n%s", after, p.cmd.ProcessState, p.all())
		}
	}
}
