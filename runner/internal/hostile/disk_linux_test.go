package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/build"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/store"
	"bothy/runner/internal/testrig"
)

// mountTmpfs returns a directory on a file system of its own.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	testrig.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		testrig.Missing(t, "cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// glutton is a file that takes all the space there is.
type glutton struct {
	t    *testing.T
	path string
}

// eat takes what is free at present.
func (g *glutton) eat() {
	f, err := os.OpenFile(g.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		if !errors.Is(err, unix.ENOSPC) {
			g.t.Error(err)
		}
		return
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

const tight = `
[machine]
cpus = 3
memory_per_build = "64MiB"
[[builders]]
name = "loud"
max_retries = 0
collapse_requests = false
steps = ["seq 1000 | sed 's/.*/some line that a build prints of no great length but often &/'; exec cat /dev/zero | tr '\\0' 'x' | fold -w 100"]
[[builders]]
name = "quiet"
collapse_requests = false
steps = ["echo hello", "echo done >>'%s'"]
[[builders]]
name = "waits"
collapse_requests = false
steps = ['''echo waiting; while [ ! -e waits.go ]; do sleep 0.05; done''']
`

func tightScene(t *testing.T, size string) (s *testrig.Scene, base string) {
	base = filepath.Join(mountTmpfs(t, size), "base")
	s = newScene(t, "")
	s.Configure(fmt.Sprintf("basedir = %q", base), fmt.Sprintf(tight, s.Path("ledger")))
	return s, base
}

// awaitBallast waits for the space that is set aside for a full disk, which a
// master that starts makes when it finds time.
func awaitBallast(t *testing.T, base string) {
	t.Helper()
	testrig.Until(t, "no space is set aside", func() bool {
		info, err := os.Stat(filepath.Join(base, "ballast"))
		return err == nil && info.Size() == basedir.BallastSize
	})
}

// A build prints more than fits. It ends EXCEPTION for want of space; the
// master stays, and what came before and comes after is on record.
func TestBuildFillsTheDisk(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.Serve(base)
	awaitBallast(t, base)
	before := v.Submit("quiet", "quiet")
	v.Idle()
	loud := v.Submit("loud")
	testrig.Until(t, "the build that fills the disk does not end", func() bool { return v.Status().Running == 0 && v.Status().Pending == 0 })
	// Its log is kept and keeps the disk full but for the ballast; records still fit.
	v.Idle()
	after := v.Submit("quiet", "quiet")
	v.Idle()
	v.Drain()

	r := s.Records(base)
	for _, id := range append(before, after...) {
		if q := r.Request(id); q.State != store.Done || q.Result != build.Success {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	if q := r.Request(loud[0]); q.State != store.Done || q.Result != build.Exception {
		t.Errorf("the build that filled the disk: %v %v, %s", q.State, q.Result, q.Text)
	}
	for _, b := range r.Builds() {
		if b.Builder != "loud" {
			continue
		}
		if b.Cause != string(build.CauseDisk) || !strings.Contains(b.Text, "no space left") && !strings.Contains(b.Text, "full") {
			t.Errorf("cause %q, text %q", b.Cause, b.Text)
		}
		if got := r.Log(b, 1); !strings.HasPrefix(got, "some line that a build prints of no great length but often 1\n") {
			t.Errorf("the log begins with %q", testrig.Shorten(got))
		}
	}
	if got := strings.Count(s.Read("ledger"), "done"); got != 4 {
		t.Errorf("%d quiet builds ran, want 4", got)
	}
}

// Another program takes all space. Requests are refused with the reason, what
// runs ends EXCEPTION, and when there is space again all of it is on record and
// new builds run, without anybody doing anything.
func TestDiskFullAndFreeAgain(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.Serve(base)
	awaitBallast(t, base)
	first := v.Submit("quiet")
	v.Idle()
	waits := v.Submit("waits", "waits")
	testrig.Until(t, "the builds do not start", func() bool { return v.Status().Running == 2 })

	g := &glutton{t, filepath.Join(filepath.Dir(base), "glutton")}
	var accepted []int64
	var refusal error
	// The ballast, and what a checkpoint gives back, are eaten as well.
	testrig.Until(t, "no request was refused", func() bool {
		g.eat()
		// Whether a request is on disk cannot be said when the disk fills up
		// under it; such a one may take its time.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		out, err := v.Client.Submit(ctx, control.SubmitRequest{Builders: []string{"quiet"}})
		if errors.Is(err, context.DeadlineExceeded) {
			t.Log("a request was neither accepted nor refused within 2 s")
			return false
		}
		if err != nil {
			refusal = err
			return v.Status().Degraded != ""
		}
		accepted = append(accepted, out.Requests...)
		return false
	})
	if !strings.Contains(refusal.Error(), "cannot record") || !regexp.MustCompile("full|no space|are free").MatchString(refusal.Error()) {
		t.Errorf("refused with %q, which does not say why", refusal)
	}
	testrig.Until(t, "builds run on although nothing can be recorded", func() bool { g.eat(); return v.Status().Running == 0 })
	if d := v.Status().Degraded; d == "" {
		t.Error("the master does not say that it cannot record")
	}
	p := s.Start("run", "quiet")
	p.Exits(3)
	p.Says("cannot record")

	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	v.Idle()
	last := v.Submit("quiet")
	v.Idle()
	if !strings.Contains(v.Err.String(), "recording again") {
		t.Errorf("the master does not say that it records again:\n%s", v.All())
	}
	if info, err := os.Stat(filepath.Join(base, "ballast")); err == nil && info.Size() == 0 {
		t.Error("the ballast is empty")
	}
	v.Drain()

	r := s.Records(base)
	for _, id := range append(append(first, accepted...), last...) {
		if q := r.Request(id); q.State != store.Done || q.Result != build.Success && q.Result != build.Exception {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	for _, id := range waits {
		if q := r.Request(id); q.State != store.Done || q.Result != build.Exception || !strings.Contains(q.Text, "cannot record") {
			t.Errorf("request %d, which ran when the disk filled up: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
}

// A server that is killed on a full disk starts again when there is space, with
// all that was accepted.
func TestKilledOnAFullDisk(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.Serve(base)
	waits := v.Submit("waits", "waits", "waits", "waits")
	testrig.Until(t, "the builds do not start", func() bool { return v.Status().Running >= 2 })
	g := &glutton{t, filepath.Join(filepath.Dir(base), "glutton")}
	testrig.Until(t, "the master does not notice", func() bool {
		g.eat()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := v.Client.Submit(ctx, control.SubmitRequest{Builders: []string{"quiet"}})
		return err != nil && v.Status().Degraded != ""
	})
	v.Signal(syscall.SIGKILL)
	v.Exits(-1)
	g.eat()

	full := s.Start("serve") // it may start or refuse, but not hang, and must say why
	ended := false
	testrig.Until(t, "it neither starts nor refuses to", func() bool {
		select {
		case <-full.Ended:
			ended = true
		default:
		}
		_, err := v.Client.Status(t.Context()) // of whoever is the master
		return ended || err == nil
	})
	if ended {
		if full.Cmd.ProcessState.ExitCode() != 3 {
			t.Errorf("start on a full disk: %v", full.Cmd.ProcessState)
		}
		full.Says("bothy:")
		if e := full.Err.String(); !strings.Contains(e, "full") && !strings.Contains(e, "no space") && !strings.Contains(e, "disk I/O") {
			t.Errorf("start on a full disk: %s", e)
		}
	} else {
		full.Signal(syscall.SIGKILL)
		full.Exits(-1)
	}

	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	s.Write("waits.go", "")
	v = s.Serve(base)
	v.Idle()
	v.Drain()
	r := s.Records(base)
	for _, id := range waits {
		if q := r.Request(id); q.State != store.Done {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
}

// A disk without room for the space that is set aside fills up under "bothy run".
// It says so, waits, and ends when it is asked to; the next one finds all in order.
func TestRunFillsASmallDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		signals []syscall.Signal
	}{
		{"interrupted", []syscall.Signal{syscall.SIGINT}},
		{"interrupted twice", []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
		{"terminated", []syscall.Signal{syscall.SIGTERM}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, base := tightScene(t, "24m")
			p := s.Start("run", "loud")
			p.Awaits("bothy: nothing can be recorded: ")
			p.Prints("no space left on device", "Ctrl-C ends without the record")
			for i, sig := range c.signals {
				if i > 0 {
					p.Awaits("stopping; once more: at once")
				}
				p.Signal(sig)
			}
			p.Exits(3)
			p.Prints("bothy: ended without the record: ", "its end is not on record")
			s.NothingLeft("a run that ended on a full disk", testrig.Patience)

			// Its log fills the disk still, until it is compressed or somebody makes room.
			if err := unix.Mount("none", filepath.Dir(base), "", unix.MS_REMOUNT, "size=80m"); err != nil {
				t.Fatal(err)
			}
			s.Run(0, "run", "quiet").Prints("hello")
			v := s.Serve(base)
			v.Idle() // once the terminal of the first has not come back
			v.Drain()
			r := s.Records(base)
			for _, b := range r.Builds() {
				want, why := build.Success, ""
				if b.Builder == "loud" {
					want, why = build.Exception, "the master ended while it ran" // it has no retries
				}
				if q := r.Request(b.Request); b.Result != want || q.State != store.Done || q.Result != want || !strings.Contains(q.Text, why) {
					t.Errorf("%s #%d: %v, %s; its request: %v %v, %s", b.Builder, b.Number, b.Result, b.Text, q.State, q.Result, q.Text)
				}
			}
		})
	}
}

// A start on a disk without any room is refused with the reason, and leaves
// nothing behind that is half made.
func TestStartOnAFullDisk(t *testing.T) {
	s, base := tightScene(t, "24m")
	g := &glutton{t, filepath.Join(filepath.Dir(base), "glutton")}
	g.eat()
	for _, verb := range []string{"run", "serve"} {
		s.Run(3, verb).Says("no space left on device")
	}
	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	s.Run(0, "run", "quiet")
	if text, err := os.ReadFile(filepath.Join(base, ".gitignore")); err != nil || string(text) != "*\n" {
		t.Errorf(".gitignore: %q, %v", text, err)
	}
}

func TestReadOnlyBaseDirectory(t *testing.T) {
	t.Parallel()
	t.Run("file system", func(t *testing.T) {
		dir := mountTmpfs(t, "40m")
		s := newScene(t, "")
		s.Configure(fmt.Sprintf("basedir = %q", filepath.Join(dir, "base")), plainConf)
		s.Run(0, "run")
		if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"run", "serve"} {
			p := s.Run(3, verb)
			p.Says("read-only file system", dir)
			if n := strings.Count(strings.TrimSpace(p.Err.String()), "\n"); n > 0 {
				t.Errorf("the error has %d lines:\n%s", n+1, p.Err.String())
			}
		}
	})
	t.Run("rights", func(t *testing.T) {
		testrig.NeedRoot(t)
		s := nobodysScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"true\"]\n")
		if err := errors.Join(os.Chmod(s.Dir, 0o555), os.Chown(s.Dir, 0, 0)); err != nil {
			t.Fatal(err)
		}
		p := s.Run(3, "run")
		p.Says("permission denied", s.Dir)
	})
}

// A failing fsync: nothing that is not on disk may be said to be.
func TestFailingSync(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		testrig.Missing(t, "no strace")
	}
	inject := func(when string) []string {
		return []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-e", "inject=fsync,fdatasync:error=EIO:when=" + when}
	}
	conf := "[[builders]]\nname = \"b\"\ncollapse_requests = false\nsteps = [\"echo hello; echo ran >>ledger\"]\n"

	t.Run("from the start", func(t *testing.T) {
		s := newScene(t, conf)
		s.Wrap = inject("1+")
		for _, verb := range []string{"run", "serve"} {
			p := s.Start(verb)
			p.Exits(3)
			if e := p.Err.String(); !strings.Contains(e, "input/output error") && !strings.Contains(e, "disk I/O error") {
				t.Errorf("%s says:\n%s", verb, p.All())
			}
		}
		if s.Exists("ledger") {
			t.Error("a build ran that is not on record")
		}
	})

	// Somewhere on the way, at each place in turn: the run fails with a clear
	// word, or all it claims is on disk.
	for _, n := range []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 40} {
		t.Run(fmt.Sprintf("run, all from number %d", n), func(t *testing.T) {
			s := newScene(t, conf)
			s.Wrap = inject(fmt.Sprintf("%d+", n))
			p := s.Start("run", "b")
			p.Ends()
			code := p.Cmd.ProcessState.ExitCode()
			t.Logf("exit code %d", code)
			if code == 0 {
				done := 0
				r := s.Records(s.Path(".bothy"))
				for _, b := range r.Builds() {
					if b.Result == build.Success {
						done++
					}
				}
				if done != 1 {
					t.Errorf("exit code 0, and %d builds on record\n%s", done, p.All())
				}
				return
			}
			if code != 3 {
				t.Errorf("exit code %d\n%s", code, p.All())
			}
			if e := p.Err.String() + p.Out.String(); !strings.Contains(e, "input/output error") && !strings.Contains(e, "disk I/O error") {
				t.Errorf("the reason is not said:\n%s", p.All())
			}
		})
	}

	t.Run("serve, for a while", func(t *testing.T) {
		s := newScene(t, conf)
		v := s.Serve(s.Path(".bothy"))
		args := append(inject("1+")[1:], "-p", strconv.Itoa(v.Cmd.Process.Pid))
		tracer := exec.Command(strace, args...)
		if err := tracer.Start(); err != nil {
			t.Fatal(err)
		}
		detach := func() { // the server goes on without it
			tracer.Process.Signal(os.Interrupt)
			tracer.Wait()
		}
		defer detach()
		var accepted []int64
		refused := 0
		testrig.Until(t, "it does not recover", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			out, err := v.Client.Submit(ctx, control.SubmitRequest{Builders: []string{"b"}})
			if errors.Is(err, context.DeadlineExceeded) {
				return false // it cannot be said whether it was accepted
			}
			if err != nil {
				if !strings.Contains(err.Error(), "cannot record") {
					t.Errorf("refused with %v", err)
				}
				if refused++; refused == 1 {
					detach()
				}
				return false
			}
			accepted = append(accepted, out.Requests...)
			return refused > 0 && v.Status().Degraded == ""
		})
		v.Idle()
		v.Drain()
		r := s.Records(s.Path(".bothy"))
		for _, id := range accepted {
			if q := r.Request(id); q.State != store.Done || q.Result == build.None {
				t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
			}
		}
		t.Logf("%d accepted, %d refused", len(accepted), refused)
	})
}
