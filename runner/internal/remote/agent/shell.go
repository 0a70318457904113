package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

func prepareShell(c *command) (func() error, error) {
	p, err := c.readShell()
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := c.execute(p)
		return err
	}, nil
}

// readShell reads the arguments of the command "shell".
func (c *command) readShell() (p *process, err error) {
	a := c.args
	p = &process{timeout: a.get("timeout"), maxTime: a.get("maxTime")}
	w, err := readWords(a.get("command"))
	if err != nil {
		return nil, err
	}
	dir, err := a.path("workdir")
	if err != nil {
		return nil, err
	}
	env, err := environ(c.session.a.o.Environ, a.get("env"), dir)
	if err != nil {
		return nil, err
	}
	p.words(w, env)
	p.cmd.Dir = dir
	if p.cmd.LogFiles, p.logs, err = readLogfiles(a.get("logfiles"), dir); err != nil {
		return nil, err
	}
	if err := p.readLimits(a); err != nil {
		return nil, err
	}
	if p.out, err = a.bool("want_stdout", true); err != nil {
		return nil, err
	}
	if p.err, err = a.bool("want_stderr", true); err != nil {
		return nil, err
	}
	if p.cmd.PTY, err = a.bool("usePTY", false); err != nil {
		return nil, err
	}
	if stdin := a.get("initial_stdin"); stdin != nil {
		if p.cmd.Stdin, err = wire.Bytes(stdin); err != nil {
			return nil, fmt.Errorf("argument %q: %w", "initial_stdin", err)
		}
	}
	if p.cmd.PTY && (p.cmd.Stdin != nil || runtime.GOOS == "windows") {
		p.cmd.PTY = false
		p.notes = append(p.notes, "WARNING: disabling usePTY for this command")
	}
	return p, p.show(a)
}

// words sets what is run.
func (p *process) words(w words, env map[string]string) {
	p.cmd.Argv = w.argvFor(env)
	p.cmd.Env = toList(env)
	p.display, p.argv = w.display(), w.argument()
}

// show reads whether the environment is shown.
func (p *process) show(a args) error {
	logEnviron, err := a.bool("logEnviron", true)
	if logEnviron {
		p.environ = p.cmd.Env
	}
	return err
}

// readLimits reads what ends the command, and how.
func (p *process) readLimits(a args) (err error) {
	if p.cmd.Timeout, err = a.seconds("timeout"); err != nil {
		return err
	}
	if p.cmd.MaxTime, err = a.seconds("maxTime"); err != nil {
		return err
	}
	if p.lines, err = a.int("max_lines", 0); err != nil {
		return err
	}
	p.cmd.MaxLines = int(min(max(p.lines, 0), 1<<31-1))
	signal, err := a.text("interruptSignal")
	if err != nil {
		return err
	}
	if a.get("sigtermTime") != nil {
		p.cmd.SigtermTime, err = a.seconds("sigtermTime")
		p.cmd.SigtermTime = max(p.cmd.SigtermTime, time.Millisecond) // 0 would be no TERM
		return err
	}
	if signal != "" && signal != "KILL" {
		p.cmd.SigtermTime = backupTimeout
		p.cmd.Interrupt = syscall.Signal(signalNumber("SIG" + signal))
	}
	return nil
}

// isSet reports whether a number was sent that is not 0.
func isSet(v any) bool {
	f, err := wire.Float(v)
	return err == nil && f != 0
}

// announce writes the header of a process.
func (c *command) announce(p *process) {
	var b strings.Builder
	for _, n := range p.notes {
		b.WriteString(n + "\n")
	}
	b.WriteString(p.display + "\n in dir " + p.cmd.Dir)
	limit := func(name string, v any) {
		if isSet(v) {
			unit := "secs"
			if f, _ := wire.Float(v); f == 1 {
				unit = "sec"
			}
			fmt.Fprintf(&b, " (%s %s %s)", name, repr(v), unit)
		}
	}
	limit("timeout", p.timeout)
	limit("maxTime", p.maxTime)
	fmt.Fprintf(&b, "\n watching logfiles %s\n argv: %s\n", p.logs, p.argv)
	if p.environ != nil {
		b.WriteString(" environment:\n")
		for _, kv := range p.environ {
			b.WriteString("  " + kv + "\n")
		}
	}
	if len(p.cmd.Stdin) > 0 {
		fmt.Fprintf(&b, " writing %d bytes to stdin\n", len(p.cmd.Stdin))
	}
	b.WriteString(" using PTY: " + repr(p.cmd.PTY) + "\n")
	c.out.header(b.String())
}

// sink passes on what is wanted of a process's output.
type sink struct {
	out       *output
	out1, err bool
}

func (s sink) Output(log string, stream worker.Stream, p []byte) error {
	if log == "" && (stream == worker.Stdout && !s.out1 || stream == worker.Stderr && !s.err) {
		return nil
	}
	return s.out.Output(log, stream, p)
}

// execute runs a process to its end and says how that was. The code is -1 if it
// was killed.
func (c *command) execute(p *process) (code int, err error) {
	c.announce(p)
	began := time.Now()
	asked := make(chan struct{})
	stop := context.AfterFunc(c.ctx, func() {
		defer close(asked)
		if errors.Is(context.Cause(c.ctx), errInterrupted) {
			c.out.header("\ncommand interrupted, attempting to kill\n")
		}
	})
	exit, err := c.spawn(p)
	if !stop() {
		<-asked
	}
	switch {
	case errors.Is(err, worker.ErrStart):
		// buildbot-worker: what the forked process does when it cannot exec.
		c.out.stderr(err.Error() + "\n")
		exit, err = worker.Exit{Code: 1}, nil
	case err != nil:
		c.out.header(err.Error() + "\n")
		if !p.silent {
			c.rc(-1)
		}
		return -1, err
	}
	c.explain(p, exit)
	code = exit.Code
	if exit.Signal != "" {
		code = -1
	} else if exit.Stopped != worker.NotStopped && code == 0 {
		code = killedCode
	}
	if !p.silent {
		if n := signalNumber(exit.Signal); n > 0 {
			c.out.header(fmt.Sprintf("process killed by signal %d\n", n))
		}
		c.rc(code)
	}
	c.out.header(fmt.Sprintf("elapsedTime=%.6f\n", time.Since(began).Seconds()))
	return code, nil
}

// spawn runs a process.
func (c *command) spawn(p *process) (worker.Exit, error) {
	if err := os.MkdirAll(p.cmd.Dir, 0o777); err != nil {
		return worker.Exit{}, fmt.Errorf("directory of the command: %w", err)
	}
	place, err := c.session.places.take(c.link)
	if err != nil {
		return worker.Exit{}, fmt.Errorf("prepare to run the command: %w", err)
	}
	defer c.session.places.give(place)
	p.cmd.Label = "c" + label(c.id)
	return place.Run(c.ctx, p.cmd, sink{c.out, p.out, p.err})
}

// label makes a name of an id that a master chose.
func label(id string) string {
	if len(id) > 20 {
		id = id[:20]
	}
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return '_'
		}
		return r
	}, id)
}

// explain says why a process was ended, and what came with that.
func (c *command) explain(p *process, exit worker.Exit) {
	kill := func(reason, text string) {
		c.out.value("failure_reason", reason)
		c.out.header("\n" + text + " running " + p.argv + ", attempting to kill\n")
	}
	switch exit.Stopped {
	case worker.TimedOut:
		kill("timeout_without_output", fmt.Sprintf("command timed out: %s seconds without output", repr(p.timeout)))
	case worker.MaxTimed:
		kill("timeout", fmt.Sprintf("command timed out: %s seconds elapsed", repr(p.maxTime)))
	case worker.MaxLined:
		kill("max_lines_failure", fmt.Sprintf("command exceeds max lines: more than %d written, %[1]d allowed,", p.lines))
	}
	if n := len(exit.Ended); n > 0 {
		names := make([]string, n)
		for i, e := range exit.Ended {
			names[i] = fmt.Sprintf("%s (%d)", e.Name, e.PID)
		}
		c.out.header(fmt.Sprintf("ended %d left-over processes: %s\n", n, strings.Join(names, ", ")))
	}
	if o := exit.OOM; o != nil {
		c.out.header(oomText(o))
	}
}

func oomText(o *worker.OOM) string {
	s := "perhaps killed by OOM"
	if o.Certain {
		s = "killed by OOM"
	}
	const gib = 1 << 30
	switch {
	case o.At > 0 && o.Limit > 0:
		s += fmt.Sprintf(" at %.2f GiB of %.2f", float64(o.At)/gib, float64(o.Limit)/gib)
	case o.At > 0:
		s += fmt.Sprintf(" at %.2f GiB", float64(o.At)/gib)
	}
	return s + "\n"
}
