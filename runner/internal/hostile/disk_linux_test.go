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
)

// mountTmpfs returns a directory on a file system of its own.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		missing(t, "cannot mount a tmpfs: %v", err)
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
basedir = "%s"
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

func tightScene(t *testing.T, size string) (s *scene, base string) {
	base = filepath.Join(mountTmpfs(t, size), "base")
	s = newScene(t, "")
	conf := fmt.Sprintf(tight, base, s.path("ledger"))
	// basedir is a key of the file's head.
	head, rest, _ := strings.Cut(strings.TrimPrefix(conf, "\n"), "\n")
	s.write("bothy.toml", head+"\n[web]\nlisten = \"127.0.0.1:0\"\n"+rest)
	return s, base
}

// awaitBallast waits for the space that is set aside for a full disk, which a
// master that starts makes when it finds time.
func awaitBallast(t *testing.T, base string) {
	t.Helper()
	until(t, 20*time.Second, "no space is set aside", func() bool {
		info, err := os.Stat(filepath.Join(base, "ballast"))
		return err == nil && info.Size() == basedir.BallastSize
	})
}

// A build prints more than fits. It ends EXCEPTION for want of space; the
// master stays, and what came before and comes after is on record.
func TestBuildFillsTheDisk(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.serve(base)
	awaitBallast(t, base)
	before := v.submit("quiet", "quiet")
	v.idle(30 * time.Second)
	loud := v.submit("loud")
	until(t, 60*time.Second, "the build that fills the disk does not end", func() bool { return v.status().Running == 0 && v.status().Pending == 0 })
	// Its log is kept and keeps the disk full but for the ballast; records still fit.
	v.idle(20 * time.Second)
	after := v.submit("quiet", "quiet")
	v.idle(30 * time.Second)
	v.drain()

	r := s.records(base)
	for _, id := range append(before, after...) {
		if q := r.request(id); q.State != store.Done || q.Result != build.Success {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	if q := r.request(loud[0]); q.State != store.Done || q.Result != build.Exception {
		t.Errorf("the build that filled the disk: %v %v, %s", q.State, q.Result, q.Text)
	}
	for _, b := range r.builds() {
		if b.Builder != "loud" {
			continue
		}
		if b.Cause != string(build.CauseDisk) || !strings.Contains(b.Text, "no space left") && !strings.Contains(b.Text, "full") {
			t.Errorf("cause %q, text %q", b.Cause, b.Text)
		}
		if got := r.log(b, 1); !strings.HasPrefix(got, "some line that a build prints of no great length but often 1\n") {
			t.Errorf("the log begins with %q", shorten(got))
		}
	}
	if got := strings.Count(s.read("ledger"), "done"); got != 4 {
		t.Errorf("%d quiet builds ran, want 4", got)
	}
}

// Another program takes all space. Requests are refused with the reason, what
// runs ends EXCEPTION, and when there is space again all of it is on record and
// new builds run, without anybody doing anything.
func TestDiskFullAndFreeAgain(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.serve(base)
	awaitBallast(t, base)
	first := v.submit("quiet")
	v.idle(30 * time.Second)
	waits := v.submit("waits", "waits")
	until(t, 10*time.Second, "the builds do not start", func() bool { return v.status().Running == 2 })

	g := &glutton{t, filepath.Join(filepath.Dir(base), "glutton")}
	var accepted []int64
	var refusal error
	// The ballast, and what a checkpoint gives back, are eaten as well.
	until(t, 30*time.Second, "no request was refused", func() bool {
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
			return v.status().Degraded != ""
		}
		accepted = append(accepted, out.Requests...)
		return false
	})
	if !strings.Contains(refusal.Error(), "cannot record") || !regexp.MustCompile("full|no space|are free").MatchString(refusal.Error()) {
		t.Errorf("refused with %q, which does not say why", refusal)
	}
	until(t, 20*time.Second, "builds run on although nothing can be recorded", func() bool { g.eat(); return v.status().Running == 0 })
	if d := v.status().Degraded; d == "" {
		t.Error("the master does not say that it cannot record")
	}
	p := s.start("run", "quiet")
	p.exits(2, 20*time.Second)
	p.says("cannot record")

	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	v.idle(20 * time.Second)
	last := v.submit("quiet")
	v.idle(20 * time.Second)
	if !strings.Contains(v.err.String(), "recording again") {
		t.Errorf("the master does not say that it records again:\n%s", v.all())
	}
	if info, err := os.Stat(filepath.Join(base, "ballast")); err == nil && info.Size() == 0 {
		t.Error("the ballast is empty")
	}
	v.drain()

	r := s.records(base)
	for _, id := range append(append(first, accepted...), last...) {
		if q := r.request(id); q.State != store.Done || q.Result != build.Success && q.Result != build.Exception {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
	for _, id := range waits {
		if q := r.request(id); q.State != store.Done || q.Result != build.Exception || !strings.Contains(q.Text, "cannot record") {
			t.Errorf("request %d, which ran when the disk filled up: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
}

// A server that is killed on a full disk starts again when there is space, with
// all that was accepted.
func TestKilledOnAFullDisk(t *testing.T) {
	s, base := tightScene(t, "80m")
	v := s.serve(base)
	waits := v.submit("waits", "waits", "waits", "waits")
	until(t, 10*time.Second, "the builds do not start", func() bool { return v.status().Running >= 2 })
	g := &glutton{t, filepath.Join(filepath.Dir(base), "glutton")}
	until(t, 20*time.Second, "the master does not notice", func() bool {
		g.eat()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := v.Client.Submit(ctx, control.SubmitRequest{Builders: []string{"quiet"}})
		return err != nil && v.status().Degraded != ""
	})
	v.signal(syscall.SIGKILL)
	v.exits(-1, 5*time.Second)
	g.eat()

	full := s.start("serve")
	select { // it may start or refuse, but not hang, and must say why
	case <-full.ended:
		if full.cmd.ProcessState.ExitCode() != 3 {
			t.Errorf("start on a full disk: %v", full.cmd.ProcessState)
		}
		full.says("bothy:")
		if e := full.err.String(); !strings.Contains(e, "full") && !strings.Contains(e, "no space") && !strings.Contains(e, "disk I/O") {
			t.Errorf("start on a full disk: %s", e)
		}
	case <-time.After(3 * time.Second):
		full.signal(syscall.SIGKILL)
		<-full.ended
	}

	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	s.write("waits.go", "")
	v = s.serve(base)
	v.idle(30 * time.Second)
	v.drain()
	r := s.records(base)
	for _, id := range waits {
		if q := r.request(id); q.State != store.Done {
			t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
		}
	}
}

func TestReadOnlyBaseDirectory(t *testing.T) {
	t.Run("file system", func(t *testing.T) {
		dir := mountTmpfs(t, "40m")
		s := newScene(t, "")
		s.write("bothy.toml", fmt.Sprintf("basedir = %q\n[web]\nlisten = \"127.0.0.1:0\"\n[[builders]]\nname = \"b\"\nsteps = [\"true\"]\n", filepath.Join(dir, "base")))
		s.run(0, "run")
		if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"run", "serve"} {
			p := s.run(3, verb)
			p.says("read-only file system", dir)
			if n := strings.Count(strings.TrimSpace(p.err.String()), "\n"); n > 0 {
				t.Errorf("the error has %d lines:\n%s", n+1, p.err.String())
			}
		}
	})
	t.Run("rights", func(t *testing.T) {
		needRoot(t)
		s := nobodysScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"true\"]\n")
		if err := errors.Join(os.Chmod(s.dir, 0o555), os.Chown(s.dir, 0, 0)); err != nil {
			t.Fatal(err)
		}
		p := s.run(3, "run")
		p.says("permission denied", s.dir)
	})
}

// A failing fsync: nothing that is not on disk may be said to be.
func TestFailingSync(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		missing(t, "no strace")
	}
	inject := func(when string) []string {
		return []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-e", "inject=fsync,fdatasync:error=EIO:when=" + when}
	}
	conf := "[[builders]]\nname = \"b\"\ncollapse_requests = false\nsteps = [\"echo hello; echo ran >>ledger\"]\n"

	t.Run("from the start", func(t *testing.T) {
		s := newScene(t, conf)
		s.wrap = inject("1+")
		for _, verb := range []string{"run", "serve"} {
			p := s.start(verb)
			p.exits(3, 30*time.Second)
			if e := p.err.String(); !strings.Contains(e, "input/output error") && !strings.Contains(e, "disk I/O error") {
				t.Errorf("%s says:\n%s", verb, p.all())
			}
		}
		if s.exists("ledger") {
			t.Error("a build ran that is not on record")
		}
	})

	// Somewhere on the way, at each place in turn: the run fails with a clear
	// word, or all it claims is on disk.
	for _, n := range []int{1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 40} {
		t.Run(fmt.Sprintf("run, all from number %d", n), func(t *testing.T) {
			s := newScene(t, conf)
			s.wrap = inject(fmt.Sprintf("%d+", n))
			p := s.start("run", "b")
			select {
			case <-p.ended:
			case <-time.After(20 * time.Second):
				t.Fatalf("hangs\n%s", p.all())
			}
			code := p.cmd.ProcessState.ExitCode()
			t.Logf("exit code %d", code)
			if code == 0 {
				done := 0
				r := s.records(s.path(".bothy"))
				for _, b := range r.builds() {
					if b.Result == build.Success {
						done++
					}
				}
				if done != 1 {
					t.Errorf("exit code 0, and %d builds on record\n%s", done, p.all())
				}
				return
			}
			if code != 3 {
				t.Errorf("exit code %d\n%s", code, p.all())
			}
			if e := p.err.String() + p.out.String(); !strings.Contains(e, "input/output error") && !strings.Contains(e, "disk I/O error") {
				t.Errorf("the reason is not said:\n%s", p.all())
			}
		})
	}

	t.Run("serve, for a while", func(t *testing.T) {
		s := newScene(t, conf)
		v := s.serve(s.path(".bothy"))
		args := append(inject("1+")[1:], "-p", strconv.Itoa(v.cmd.Process.Pid))
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
		until(t, 60*time.Second, "it does not recover", func() bool {
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
			return refused > 0 && v.status().Degraded == ""
		})
		v.idle(30 * time.Second)
		v.drain()
		r := s.records(s.path(".bothy"))
		for _, id := range accepted {
			if q := r.request(id); q.State != store.Done || q.Result == build.None {
				t.Errorf("request %d: %v %v, %s", id, q.State, q.Result, q.Text)
			}
		}
		t.Logf("%d accepted, %d refused", len(accepted), refused)
	})
}
