package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
)

// gate makes a step that says name, then waits until the file name.go exists.
func gate(name string) string {
	return `echo "` + name + ` began"; while [ ! -e ` + name + `.go ]; do sleep 0.02; done; echo "` + name + ` went on"`
}

const gated = `
[machine]
cpus = 2
memory_per_build = "64MiB"
[[builders]]
name = "one"
steps = ['''` + "%ONE%" + `''']
[[builders]]
name = "two"
steps = ['''` + "%TWO%" + `''', "exit 7"]
`

func gatedConf() string {
	return strings.NewReplacer("%ONE%", gate("one"), "%TWO%", gate("two")).Replace(gated)
}

// The second terminal hands over to the first; each gets its own output and
// exit code, and the first stays until the second is done.
func TestTwoRunsOnOneBaseDirectory(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	s.Write("one.go", "")
	one.Awaits("| one went on\n")
	testrig.Until(t, "the first does not say why it stays", func() bool {
		return strings.Contains(one.Err.String(), "another terminal still run here")
	})
	s.Write("two.go", "")
	one.Exits(0)
	two.Exits(1)
	two.Prints("| two went on", "failure", "exit 7")
	for _, p := range []struct {
		*testrig.Process
		foreign string
	}{{one, "| two began"}, {two, "| one began"}} {
		if strings.Contains(p.Out.String(), p.foreign) {
			t.Errorf("%q shows the output of the other:\n%s", p.Cmd.Args, p.Out.String())
		}
	}
}

// The first terminal has what it wanted, and stays for the second one's build.
// Ctrl-C ends it all the same: the second takes over.
func TestInterruptWhileServingAnother(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	s.Write("one.go", "")
	testrig.Until(t, "the first does not say why it stays", func() bool {
		return strings.Contains(one.Err.String(), "another terminal still run here")
	})
	one.SignalGroup(syscall.SIGINT)
	one.Exits(0)
	two.Awaits("taking over")
	s.Write("two.go", "")
	two.Exits(1)
}

// A slow disk makes the end of a run long, too. There is no other terminal then,
// and none is spoken of.
func TestSlowEnd(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		testrig.Missing(t, "no strace")
	}
	s := newScene(t, gatedConf())
	p := s.Start("run", "one")
	p.Awaits("| one began\n")
	const each = 1500 * time.Millisecond // the run's patience is 1 s
	pid := strconv.Itoa(p.Cmd.Process.Pid)
	tracer := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "signal=none",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", each.Microseconds()), "-p", pid)
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracer.Wait() })
	testrig.Until(t, "strace does not attach", func() bool {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		return err == nil && !strings.Contains(string(status), "TracerPid:\t0\n")
	})
	s.Write("one.go", "")
	p.Awaits("  one #1\n")
	if took := p.Exits(0); took < each {
		t.Errorf("the end took %v: the disk was not slow", took)
	}
	if got := p.Err.String(); got != "" {
		t.Errorf("on stderr:\n%s", got)
	}
}

// A dozen terminals at one moment: one holds, all are served.
func TestManyRunsAtOnce(t *testing.T) {
	s := newScene(t, `
[[builders]]
name = "ok"
steps = ['echo "$BOTHY_BUILD_NUMBER" >>ledger']
[[builders]]
name = "bad"
steps = ["exit 3"]
`)
	const each = 6
	var ok, bad []*testrig.Process
	for range each {
		ok = append(ok, s.Start("run", "ok"))
		bad = append(bad, s.Start("run", "bad"))
	}
	for i := range each {
		ok[i].Exits(0)
		bad[i].Exits(1)
	}
	if n := strings.Count(s.Read("ledger"), "\n"); n != each {
		t.Errorf("%d builds of ok ran, want %d", n, each)
	}
}

// A terminal whose file is not what the server has loaded is refused.
func TestRunBesideServe(t *testing.T) {
	conf := gatedConf()
	s := newScene(t, conf)
	v := s.Serve(s.Path(".bothy"))
	run := s.Start("run", "two")
	run.Awaits("| two began\n")
	s.Write("other.toml", s.Read("bothy.toml")+"# changed\n")
	p := s.Run(2, "-c", "other.toml", "run", "one")
	p.Says("another configuration", "other.toml")
	s.Write("two.go", "")
	run.Exits(1)
	v.Drain()
}

const interruptible = `
[[builders]]
name = "slow"
steps = [
  { name = "wait", run = '''sleep 1000 & setsid sleep 1001 >/dev/null 2>&1 & sleep 0.2; echo began; (trap "" TERM; sleep 1002; sleep 1003)''', sigterm_time = "1s" },
  "echo not reached",
  { name = "clean", run = "echo cleaned up", always_run = true },
]
[[builders]]
name = "later"
steps = ["touch later-ran"]
`

// Ctrl-C once: grace, always_run steps, receipt, 130, nothing left.
func TestInterruptOnce(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(*testrig.Process, syscall.Signal){
		"the group, as a terminal does": (*testrig.Process).SignalGroup, "the process alone": (*testrig.Process).Signal,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, interruptible)
			p := s.Start("run", "slow")
			p.Awaits("| began\n")
			send(p, syscall.SIGINT)
			if took := p.Exits(130); took > enough {
				t.Errorf("took %v; the grace is 1 s", took)
			}
			p.Prints("cleaned up", "cancelled", "interrupted", "ended ", "left-over process", "sleep 1001")
			if strings.Contains(p.Out.String(), "not reached") {
				t.Error("a step that is not always_run ran after the interrupt")
			}
			s.NothingLeft("Ctrl-C", enough)
		})
	}
}

// Ctrl-C twice: at once, without grace and without always_run steps.
func TestInterruptTwice(t *testing.T) {
	s := newScene(t, strings.ReplaceAll(interruptible, `"1s"`, `"60s"`))
	p := s.Start("run", "slow")
	p.Awaits("| began\n")
	p.SignalGroup(syscall.SIGINT)
	// The two must not be taken for one.
	testrig.Until(t, "the first Ctrl-C is not acted on", func() bool {
		return !slices.ContainsFunc(s.Processes(), func(p string) bool { return strings.HasSuffix(p, " sleep 1001") })
	})
	p.SignalGroup(syscall.SIGINT)
	if took := p.Exits(130); took > enough {
		t.Errorf("took %v; the grace is 60 s", took)
	}
	if strings.Contains(p.Out.String(), "cleaned up") {
		t.Error("an always_run step ran after the second interrupt")
	}
	s.NothingLeft("Ctrl-C twice", enough)
}

// A terminal that is interrupted ends its own builds, not those of another.
func TestInterruptOfOneTerminal(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.Start("run", "one")
	one.Awaits("| one began\n")
	two := s.Start("run", "two")
	two.Awaits("| two began\n")
	two.SignalGroup(syscall.SIGINT)
	two.Exits(130)
	s.Write("one.go", "")
	one.Exits(0)
}

// The terminal's window is closed: nothing goes on behind the person's back.
func TestTerminalGoes(t *testing.T) {
	s := newScene(t, gatedConf())
	v := s.Serve(s.Path(".bothy"))
	p := s.Start("run", "one")
	p.Awaits("| one began\n")
	p.Signal(syscall.SIGKILL)
	v.Idle()
	v.Drain()
	for _, b := range s.Records(s.Path(".bothy")).Builds() {
		if b.Result.String() != "cancelled" || !strings.Contains(b.Text, "has gone") {
			t.Errorf("build %s: %v, %s", b.Builder, b.Result, b.Text)
		}
	}
}

// A reader that goes away, as head does, ends the run and does not hang it.
func TestClosedOutput(t *testing.T) {
	s := newScene(t, "[[builders]]\nname = \"b\"\nsteps = [\"seq 300000\"]\n")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := s.Prepare("run", "b")
	p.Cmd.Stdout = w
	p.Launch()
	w.Close()
	buf := make([]byte, 100)
	if _, err := r.Read(buf); err != nil {
		t.Fatal(err)
	}
	r.Close()
	p.Ends()
}
