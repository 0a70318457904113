package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

// Run runs one command of a step on the worker. Its environment is exactly cmd.Env,
// but that the worker expands "${NAME}" in values that differ from its own, sets
// PWD, and appends its own PYTHONPATH. Arguments, environment and standard input
// must be UTF-8. When ctx ends the worker ends the command; if it has not after
// cmd.SigtermTime and what is usual beyond, the connection is closed.
func (b *Build) Run(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	b.running.Lock()
	defer b.running.Unlock()
	return b.shell(ctx, cmd, sink)
}

var errMaxLines = errors.New("too many lines")

// shell runs a command; the caller holds running, or nobody else has the build.
func (b *Build) shell(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	if ctx.Err() != nil {
		return worker.Exit{Code: -1, Stopped: worker.Cancelled}, nil
	}
	args, err := b.shellArgs(cmd)
	if err != nil {
		return worker.Exit{}, fmt.Errorf("%w: %w", worker.ErrStart, err)
	}
	r := &reading{sink: sink, maxLines: cmd.MaxLines}
	out, err := b.c.exec(ctx, order{
		lane: b.lane, name: "shell", args: args, take: r.take, grace: cmd.SigtermTime, kill: cmd.Kill,
	})
	exit := worker.Exit{Code: -1, Signal: r.signal, Stopped: r.stopped}
	if reason, ok := out.values["failure_reason"]; ok {
		exit.Stopped = stoppedFor(reason, exit.Stopped)
	}
	switch {
	case errors.Is(out.taken, errMaxLines):
		exit.Stopped = worker.MaxLined
	case out.taken != nil:
		exit.Stopped, exit.SinkErr = worker.SinkFailed, out.taken
	case out.stopped:
		exit.Stopped = worker.Cancelled
	}
	if err != nil {
		if !errors.Is(err, worker.ErrLost) {
			err = fmt.Errorf("%w: %w", worker.ErrStart, err)
		}
		return exit, err
	}
	rc, err := out.rc()
	switch {
	case err == nil:
		exit.Code = rc
	case exit.Stopped == worker.NotStopped:
		return exit, fmt.Errorf("%w: %w", worker.ErrStart, err)
	}
	return exit, nil
}

// stoppedFor reads what workers of version 3.2 and later say.
func stoppedFor(reason any, otherwise worker.Stopped) worker.Stopped {
	switch s, _ := wire.Text(reason); s {
	case "timeout":
		return worker.MaxTimed
	case "timeout_without_output":
		return worker.TimedOut
	case "max_lines_failure":
		return worker.MaxLined
	}
	return otherwise
}

// shellArgs returns the arguments of the worker's command "shell".
func (b *Build) shellArgs(cmd worker.Command) (wire.Map, error) {
	if len(cmd.Argv) == 0 {
		return nil, errors.New("no command")
	}
	argv := make([]any, len(cmd.Argv))
	for i, a := range cmd.Argv {
		if !utf8.ValidString(a) || strings.Contains(a, "\x00") {
			return nil, fmt.Errorf("argument %d is not UTF-8 text: %.80q", i, a)
		}
		argv[i] = a
	}
	var command any = argv
	line, isLine := shellLine(cmd.Argv)
	switch {
	case b.c.obfuscates() && cmd.Hide != nil && !(isLine && b.c.facts.paths.nt):
		obfuscate(argv, cmd.Hide)
	case isLine:
		command = line
	}
	env, err := b.c.facts.changes(cmd.Env)
	if err != nil {
		return nil, err
	}
	var stdin any
	if cmd.Stdin != nil {
		if !utf8.Valid(cmd.Stdin) {
			return nil, errors.New("its standard input is not UTF-8 text")
		}
		stdin = string(cmd.Stdin)
	}
	files := wire.Map{}
	for _, f := range cmd.LogFiles {
		files = append(files, wire.Field{Key: f.Name, Value: wire.Map{{Key: "filename", Value: f.Path}, {Key: "follow", Value: f.Follow}}})
	}
	return wire.Map{
		{Key: "command", Value: command},
		{Key: "workdir", Value: b.c.facts.paths.join(b.dir, cmd.Dir)},
		{Key: "env", Value: env},
		{Key: "want_stdout", Value: true},
		{Key: "want_stderr", Value: true},
		{Key: "logfiles", Value: files},
		{Key: "timeout", Value: seconds(cmd.Timeout)},
		{Key: "maxTime", Value: seconds(cmd.MaxTime)},
		{Key: "sigtermTime", Value: seconds(cmd.SigtermTime)},
		{Key: "usePTY", Value: cmd.PTY},
		{Key: "logEnviron", Value: false}, // it is the master's matter
		{Key: "initial_stdin", Value: stdin},
		{Key: "interruptSignal", Value: "KILL"},
	}, nil
}

// obfuscates reports whether the worker knows words that it must not show. Over
// MessagePack, which has no tuples, buildbot-worker does not recognize them.
func (c *Conn) obfuscates() bool { return c.link != nil && c.link.protocol() == protocolPB }

// obfuscate marks the words of a command that hold a secret: the worker shows
// another text in its log. buildbot_worker/runprocess.py: obfus.
func obfuscate(argv []any, hide func(string) string) {
	for i, a := range argv {
		if s, _ := a.(string); hide(s) != s {
			argv[i] = wire.Tuple{"obfuscated", s, hide(s)}
		}
	}
}

// seconds is a duration as workers want it: none is nil.
func seconds(d time.Duration) any {
	switch {
	case d <= 0:
		return nil
	case d%time.Second == 0:
		return int64(d / time.Second)
	}
	return d.Seconds()
}

// shellLine returns the line of a command that is a line for the master's shell:
// the worker gives it to its own system's.
func shellLine(argv []string) (string, bool) {
	if len(argv) == 3 && (slices.Equal(argv[:2], []string{"/bin/sh", "-c"}) || slices.Equal(argv[:2], []string{"cmd.exe", "/c"})) {
		return argv[2], true
	}
	return "", false
}

// needed are variables without which Windows starts no program.
var needed = []string{"SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "WINDIR", "TEMP", "TMP"}

// changes returns what makes the worker's environment the wanted one: a nil value
// removes a variable.
func (f *facts) changes(want []string) (wire.Map, error) {
	names := make(map[string]bool, len(want))
	var out wire.Map
	for _, kv := range want {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			continue
		}
		if !utf8.ValidString(kv) || strings.Contains(kv, "\x00") {
			return nil, fmt.Errorf("environment variable %.80q is not UTF-8 text", name)
		}
		key := f.envName(name)
		names[key] = true
		if own, ok := f.env[key]; !ok || own != value {
			out = append(out, wire.Field{Key: name, Value: value})
		}
	}
	for _, kv := range f.environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !names[name] && name != "PWD" && !(f.paths.nt && slices.Contains(needed, name)) {
			out = append(out, wire.Field{Key: name, Value: nil})
		}
	}
	return out, nil
}

// reading takes what a shell command writes.
type reading struct {
	sink     worker.Sink
	maxLines int
	lines    int
	begun    bool // the header that describes the command is over
	stopped  worker.Stopped
	signal   string
}

func (r *reading) take(it item) error {
	if len(it.text) == 0 {
		return nil
	}
	switch it.name {
	case "header":
		return r.header(it.text)
	case "log":
		return r.sink.Output(it.log, worker.Stdout, it.text)
	case "stderr":
		return r.output(worker.Stderr, it.text)
	}
	return r.output(worker.Stdout, it.text)
}

func (r *reading) output(s worker.Stream, text []byte) error {
	var over error
	if r.maxLines > 0 {
		if n := bytes.Count(text, []byte("\n")); r.lines+n > r.maxLines {
			text, over = firstLines(text, r.maxLines-r.lines), errMaxLines
			r.lines = r.maxLines
		} else {
			r.lines += n
		}
	}
	if len(text) > 0 {
		if err := r.sink.Output("", s, text); err != nil {
			return err
		}
	}
	return over
}

// firstLines returns the first n lines of a text.
func firstLines(text []byte, n int) []byte {
	end := 0
	for range n {
		i := bytes.IndexByte(text[end:], '\n')
		if i < 0 {
			return text
		}
		end += i + 1
	}
	return text[:end]
}

// The lines of a worker's header that mean something to us.
// buildbot_worker/runprocess.py.
const (
	lastOfPreamble = " using PTY: "
	timedOut       = "command timed out: "
	noOutput       = " seconds without output running "
	tooLong        = " seconds elapsed running "
	killedBy       = "process killed by signal "
	interrupted    = "command interrupted, attempting to kill"
	elapsedTime    = "elapsedTime="
)

// header reads what the worker says about the command. What the master says
// itself is left out: the command, its directory, why it was ended.
func (r *reading) header(text []byte) error {
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.HasPrefix(s, lastOfPreamble):
			r.begun = true
		case strings.HasPrefix(s, timedOut) && strings.Contains(s, noOutput):
			r.stopped = worker.TimedOut
		case strings.HasPrefix(s, timedOut) && strings.Contains(s, tooLong):
			r.stopped = worker.MaxTimed
		case strings.HasPrefix(s, killedBy):
			r.signal = signalName(strings.TrimPrefix(s, killedBy))
		case s == "" || !r.begun && !strings.HasPrefix(s, "WARNING: ") || s == interrupted || strings.HasPrefix(s, elapsedTime):
		default:
			if err := r.sink.Output("", worker.Header, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// signalName returns the name of a signal's number, where all systems agree.
func signalName(number string) string {
	names := map[string]string{
		"1": "SIGHUP", "2": "SIGINT", "3": "SIGQUIT", "4": "SIGILL", "5": "SIGTRAP", "6": "SIGABRT", "8": "SIGFPE",
		"9": "SIGKILL", "11": "SIGSEGV", "13": "SIGPIPE", "14": "SIGALRM", "15": "SIGTERM",
	}
	if name, ok := names[number]; ok {
		return name
	}
	return "signal " + shorten(number)
}
