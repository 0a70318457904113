package remote

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bothy/runner/worker"
)

// running reports whether the worker's process has not ended.
func (w *buildbotWorker) running() bool {
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

func TestPeerRefused(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		m := newMaster(t, nil, "bot").listen()
		k := m.kind("bot")
		bad := startWorker(t, m, speaks, "bot", "wr0ng")
		stranger := startWorker(t, m, speaks, "who", "s3cret")
		until(t, "refusals", func() bool {
			text := m.log.String()
			return strings.Contains(text, `"wrong password"`) && strings.Contains(text, errUnknown.Error())
		})
		for _, secret := range []string{"wr0ng", "s3cret"} {
			if strings.Contains(m.log.String(), secret) {
				t.Errorf("the log shows the password %s", secret)
			}
		}
		if !strings.Contains(m.log.String(), "address=127.0.0.1:") || !strings.Contains(m.log.String(), "worker=who") {
			t.Error("the log does not say who was refused")
		}
		if k.current() != nil {
			t.Error("connected with a wrong password")
		}
		// Neither gives up: what was wrong may be put right on the master's side.
		m.mu.Lock()
		m.passwords["bot"], m.passwords["who"] = Password{Text: "wr0ng"}, Password{Text: "s3cret"}
		m.mu.Unlock()
		attach(t, k)
		attach(t, m.kind("who"))
		if !bad.running() || !stranger.running() {
			t.Error("a refused worker has ended")
		}
	})
}

func TestPeerHashedPassword(t *testing.T) {
	t.Parallel()
	const digest = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0" // of "s3cret"
	m := newMaster(t, nil).listen()
	m.passwords["m"], m.passwords["p"] = Password{SHA256: digest}, Password{SHA256: digest}
	startWorker(t, m, protocolMsgpack, "m", "s3cret")
	startWorker(t, m, protocolPB, "p", "s3cret")
	m.kind("p")
	attach(t, m.kind("m"))
	until(t, "the reason", func() bool { return strings.Contains(m.log.String(), errHashed.Error()) })
}

func TestPeerDuplicate(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		m := newMaster(t, nil, "bot").listen()
		k := m.kind("bot")
		first := startWorker(t, m, speaks, "bot", "s3cret")
		c := attach(t, k)
		second := startWorker(t, m, speaks, "bot", "s3cret")
		until(t, "refusal", func() bool { return strings.Contains(m.log.String(), errDuplicate.Error()) })
		if c.Err() != nil || !second.running() {
			t.Fatalf("first connection: %v; second worker runs: %v", c.Err(), second.running())
		}
		b := startBuild(t, c, "test", nil)
		if exit, _ := run(t, b, sh(b, "true")); exit.Code != 0 {
			t.Errorf("%+v", exit)
		}

		// The first stops answering, and its build with it.
		failed := make(chan error, 1)
		out := newOutput()
		go func() {
			_, err := b.Run(within(t), sh(b, "touch running; while ! test -e go; do sleep 0.1; done"), out)
			failed <- err
		}()
		until(t, "the command runs", func() bool { _, err := os.Stat(filepath.Join(b.Dir(), "running")); return err == nil })
		first.signal(syscall.SIGSTOP)
		next := attach(t, k)
		if err := <-failed; !errors.Is(err, worker.ErrLost) || !strings.Contains(err.Error(), "replaced") {
			t.Errorf("the first worker's build: %v", err)
		}
		if next.Info()["basedir"] != second.dir {
			t.Errorf("connected: %v", next.Info()["basedir"])
		}
		if err := os.WriteFile(filepath.Join(b.Dir(), "go"), nil, 0o644); err != nil {
			t.Error(err)
		}
		b = startBuild(t, next, "test", nil)
		if exit, _ := run(t, b, sh(b, "true")); exit.Code != 0 {
			t.Errorf("%+v", exit)
		}
	})
}

func TestPeerShutdown(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, w, _ := connect(t, speaks)
		if err := c.Shutdown(within(t)); err != nil {
			t.Fatal(err)
		}
		<-w.exited
		<-c.Done()
		if !errors.Is(c.Err(), worker.ErrLost) {
			t.Error(c.Err())
		}
	})
}

// A worker's process that ends takes its commands with it, and Close ends them too.
func TestPeerShutdownWhileBuilding(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		for _, how := range []string{"shutdown", "close"} {
			c, w, _ := connect(t, speaks)
			b := startBuild(t, c, "test", nil)
			pidFile := filepath.Join(b.Dir(), "pid")
			failed := make(chan error, 1)
			go func() {
				cmd := sh(b, "echo $$ >pid.new; mv pid.new pid; exec sleep 1000")
				cmd.SigtermTime = 0
				_, err := b.Run(within(t), cmd, newOutput())
				failed <- err
			}()
			until(t, "the command runs", func() bool { _, err := os.Stat(pidFile); return err == nil })
			text, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			if how == "close" {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if err := <-failed; err != nil && !errors.Is(err, worker.ErrLost) {
					t.Errorf("%s: %v", how, err)
				}
				if !w.running() {
					t.Error("the worker has ended with its connection")
				}
			} else {
				if err := c.Shutdown(within(t)); err != nil {
					t.Error(err)
				}
				<-failed
				<-w.exited
			}
			until(t, how+" ends the command", func() bool { return dead(strings.TrimSpace(string(text))) })
		}
	})
}

// dead reports whether a process has ended; a zombie has.
func dead(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

func TestPeerReleaseAndReturn(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		m := newMaster(t, nil, "bot").listen()
		k := m.kind("bot")
		startWorker(t, m, speaks, "bot", "s3cret")
		c := attach(t, k)
		waiting := make(chan error, 1)
		go func() {
			_, err := k.Attach(within(t))
			waiting <- err
		}()
		if err := k.Release(t.Context(), true); err != nil {
			t.Error(err)
		}
		<-c.Done()
		if err := <-waiting; !errors.Is(err, errReleased) {
			t.Errorf("attach of a released worker: %v", err)
		}
		until(t, "refusal", func() bool { return strings.Contains(m.log.String(), errUnknown.Error()) })
		attach(t, m.kind("bot")) // configured again: it comes by itself
	})
}

func TestPeerAsksToStop(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	m := newMaster(t, func(o *Options) { o.Graceful = func(name string) { asked <- name } }, "bot").listen()
	k := m.kind("bot")
	w := startWorker(t, m, protocolPB, "bot", "s3cret", "--allow-shutdown=signal")
	c := attach(t, k)
	// It asks once it has been told that the login is over.
	until(t, "login", func() bool { return strings.Contains(w.twistdLog(), "worker is ready") })
	w.signal(syscall.SIGHUP)
	if got := <-asked; got != "bot" {
		t.Errorf("asked: %q", got)
	}
	if err := c.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	<-w.exited
}

func TestPeerManyWorkers(t *testing.T) {
	t.Parallel()
	const workers, builds = 10, 5
	var names []string
	for i := range workers {
		names = append(names, fmt.Sprintf("bot-%d", i))
	}
	m := newMaster(t, nil, names...).listen()
	var wg sync.WaitGroup
	for i, name := range names {
		k := m.kind(name)
		startWorker(t, m, []protocol{protocolMsgpack, protocolPB}[i%2], name, "s3cret")
		wg.Go(func() {
			conn, err := k.Attach(within(t))
			if err != nil {
				t.Error(err)
				return
			}
			c := conn.(*Conn)
			for n := range builds {
				spec := worker.BuildSpec{
					Token: worker.Token{Epoch: 1, Counter: int64(n)}, Builder: "test", Number: int64(n), Source: worker.Source{Kind: worker.SourceNone},
				}
				b, err := c.StartBuild(within(t), spec)
				if err != nil {
					t.Error(err)
					return
				}
				out := newOutput()
				want := fmt.Sprintf("%s builds %d\n", name, n)
				exit, err := b.Run(within(t), sh(b.(*Build), "echo "+want), out)
				if err != nil || exit.Code != 0 || out.text(worker.Stdout) != want {
					t.Errorf("%+v, %v, %q", exit, err, out.text(worker.Stdout))
				}
				if _, err := b.End(within(t), worker.DropDir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPeerGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		missing(t, "%v", err)
	}
	overBoth(t, func(t *testing.T, speaks protocol) {
		repo := t.TempDir()
		git := func(args ...string) string {
			t.Helper()
			cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.com"}, args...)...)
			cmd.Dir = repo
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("git %q: %v\n%s", args, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		commit := func(text string) string {
			t.Helper()
			if err := os.WriteFile(filepath.Join(repo, "file"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			git("add", "file")
			git("commit", "--quiet", "-m", text)
			return git("rev-parse", "HEAD")
		}
		git("init", "--quiet", "--initial-branch=main")
		first := commit("one")

		c, _, _ := connect(t, speaks)
		source := worker.Source{Kind: worker.SourceGit, URL: repo}
		check := func(b *Build, rev, text string) {
			t.Helper()
			got, err := os.ReadFile(filepath.Join(b.Dir(), "file"))
			if err != nil || string(got) != text || b.Properties()["got_revision"] != rev {
				t.Errorf("file %q, %v, properties %v; want %q, %s", got, err, b.Properties(), text, rev)
			}
		}
		for _, space := range []worker.Workspace{worker.WorkspaceFresh, worker.WorkspaceKeep} {
			set := func(change func(*worker.Source)) func(*worker.BuildSpec) {
				return func(s *worker.BuildSpec) {
					s.Source, s.Workspace = source, space
					change(&s.Source)
				}
			}
			b := startBuild(t, c, "test", set(func(*worker.Source) {}))
			check(b, git("rev-parse", "HEAD"), git("show", "HEAD:file"))
			run(t, b, sh(b, "echo mine >untracked; echo changed >file"))
			end(t, b, worker.DropDir)
			now := commit(string(space) + " two")
			b = startBuild(t, c, "test", set(func(s *worker.Source) { s.Branch = "main" }))
			check(b, now, string(space)+" two")
			if exit, _ := run(t, b, sh(b, "test -e untracked")); (exit.Code == 0) != (space == worker.WorkspaceKeep) {
				t.Errorf("%s: an untracked file: %+v", space, exit)
			}
			end(t, b, worker.DropDir)
			b = startBuild(t, c, "test", set(func(s *worker.Source) { s.Revision = first }))
			check(b, first, "one")
			run(t, b, sh(b, "rm -rf .git/objects; rm -rf ../git-*/objects/*")) // damage
			end(t, b, worker.DropDir)
			b = startBuild(t, c, "test", set(func(*worker.Source) {}))
			check(b, now, string(space)+" two")
			end(t, b, worker.DropDir)
		}
		spec := worker.BuildSpec{Builder: "test", Source: source, Token: worker.Token{Epoch: 2}}
		spec.Source.Branch = "nowhere"
		if _, err := c.StartBuild(within(t), spec); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("a branch that does not exist: %v", err)
		}
		spec.Source = worker.Source{Kind: worker.SourceGit, URL: "https://bob:hushhush@127.0.0.1:1/x.git"}
		if _, err := c.StartBuild(within(t), spec); err == nil || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("a server that is not there: %v", err)
		}
		spec.Source = worker.Source{Kind: worker.SourceTree, Dir: repo}
		if _, err := c.StartBuild(within(t), spec); err == nil {
			t.Error("a tree of the master's was taken")
		}
		if n := len(c.lanes); n != 0 {
			t.Errorf("%d lanes are still in use", n)
		}
	})
}

// A worker that removes what the master does not name keeps what it does.
func TestPeerLeftoverDirs(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		m := newMaster(t, func(o *Options) { o.Builders = func(string) []string { return []string{"One", "two"} } }, "bot").listen()
		w := startWorker(t, m, speaks, "bot", "s3cret", "--delete-leftover-dirs")
		for _, name := range []string{"One", "two", "three"} {
			if err := os.MkdirAll(filepath.Join(w.dir, dirName(name), "git-1"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		k := m.kind("bot") // only now it is known
		c := attach(t, k)
		b := startBuild(t, c, "two", nil)
		for name, want := range map[string]bool{"One": true, "two": true, "three": speaks == protocolMsgpack} {
			if _, err := os.Stat(filepath.Join(w.dir, dirName(name), "git-1")); (err == nil) != want {
				t.Errorf("directory of %s: %v", name, err)
			}
		}
		end(t, b, worker.DropDir)
	})
}
