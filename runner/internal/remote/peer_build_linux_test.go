package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/worker"
)

// connect starts a master and a real worker, and waits for that.
func connect(t testing.TB, speaks protocol, options ...string) (*Conn, *buildbotWorker, *Worker) {
	t.Helper()
	m := newMaster(t, nil, "bot").listen()
	k := m.kind("bot")
	w := startWorker(t, m, speaks, "bot", "s3cret", options...)
	return attach(t, k), w, k
}

func TestPeerInfo(t *testing.T) {
	t.Setenv("REMOTE_TEST_SECRET", "hush")
	for speaks := range protocols {
		t.Run(string(speaks), func(t *testing.T) {
			c, w, _ := connect(t, speaks)
			info := c.Info()
			for _, key := range []string{"os_id", "os_id_like", "os_version_id", "os_version_codename", "version", "admin", "numcpus"} {
				if _, ok := info[key]; !ok {
					t.Errorf("info has no %s", key)
				}
			}
			if info["basedir"] != w.dir || info["system"] != "posix" || info["protocol"] != string(speaks) || !strings.HasPrefix(info["address"].(string), "127.0.0.1:") {
				t.Errorf("info: %v", info)
			}
			if text := fmt.Sprint(info); strings.Contains(text, "hush") {
				t.Errorf("info shows the environment: %s", text)
			}
			if env := strings.Join(c.Environ(), "\n"); !strings.Contains(env, "REMOTE_TEST_SECRET=hush") {
				t.Errorf("the worker's environment: %s", env)
			}
			if err := c.Ping(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPeerBuild(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, w, _ := connect(t, speaks)
		b := startBuild(t, c, "Test me", nil)
		if filepath.Dir(filepath.Dir(b.Dir())) != w.dir {
			t.Errorf("directory %s", b.Dir())
		}
		exit, out := run(t, b, sh(b, "echo out; echo err >&2; pwd; echo kept >file; exit 3"))
		if exit.Code != 3 || exit.Stopped != worker.NotStopped || exit.Signal != "" {
			t.Errorf("exit %+v", exit)
		}
		if got, want := out.text(worker.Stdout), "out\n"+b.Dir()+"\n"; got != want {
			t.Errorf("stdout %q, want %q", got, want)
		}
		if got := out.text(worker.Stderr); got != "err\n" {
			t.Errorf("stderr %q", got)
		}
		if got := out.text(worker.Header); got != "" {
			t.Errorf("header %q", got)
		}

		cmd := sh(b, `cat; cat ../file; printf '%s|%s|%s\n' "$ONE" "${HOME-none}" "$PATH"; exit 0`)
		cmd.Dir, cmd.Stdin = "sub/deeper", []byte("from stdin\n")
		cmd.Argv[2] = strings.Replace(cmd.Argv[2], "../file", "../../file", 1)
		cmd.Env = []string{"ONE=1 ü", "PATH=" + os.Getenv("PATH")}
		exit, out = run(t, b, cmd)
		if got, want := out.text(worker.Stdout), "from stdin\nkept\n1 ü|none|"+os.Getenv("PATH")+"\n"; exit.Code != 0 || got != want {
			t.Errorf("exit %+v, stdout %q, want %q", exit, got, want)
		}

		cmd = sh(b, "")
		cmd.Argv = []string{"sh", "-c", "kill -9 $$"}
		if exit, _ = run(t, b, cmd); exit.Signal != "SIGKILL" || exit.Code != -1 || exit.Stopped != worker.NotStopped {
			t.Errorf("killed: %+v", exit)
		}
		cmd.Argv = []string{"no-such-program-here"}
		if exit, out = run(t, b, cmd); exit.Code == 0 {
			t.Errorf("no such program: %+v %q", exit, out.text(worker.Stderr))
		}
		cmd.Argv = []string{"echo", "\xff"}
		if _, err := b.Run(within(t), cmd, newOutput()); !errors.Is(err, worker.ErrStart) {
			t.Errorf("argument that is not UTF-8: %v", err)
		}

		cmd = sh(b, "test -t 1 && echo terminal")
		cmd.PTY = true
		if exit, out = run(t, b, cmd); exit.Code != 0 || strings.TrimSpace(out.text(worker.Stdout)) != "terminal" {
			t.Errorf("PTY: %+v %q", exit, out.text(worker.Stdout))
		}

		cmd = sh(b, `printf 'a\377b\n'; sleep 0.2; echo more >>log.txt; echo "in the log" >>log.txt`)
		cmd.LogFiles = []worker.LogFile{{Name: "l", Path: "log.txt"}}
		exit, out = run(t, b, cmd)
		if exit.Code != 0 || out.text(worker.Stdout) != "a\ufffdb\n" || out.log("l") != "more\nin the log\n" {
			t.Errorf("%+v, stdout %q, log %q", exit, out.text(worker.Stdout), out.log("l"))
		}

		// The worker looks every 2 s, and follows from where the log ends when it
		// sees the first change.
		cmd = sh(b, "echo new >>log.txt; sleep 2.5; echo newer >>log.txt")
		cmd.LogFiles = []worker.LogFile{{Name: "l", Path: "log.txt", Follow: true}}
		if exit, out = run(t, b, cmd); exit.Code != 0 || !strings.HasSuffix(out.log("l"), "newer\n") || strings.Contains(out.log("l"), "more") {
			t.Errorf("a log that is followed from its end: %+v, %q", exit, out.log("l"))
		}

		dir := b.Dir()
		if r := end(t, b, worker.DropDir); r.Kept != "" {
			t.Errorf("kept %s", r.Kept)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("fresh directory after the build: %v", err)
		}
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

func TestPeerWorkspaces(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, w, k := connect(t, speaks)
		keep := func(s *worker.BuildSpec) { s.Workspace = worker.WorkspaceKeep }
		one, two := startBuild(t, c, "test", keep), startBuild(t, c, "test", keep)
		if one.Dir() == two.Dir() || one.lane != "test" || two.lane != "test~2" {
			t.Errorf("side by side in %s (%s) and %s (%s)", one.Dir(), one.lane, two.Dir(), two.lane)
		}
		// A command of the second does not end one of the first.
		finished := make(chan worker.Exit, 1)
		out := newOutput()
		go func() {
			exit, err := one.Run(within(t), sh(one, "echo started; while ! test -e go; do sleep 0.05; done; echo done"), out)
			if err != nil {
				t.Error(err)
			}
			finished <- exit
		}()
		if speaks == protocolMsgpack { // over PB the first output comes after 5 s
			until(t, "output while it runs", func() bool { return out.text(worker.Stdout) == "started\n" })
		}
		if exit, _ := run(t, two, sh(two, "touch "+one.Dir()+"/go")); exit.Code != 0 {
			t.Errorf("%+v", exit)
		}
		if exit := <-finished; exit.Code != 0 || out.text(worker.Stdout) != "started\ndone\n" {
			t.Errorf("%+v %q", exit, out.text(worker.Stdout))
		}
		end(t, two, worker.DropDir)
		if r := end(t, one, worker.RetainDir); r.Kept != one.Dir() {
			t.Errorf("kept %q", r.Kept)
		}
		again := startBuild(t, c, "test", keep)
		if exit, _ := run(t, again, sh(again, "test -e go")); exit.Code != 0 || again.Dir() != one.Dir() {
			t.Errorf("the kept directory was not kept: %+v %s", exit, again.Dir())
		}
		end(t, again, worker.DropDir)

		// Failed builds leave their directories, but not all of them for ever.
		var kept []string
		for range k.l.o.KeepFailed + 2 {
			b := startBuild(t, c, "test", nil)
			run(t, b, sh(b, "echo evidence >file"))
			kept = append(kept, end(t, b, worker.RetainDir).Kept)
		}
		for i, dir := range kept {
			_, err := os.Stat(filepath.Join(dir, "file"))
			if want := i >= 2; (err == nil) != want {
				t.Errorf("retained directory %d of %d, %s: %v", i, len(kept), dir, err)
			}
		}

		// What a lost build left is removed by the next connection.
		left := startBuild(t, c, "test", nil)
		c.link.close(errors.New("the test cut it"), false)
		if _, err := left.End(within(t), worker.DropDir); err != nil {
			t.Error(err)
		}
		c = attach(t, k)
		b := startBuild(t, c, "test", nil)
		if _, err := os.Stat(left.Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the lost build's directory: %v", err)
		}
		end(t, b, worker.DropDir)
		_ = w
	})
}

// A worker over Perspective Broker does not write secrets into its log; one over
// MessagePack logs whole messages, whatever is in them.
func TestPeerHidesSecrets(t *testing.T) {
	t.Parallel()
	c, w, _ := connect(t, protocolPB)
	b := startBuild(t, c, "test", nil)
	for _, cmd := range []worker.Command{
		sh(b, `printf '%s' hunter22 | sha256sum`),
		{Argv: []string{"sh", "-c", `printf '%s' "$0" | sha256sum`, "hunter22"}, Env: c.Environ()},
	} {
		cmd.Hide = strings.NewReplacer("hunter22", "********").Replace
		exit, out := run(t, b, cmd)
		if want := fmt.Sprintf("%x  -\n", sha256.Sum256([]byte("hunter22"))); exit.Code != 0 || out.text(worker.Stdout) != want {
			t.Errorf("%+v %q", exit, out.text(worker.Stdout))
		}
	}
	end(t, b, worker.DropDir)
	log, err := os.ReadFile(filepath.Join(w.dir, "twistd.log"))
	if err != nil || bytes.Contains(log, []byte("hunter22")) || !bytes.Contains(log, []byte("********")) {
		t.Errorf("%v, the worker's log:\n%s", err, log)
	}
}

// Lines are short: over PB longer ones are damaged by the worker.
func TestPeerOutput(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		if testing.Short() {
			t.Skip("50 MB of output")
		}
		c, _, _ := connect(t, speaks)
		b := startBuild(t, c, "test", nil)
		const size = 50 << 20
		script := fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x | fold -w 99 | sed -e '$a\' | tee out.txt; sha256sum <out.txt >&2`, size)
		exit, out := run(t, b, sh(b, script))
		got := out.text(worker.Stdout)
		sum := sha256.Sum256([]byte(got))
		want, _, _ := strings.Cut(out.text(worker.Stderr), " ")
		if exit.Code != 0 || len(got) < size || hex.EncodeToString(sum[:]) != want {
			t.Errorf("exit %+v, %d bytes, digest %x, want %s", exit, len(got), sum, want)
		}
		end(t, b, worker.DropDir)
	})
}

func TestPeerLongLine(t *testing.T) {
	t.Parallel()
	c, _, _ := connect(t, protocolMsgpack)
	b := startBuild(t, c, "test", nil)
	exit, out := run(t, b, sh(b, `head -c 1000000 /dev/zero | tr '\0' x; printf '\ra\r\nb\b\bc\0d\n'`))
	if got, want := out.text(worker.Stdout), strings.Repeat("x", 1_000_000)+"\ra\r\nb\b\bc\x00d\n"; exit.Code != 0 || got != want {
		t.Errorf("%+v, %d bytes, want %d", exit, len(got), len(want))
	}
	end(t, b, worker.DropDir)
}

func TestPeerStops(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, _, _ := connect(t, speaks)
		b := startBuild(t, c, "test", nil)

		for _, cut := range []struct {
			name  string
			grace time.Duration
			line  string
			code  int
		}{
			{"it obeys TERM", 30 * time.Second, "trap 'exit 7' TERM; touch running; while :; do sleep 0.05; done", 7},
			{"it does not", 500 * time.Millisecond, "trap '' TERM; touch running; while :; do sleep 0.05; done", -1},
			{"at once", 0, "touch running; while :; do sleep 0.05; done", -1},
		} {
			os.Remove(filepath.Join(b.Dir(), "running"))
			ctx, cancel := context.WithCancel(within(t))
			go func() {
				until(t, "the command runs", func() bool { _, err := os.Stat(filepath.Join(b.Dir(), "running")); return err == nil })
				cancel()
			}()
			cmd := sh(b, cut.line)
			cmd.SigtermTime = cut.grace
			exit, err := b.Run(ctx, cmd, newOutput())
			if err != nil || exit.Stopped != worker.Cancelled || exit.Code != cut.code {
				t.Errorf("%s: %+v, %v", cut.name, exit, err)
			}
		}

		cmd := sh(b, "echo begun; sleep 1000")
		cmd.Timeout = time.Second
		if exit, out := run(t, b, cmd); exit.Stopped != worker.TimedOut || out.text(worker.Stdout) != "begun\n" {
			t.Errorf("timeout: %+v %q", exit, out.text(worker.Stdout))
		}
		cmd = sh(b, "while :; do echo more; sleep 0.2; done")
		cmd.MaxTime = 1500 * time.Millisecond
		if exit, _ := run(t, b, cmd); exit.Stopped != worker.MaxTimed {
			t.Errorf("max_time: %+v", exit)
		}
		cmd = sh(b, "for i in 1 2 3 4 5 6; do echo $i; done; sleep 1000")
		cmd.MaxLines = 4
		if exit, out := run(t, b, cmd); exit.Stopped != worker.MaxLined || out.text(worker.Stdout) != "1\n2\n3\n4\n" {
			t.Errorf("max_lines: %+v %q", exit, out.text(worker.Stdout))
		}
		refused := errors.New("disk full")
		exit, err := b.Run(within(t), sh(b, "echo x; sleep 1000"), sinkFunc(func() error { return refused }))
		if err != nil || exit.Stopped != worker.SinkFailed || !errors.Is(exit.SinkErr, refused) {
			t.Errorf("sink: %+v, %v", exit, err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if exit, err := b.Run(over, sh(b, "true"), newOutput()); err != nil || exit.Stopped != worker.Cancelled {
			t.Errorf("cancelled before: %+v, %v", exit, err)
		}
		if exit, out := run(t, b, sh(b, "echo fine")); exit.Code != 0 || out.text(worker.Stdout) != "fine\n" {
			t.Errorf("afterwards: %+v %q", exit, out.text(worker.Stdout))
		}

		kill := make(chan struct{})
		os.Remove(filepath.Join(b.Dir(), "running"))
		go func() {
			until(t, "the command runs", func() bool { _, err := os.Stat(filepath.Join(b.Dir(), "running")); return err == nil })
			close(kill)
		}()
		cmd = sh(b, "trap '' TERM; touch running; while :; do sleep 0.05; done")
		cmd.Kill, cmd.SigtermTime = kill, 10*time.Second
		began := time.Now()
		if _, err := b.Run(within(t), cmd, newOutput()); !errors.Is(err, worker.ErrLost) {
			t.Errorf("kill: %v after %v", err, time.Since(began))
		}
		if c.Err() != nil {
			t.Error("the connection was closed: ", c.Err())
		}
	})
}

type sinkFunc func() error

func (f sinkFunc) Output(string, worker.Stream, []byte) error { return f() }

func TestPeerLost(t *testing.T) {
	overBoth(t, func(t *testing.T, speaks protocol) {
		c, w, _ := connect(t, speaks)
		b := startBuild(t, c, "test", nil)
		marker := filepath.Join(b.Dir(), "running")
		go func() {
			until(t, "the command runs", func() bool { _, err := os.Stat(marker); return err == nil })
			w.signal(syscall.SIGKILL)
		}()
		// It ends by itself once its worker is gone: over MessagePack nobody else ends it.
		_, err := b.Run(within(t), sh(b, "echo begun; touch running; while kill -0 $PPID; do sleep 0.05; done"), newOutput())
		if !errors.Is(err, worker.ErrLost) {
			t.Errorf("run: %v", err)
		}
		<-c.Done()
		if !errors.Is(c.Err(), worker.ErrLost) || !errors.Is(c.Ping(t.Context()), worker.ErrLost) {
			t.Errorf("the connection: %v, %v", c.Err(), c.Ping(t.Context()))
		}
		if _, err := b.Run(t.Context(), sh(b, "true"), newOutput()); !errors.Is(err, worker.ErrLost) {
			t.Errorf("run on a lost worker: %v", err)
		}
		if _, err := b.End(t.Context(), worker.RetainDir); err != nil {
			t.Errorf("end: %v", err)
		}
		if _, err := c.StartBuild(t.Context(), b.spec); !errors.Is(err, worker.ErrLost) {
			t.Errorf("start: %v", err)
		}
	})
}
