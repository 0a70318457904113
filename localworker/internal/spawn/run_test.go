package spawn_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/localworker/internal/spawn"
	"bothy/runner/worker"
)

func TestOutputAndStatus(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		for _, c := range []struct {
			script, out, err string
			code             int
			signal           string
		}{
			{"echo out; echo err >&2", "out\n", "err\n", 0, ""},
			{"exit 3", "", "", 3, ""},
			{"kill -SEGV $$", "", "", -1, "SIGSEGV"},
			{"printf no-newline; pwd", "no-newline/\n", "", 0, ""},
			{"read x || echo end of input", "end of input\n", "", 0, ""},
		} {
			rec := &record{}
			x := run(t, b, sh(c.script), rec)
			if x.Code != c.code || x.Signal != c.signal || x.Stopped != "" || rec.text("o") != c.out || rec.text("e") != c.err {
				t.Errorf("%q: %+v, out %q, err %q", c.script, x, rec.text("o"), rec.text("e"))
			}
		}
		if got := end(t, b); len(got.Ended) != 0 {
			t.Errorf("ended %s", names(got.Ended))
		}
	})
}

func TestCookieAndSession(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		rec := &record{}
		cmd := sh(`echo $BOTHY_COOKIE; cut -d' ' -f5,6 /proc/$$/stat | tr ' ' '\n'; echo $$`)
		cmd.Env = append(cmd.Env, "BOTHY_COOKIE=forged")
		run(t, b, cmd, rec)
		f := strings.Fields(rec.text("o"))
		if len(f) != 4 || f[0] != r.base+".7.1.1" || f[1] != f[3] || f[2] != f[3] {
			t.Errorf("cookie, group, session, pid: %q", f)
		}
	})
}

func TestStdin(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		in := strings.Repeat("0123456789abcde\n", 1<<16)
		rec := &record{}
		cmd := sh("cat")
		cmd.Stdin = []byte(in)
		run(t, b, cmd, rec)
		if rec.text("o") != in {
			t.Errorf("cat gave back %d of %d bytes", len(rec.text("o")), len(in))
		}
		cmd = sh("exit 5") // does not read its input
		cmd.Stdin = []byte(in)
		if x := run(t, b, cmd, &record{}); x.Code != 5 {
			t.Errorf("%+v", x)
		}
	})
}

func TestTerminal(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		rec := &record{}
		cmd := sh(`test -t 0 && test -t 1 && test -t 2 && echo tty; cat; echo err >&2; : < /dev/tty && echo own`)
		cmd.PTY = true
		cmd.Stdin = []byte("typed\n")
		run(t, b, cmd, rec)
		if got, want := rec.text("o"), "tty\ntyped\nerr\nown\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		rec = &record{}
		cmd = sh("cat; seq 100000; setsid sleep " + mark() + " & sleep 0.1")
		cmd.PTY = true
		run(t, b, cmd, rec)
		if n := strings.Count(rec.text("o"), "\n"); n != 100000 {
			t.Errorf("%d lines of 100000 came through the terminal", n)
		}
	})
}

func TestLargeOutput(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		const size = 100_000_000
		n := 0
		sink := sinkFunc(func(p []byte) error { n += len(p); return nil })
		run(t, b, sh(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x`, size)), sink)
		if n != size {
			t.Errorf("%d of %d bytes", n, size)
		}
	})
}

type sinkFunc func(p []byte) error

func (f sinkFunc) Output(_ string, _ worker.Stream, p []byte) error { return f(p) }

func TestLargeEnvironment(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		cmd := sh(`echo $# ${#V0} ${#V10}`)
		cmd.Argv = append(cmd.Argv, "sh")
		long := strings.Repeat("x", 100_000)
		for i := range 11 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("V%d=%s", i, long))
		}
		for range 2000 {
			cmd.Argv = append(cmd.Argv, strings.Repeat("a", 100))
		}
		rec := &record{}
		run(t, b, cmd, rec)
		if got := rec.text("o"); got != "2000 100000 100000\n" {
			t.Errorf("got %q", got)
		}
		cmd.Argv = append(cmd.Argv, strings.Repeat("x", 200_000)) // MAX_ARG_STRLEN is 128 KiB
		_, err := b.Run(t.Context(), cmd, &record{})
		if err == nil || !strings.Contains(err.Error(), "argument list too long") {
			t.Errorf("too long an argument: %v", err)
		}
		cmd = sh(":")
		cmd.Env = []string{"X=" + strings.Repeat("x", 9<<20)}
		if _, err = b.Run(t.Context(), cmd, &record{}); err == nil {
			t.Error("9 MiB of environment were taken")
		}
		if x := run(t, b, sh("exit 4"), &record{}); x.Code != 4 {
			t.Errorf("after errors: %+v", x)
		}
	})
}

func TestCannotStart(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		dir := t.TempDir()
		os.Chmod(filepath.Dir(dir), 0o755)
		for name, text := range map[string]string{"plain": "x", "bad-script": "#!/nowhere/sh\n"} {
			mode := os.FileMode(0o755)
			if name == "plain" {
				mode = 0o644
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			argv []string
			dir  string
			want string
		}{
			{[]string{"no-such-program"}, "/", `start "no-such-program": executable not found in PATH "/bin:/usr/bin:` + dir + `"`},
			{[]string{"/no/such/program"}, "/", `start "/no/such/program": no such file or directory`},
			{[]string{dir + "/plain"}, "/", `start "` + dir + `/plain": permission denied`},
			{[]string{dir + "/bad-script"}, "/", `start "` + dir + `/bad-script": its interpreter: no such file or directory`},
			{[]string{"bad-script"}, "/", `start "bad-script": interpreter of ` + dir + `/bad-script: no such file or directory`},
			{[]string{"sh", "-c", ":"}, dir + "/missing", `start "sh": working directory ` + dir + `/missing: no such file or directory`},
			{[]string{"sh"}, "here", `directory "here" is not absolute`},
			{nil, "/", "no program given"},
		} {
			_, err := b.Run(t.Context(), worker.Command{Argv: c.argv, Dir: c.dir, Env: []string{"PATH=/bin:/usr/bin:" + dir}}, &record{})
			var se *spawn.StartError
			if !errors.As(err, &se) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q in %s: %v, want %q", c.argv, c.dir, err, c.want)
			}
		}
		if x := run(t, b, sh("exit 4"), &record{}); x.Code != 4 {
			t.Errorf("after errors: %+v", x)
		}
	})
}

func TestStops(t *testing.T) {
	const soon = 1500 * time.Millisecond // a shell has started by then, on any machine
	for _, c := range []struct {
		name   string
		script string
		set    func(*worker.Command)
		want   worker.Stopped
		out    string
		signal string
	}{
		{"quiet", "echo a; exec sleep 1000", func(c *worker.Command) { c.Timeout = soon }, worker.TimedOut, "a\n", "SIGTERM"},
		{"long", "echo a; exec sleep 1000", func(c *worker.Command) { c.MaxTime = soon }, worker.MaxTimed, "a\n", "SIGTERM"},
		{"lines", "seq 3; exec sleep 1000", func(c *worker.Command) { c.MaxLines = 2 }, worker.MaxLined, "1\n2\n", "SIGTERM"},
		{"lines, at once", "seq 30000", func(c *worker.Command) { c.MaxLines = 2 }, worker.MaxLined, "1\n2\n", "any"},
		{"lines reached", "seq 3", func(c *worker.Command) { c.MaxLines = 3 }, worker.NotStopped, "1\n2\n3\n", ""},
		{"no grace", "echo a; exec sleep 1000", func(c *worker.Command) { c.MaxTime, c.SigtermTime = soon, 0 }, worker.MaxTimed, "a\n", "SIGKILL"},
		{"deaf", `trap "" TERM; echo a; while :; do sleep 0.1; done`, func(c *worker.Command) { c.MaxTime = soon }, worker.MaxTimed, "a\n", "SIGKILL"},
		{"last words", `trap "echo bye; exit 9" TERM; echo a; while :; do sleep 0.1; done`, func(c *worker.Command) { c.MaxTime, c.SigtermTime = soon, 10*time.Second }, worker.MaxTimed, "a\nbye\n", ""},
		{"another signal", `trap "echo int; exit 8" INT; trap "" TERM; echo a; while :; do sleep 0.1; done`, func(c *worker.Command) {
			c.MaxTime, c.SigtermTime, c.Interrupt = soon, 10*time.Second, syscall.SIGINT
		}, worker.MaxTimed, "a\nint\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, r *rig) {
				b := r.begin(t)
				defer end(t, b)
				cmd, rec := sh(c.script), &record{}
				c.set(&cmd)
				x := run(t, b, cmd, rec)
				if x.Stopped != c.want || rec.text("o") != c.out || c.signal != "any" && x.Signal != c.signal || x.OOM != nil {
					t.Errorf("%+v, output %q", x, rec.text("o"))
				}
			})
		})
	}
}

func TestSinkRefuses(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		b := r.begin(t)
		defer end(t, b)
		full := errors.New("disk full")
		x := run(t, b, sh("yes"), sinkFunc(func([]byte) error { return full }))
		if x.Stopped != worker.SinkFailed || x.SinkErr != full {
			t.Errorf("%+v", x)
		}
	})
}

// The sink's time is not the command's: it could not write.
func TestSlowSinkIsNoTimeout(t *testing.T) {
	r := open(t, spawn.Options{})
	b := r.begin(t)
	defer end(t, b)
	cmd := sh("echo a; echo b")
	cmd.Timeout = time.Second
	x := run(t, b, cmd, sinkFunc(func([]byte) error {
		<-time.After(1500 * time.Millisecond)
		return nil
	}))
	if x.Stopped != "" || x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

func TestLogFiles(t *testing.T) {
	r := open(t, spawn.Options{})
	b := r.begin(t)
	defer end(t, b)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := &record{}
	cmd := sh("mkfifo pipe; echo new > new; echo after >> old") // nobody writes to the pipe
	cmd.Dir = dir
	cmd.LogFiles = []worker.LogFile{{Name: "n", Path: "new"}, {Name: "f", Path: "old", Follow: true}, {Name: "w", Path: dir + "/old"}, {Name: "m", Path: "missing"}, {Name: "p", Path: "pipe"}}
	run(t, b, cmd, rec)
	for k, want := range map[string]string{"no": "new\n", "fo": "after\n", "wo": "before\nafter\n", "mo": "", "po": ""} {
		if got := rec.text(k); got != want {
			t.Errorf("log %s: %q, want %q", k, got, want)
		}
	}
}

func TestOneAtATime(t *testing.T) {
	r := open(t, spawn.Options{})
	b := r.begin(t)
	if _, err := r.Begin(99); err == nil {
		t.Error("two builds were begun")
	}
	end(t, b)
	if _, err := b.End(context.Background()); err == nil {
		t.Error("a build ended twice")
	}
	end(t, r.begin(t))
	for _, id := range []string{"", "a.b", "a/b", strings.Repeat("x", 65)} {
		if _, err := spawn.Open(spawn.Options{BaseID: id}); err == nil {
			t.Errorf("base id %q was taken", id)
		}
	}
}

func TestCancelledBefore(t *testing.T) {
	r := open(t, spawn.Options{})
	b := r.begin(t)
	defer end(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, err := b.Run(ctx, sh("echo a"), sinkFunc(func([]byte) error { return errors.New("it ran") }))
	if err != nil || x.Stopped != worker.Cancelled || x.SinkErr != nil {
		t.Errorf("%+v, %v", x, err)
	}
}
