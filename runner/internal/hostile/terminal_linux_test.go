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
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	s.write("one.go", "")
	one.awaits("| one went on\n")
	until(t, 10*time.Second, "the first does not say why it stays", func() bool {
		return strings.Contains(one.err.String(), "another terminal still run here")
	})
	s.write("two.go", "")
	one.exits(0, 10*time.Second)
	two.exits(1, 10*time.Second)
	two.prints("| two went on", "failure", "exit 7")
	for _, p := range []struct {
		*process
		foreign string
	}{{one, "| two began"}, {two, "| one began"}} {
		if strings.Contains(p.out.String(), p.foreign) {
			t.Errorf("%q shows the output of the other:\n%s", p.cmd.Args, p.out.String())
		}
	}
}

// The first terminal has what it wanted, and stays for the second one's build.
// Ctrl-C ends it all the same: the second takes over.
func TestInterruptWhileServingAnother(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	s.write("one.go", "")
	until(t, 10*time.Second, "the first does not say why it stays", func() bool {
		return strings.Contains(one.err.String(), "another terminal still run here")
	})
	one.signalGroup(syscall.SIGINT)
	one.exits(0, 15*time.Second)
	two.awaits("taking over")
	s.write("two.go", "")
	two.exits(1, 15*time.Second)
}

// A slow disk makes the end of a run long, too. There is no other terminal then,
// and none is spoken of.
func TestSlowEnd(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		missing(t, "no strace")
	}
	s := newScene(t, gatedConf())
	p := s.start("run", "one")
	p.awaits("| one began\n")
	const each = 1500 * time.Millisecond // the run's patience is 1 s
	pid := strconv.Itoa(p.cmd.Process.Pid)
	tracer := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "signal=none",
		"-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", each.Microseconds()), "-p", pid)
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracer.Wait() })
	until(t, 30*time.Second, "strace does not attach", func() bool {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		return err == nil && !strings.Contains(string(status), "TracerPid:\t0\n")
	})
	s.write("one.go", "")
	p.awaits("  one #1\n")
	if took := p.exits(0, 2*time.Minute); took < each {
		t.Errorf("the end took %v: the disk was not slow", took)
	}
	if got := p.err.String(); got != "" {
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
	var ok, bad []*process
	for range each {
		ok = append(ok, s.start("run", "ok"))
		bad = append(bad, s.start("run", "bad"))
	}
	for i := range each {
		ok[i].exits(0, time.Minute)
		bad[i].exits(1, time.Minute)
	}
	if n := strings.Count(s.read("ledger"), "\n"); n != each {
		t.Errorf("%d builds of ok ran, want %d", n, each)
	}
}

// A terminal whose file is not what the server has loaded is refused.
func TestRunBesideServe(t *testing.T) {
	conf := gatedConf()
	s := newScene(t, conf)
	v := s.serve(s.path(".bothy"))
	run := s.start("run", "two")
	run.awaits("| two began\n")
	s.write("bothy.toml", s.read("bothy.toml")+"# changed\n")
	p := s.run(2, "run", "one")
	p.says("another configuration", "bothy.toml", "restart it")
	s.write("two.go", "")
	run.exits(1, 10*time.Second)
	v.drain()
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
	for name, send := range map[string]func(*process, syscall.Signal){
		"the group, as a terminal does": (*process).signalGroup, "the process alone": (*process).signal,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, interruptible)
			p := s.start("run", "slow")
			p.awaits("| began\n")
			send(p, syscall.SIGINT)
			if took := p.exits(130, 20*time.Second); took > 1*time.Second+3*time.Second {
				t.Errorf("took %v; the grace is 1 s", took)
			}
			p.prints("cleaned up", "cancelled", "interrupted", "ended ", "left-over process", "sleep 1001")
			if strings.Contains(p.out.String(), "not reached") {
				t.Error("a step that is not always_run ran after the interrupt")
			}
			s.nothingLeft("Ctrl-C", time.Second)
		})
	}
}

// Ctrl-C twice: at once, without grace and without always_run steps.
func TestInterruptTwice(t *testing.T) {
	s := newScene(t, strings.ReplaceAll(interruptible, `"1s"`, `"60s"`))
	p := s.start("run", "slow")
	p.awaits("| began\n")
	p.signalGroup(syscall.SIGINT)
	// The two must not be taken for one.
	until(t, 10*time.Second, "the first Ctrl-C is not acted on", func() bool {
		return !slices.ContainsFunc(s.processes(), func(p string) bool { return strings.HasSuffix(p, " sleep 1001") })
	})
	p.signalGroup(syscall.SIGINT)
	if took := p.exits(130, 20*time.Second); took > time.Second {
		t.Errorf("took %v, want at most 1 s", took)
	}
	if strings.Contains(p.out.String(), "cleaned up") {
		t.Error("an always_run step ran after the second interrupt")
	}
	s.nothingLeft("Ctrl-C twice", time.Second)
}

// A terminal that is interrupted ends its own builds, not those of another.
func TestInterruptOfOneTerminal(t *testing.T) {
	s := newScene(t, gatedConf())
	one := s.start("run", "one")
	one.awaits("| one began\n")
	two := s.start("run", "two")
	two.awaits("| two began\n")
	two.signalGroup(syscall.SIGINT)
	two.exits(130, 15*time.Second)
	s.write("one.go", "")
	one.exits(0, 10*time.Second)
}

// The terminal's window is closed: nothing goes on behind the person's back.
func TestTerminalGoes(t *testing.T) {
	s := newScene(t, gatedConf())
	v := s.serve(s.path(".bothy"))
	p := s.start("run", "one")
	p.awaits("| one began\n")
	p.signal(syscall.SIGKILL)
	v.idle(15 * time.Second)
	v.drain()
	for _, b := range s.records(s.path(".bothy")).builds() {
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
	p := s.prepare("run", "b")
	p.cmd.Stdout = w
	p.launch()
	w.Close()
	buf := make([]byte, 100)
	if _, err := r.Read(buf); err != nil {
		t.Fatal(err)
	}
	r.Close()
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("still runs\n%s", p.all())
	}
}
