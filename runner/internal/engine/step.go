package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// runStep runs one step, or passes over it. A step that a halt skips leaves no
// row; one whose do_if is false is SKIPPED.
func (r *buildRun) runStep(st *config.Step) {
	stopped := r.b.halt.Err() != nil
	if (stopped || r.halted) && !st.Flags.AlwaysRun {
		return
	}
	ctx := r.b.halt
	if stopped {
		if ctx = r.cleanup(); ctx.Err() != nil {
			return
		}
	}
	r.rows++
	row := store.Step{Build: r.row.ID, Number: r.rows, Name: st.Name, Started: time.Now(), Result: build.None, Text: "running"}

	if st.Name == r.from {
		r.from = ""
	}
	skipped := outcome{result: build.Skipped}
	early := r.from != "" && !st.Flags.AlwaysRun
	if early {
		skipped.text = fmt.Sprintf("the build begins with '%s'", r.from)
	}
	doIt, err := !early, error(nil)
	if doIt {
		doIt, err = r.condition(st.DoIf, true, nil)
	}
	if err == nil && !doIt {
		out := r.hide(st, &row, skipped)
		row.Completed, row.Result, row.Text = row.Started, out.result, out.describe()
		r.e.post(func(l *loop) { l.stepEnded(r.b, row) })
		r.take(st, out)
		return
	}
	sl, lerr := r.newLog(row.Number, "stdio")
	if lerr != nil {
		r.fail(build.Exception, build.CauseDisk, fmt.Sprintf("step %s: %v", st.Name, lerr))
		return
	}
	r.lastRow = row.Number
	began := row // the loop's own copy: row is written to below
	r.e.post(func(l *loop) { l.stepStarted(r.b, began, sl.row, r.expected.Steps[st.Name]) })

	out := outcome{result: build.Exception, cause: build.CauseConfig}
	if err != nil {
		out.text = fmt.Sprintf("do_if: %v", err)
	} else {
		for try := 0; ; try++ {
			out = r.locked(ctx, st, sl)
			if out.result != build.Failure || try >= st.Retries || ctx.Err() != nil {
				break
			}
			sl.header("%s; attempt %d of %d follows", out.describe(), try+2, st.Retries+1)
		}
	}
	if ctx.Err() != nil && out.result != build.Exception && out.result != build.Retry {
		out.result = build.Cancelled
	}
	got := r.collect(st, sl, out)
	out.tests = got.text()
	out = r.hide(st, &row, out)
	row.Completed, row.Result, row.Text = endOf(row.Started), out.result, out.describe()
	if out.result != build.Success || out.text != "" {
		sl.header("%s", out.describe())
	}
	sl.finish()
	r.e.post(func(l *loop) {
		l.stepEnded(r.b, row)
		l.collected(r.b, got)
	})
	r.take(st, out)
}

// endOf is when something ends now that began at t: as much later as has passed,
// even if the clock was set meanwhile, and never before it.
func endOf(t time.Time) time.Time { return t.Add(max(0, time.Since(t))) }

// cleanup bounds all always_run steps of a build that was stopped, together.
func (r *buildRun) cleanup() context.Context {
	if r.cleaning == nil {
		r.cleaning, r.cleaned = context.WithTimeout(r.b.hard, cmp.Or(r.conf.CleanupTime, CleanupTime))
	}
	return r.cleaning
}

// take adds a step's outcome to the build's.
func (r *buildRun) take(st *config.Step, out outcome) {
	if out.oom != nil && r.b.halt.Err() == nil {
		if r.mayGrow {
			r.oom = max(2*r.need.Memory, out.oom.At*3/2)
			r.fail(build.Retry, build.CauseOOM, fmt.Sprintf("'%s' %s; running again with %s planned", st.Name, out.describe(), bytesText(r.oom)))
			return
		}
	}
	before := r.result
	var halt bool
	r.result, halt = st.Flags.Apply(out.result, r.result)
	r.halted = r.halted || halt
	r.lost = r.lost || out.lost
	if r.result != before || halt {
		if r.row.Cause == "" && r.result == build.Exception {
			r.row.Cause = string(cmp.Or(out.cause, build.CauseStep)) // decode_rc can say EXCEPTION
			r.blame, r.blameStep = out.describe(), st.Name
		}
		r.texts = append(r.texts, fmt.Sprintf("'%s' %s", st.Name, out.describe()))
	}
}

// outcome is how a step ended.
type outcome struct {
	result build.Result
	cause  build.Cause // of an EXCEPTION
	text   string
	oom    *worker.OOM
	lost   bool   // the worker went away
	tests  string // what its test reports say, "" for nothing
}

func (o outcome) describe() string {
	text := o.text
	if text == "" {
		text = o.result.String()
		if o.result == build.Success {
			text = "finished"
		}
	}
	if o.tests != "" {
		text += ", " + o.tests
	}
	return text
}

// locked runs the step while it holds its locks.
func (r *buildRun) locked(ctx context.Context, st *config.Step, sl *stepLog) outcome {
	if len(st.Locks) > 0 {
		granted := make(chan struct{})
		fault := make(chan error, 1)
		asked := time.Now()
		r.e.post(func(l *loop) {
			if err := l.lockStep(r.b, queueLocks(st.Locks), granted); err != nil {
				fault <- err
			}
		})
		// Giving up waiting and giving back what was granted are one call.
		defer r.e.post(func(l *loop) { l.unlockStep(r.b) })
		select {
		case <-granted:
			if d := time.Since(asked); d >= time.Second {
				sl.header("waited %s for its locks", d.Round(time.Second))
			}
		case err := <-fault:
			return outcome{result: build.Exception, cause: build.CauseConfig, text: err.Error()}
		case <-ctx.Done():
			return outcome{result: build.Cancelled, text: "cancelled while waiting for locks"}
		}
	}
	if st.Func != "" {
		return r.goStep(ctx, st, sl)
	}
	return r.command(ctx, st, sl)
}

// command runs the step's program on the worker.
func (r *buildRun) command(ctx context.Context, st *config.Step, sl *stepLog) outcome {
	cmd, err := r.expand(st)
	if err != nil {
		return outcome{result: build.Exception, cause: build.CauseConfig, text: err.Error()}
	}
	sl.header("$ %s", commandLine(st, cmd.Argv))
	if st.LogEnviron {
		sl.header("%s", strings.Join(cmd.Env, "\n"))
	}
	cmd.Kill = r.b.hard.Done()
	sink := &stepSink{run: r, stdio: sl, step: r.rows}
	exit, err := r.wb.Run(ctx, cmd, sink)
	sink.finish()
	r.row.PeakMemory = max(r.row.PeakMemory, exit.Usage.PeakMemory)
	r.row.CPU += exit.Usage.CPU
	if text := r.receipt(exit.Ended); text != "" {
		sl.header("%s", text)
	}
	switch {
	case errors.Is(err, worker.ErrLost):
		return outcome{result: build.Retry, text: err.Error(), lost: true}
	case errors.Is(err, worker.ErrStart):
		return outcome{result: build.Failure, text: err.Error()}
	case err != nil:
		return outcome{result: build.Exception, cause: workerCause(err), text: err.Error()}
	}
	out := r.judge(st, exit)
	if out.oom == nil && exit.OOM != nil && !exit.OOM.Certain {
		sl.header("the kernel killed a process for want of memory meanwhile, perhaps one of this step")
	}
	return out
}

// judge turns a program's end into a result.
func (r *buildRun) judge(st *config.Step, exit worker.Exit) outcome {
	switch exit.Stopped {
	case worker.Cancelled:
		return outcome{result: build.Cancelled}
	case worker.TimedOut:
		return outcome{result: build.Failure, text: fmt.Sprintf("failure (timed out: no output for %s)", st.Timeout)}
	case worker.MaxTimed:
		return outcome{result: build.Failure, text: fmt.Sprintf("failure (timed out: not done in %s)", st.MaxTime)}
	case worker.MaxLined:
		return outcome{result: build.Failure, text: fmt.Sprintf("failure (max lines: more than %d)", st.MaxLines)}
	case worker.SinkFailed:
		cause := build.CauseMaster
		if logs.DiskFull(exit.SinkErr) {
			cause = build.CauseDisk
		}
		return outcome{result: build.Exception, cause: cause, text: fmt.Sprintf("its output could not be kept: %v", exit.SinkErr)}
	}
	out := outcome{result: build.Failure}
	code := exit.Code
	if exit.Signal != "" {
		out.text = "failure (killed by " + exit.Signal + ")"
		code = -1
	} else if code != 0 {
		out.text = fmt.Sprintf("failure (exit %d)", code)
	}
	if res, ok := st.DecodeRC[code]; ok {
		out.result = res
		if res != build.Failure {
			out.text = ""
			if code != 0 {
				out.text = fmt.Sprintf("%s (exit %d)", res, code)
			}
		}
	} else if code == 0 {
		out.result = build.Success
	}
	if exit.OOM != nil && (exit.OOM.Certain || out.result != build.Success) {
		out.oom = exit.OOM
		out.text = oomText(exit.OOM)
		if out.result == build.Success {
			out.result = build.Failure
		}
	}
	return out
}

func oomText(o *worker.OOM) string {
	text := "killed by OOM"
	if !o.Certain {
		text = "perhaps killed by OOM"
	}
	if o.At > 0 {
		text += " at " + bytesText(o.At)
		if o.Limit > 0 {
			text += " of " + bytesText(o.Limit)
		}
	}
	return text
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/(1<<30)), ".0") + " GiB"
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// commandLine is the command as a person would write it.
func commandLine(st *config.Step, argv []string) string {
	if st.Run.Shell != "" && len(argv) > 0 {
		return argv[len(argv)-1]
	}
	words := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$&|;<>()*?[]#~`\\!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}

// expand interpolates what the step says into a command.
func (r *buildRun) expand(st *config.Step) (worker.Command, error) {
	var fault error
	x := func(what, s string) string {
		out, err := build.Expand(s, r.interpolation(nil))
		if err != nil && fault == nil {
			fault = fmt.Errorf("%s: %w", what, err)
		}
		return out
	}
	cmd := worker.Command{
		PTY: st.PTY, Timeout: max(0, st.Timeout), MaxTime: st.MaxTime, SigtermTime: max(0, st.SigtermTime), MaxLines: st.MaxLines,
		Dir: x("workdir", st.Workdir), Label: fmt.Sprintf("%d.%d", r.row.Number, r.rows), Hide: r.redact,
	}
	if st.Run.Shell != "" {
		cmd.Argv = shellArgv(x("run", st.Run.Shell))
	} else {
		for _, a := range st.Run.Argv {
			cmd.Argv = append(cmd.Argv, x("run", a))
		}
	}
	if st.Stdin != "" {
		cmd.Stdin = []byte(x("stdin", st.Stdin))
	}
	for _, f := range st.LogFiles {
		cmd.LogFiles = append(cmd.LogFiles, worker.LogFile{Name: f.Name, Path: x("logfiles", f.Path), Follow: f.Follow})
	}
	env := newEnviron(r.env)
	env.set("CI", "true")
	env.set("BOTHY", "1")
	env.set("BOTHY_BUILDER", r.row.Builder)
	env.set("BOTHY_BUILD_NUMBER", fmt.Sprint(r.row.Number))
	env.set("BOTHY_ATTEMPT", fmt.Sprint(r.row.Attempt))
	env.set("BOTHY_WORKER", r.row.Worker)
	env.set("BOTHY_URL", r.url)
	env.add(r.conf.Env, func(s string) string { return x("env", s) })
	env.add(st.Env, func(s string) string { return x("env", s) })
	cmd.Env = env.list()
	return cmd, fault
}

// interpolation is what templates of this build see.
func (r *buildRun) interpolation(kw map[string]any) build.Env {
	return build.Env{
		Props: r.props, Worker: r.info, Kw: kw, Secret: r.secret,
		Source: func(codebase, attr string) (any, bool) {
			if codebase != "" {
				return nil, false
			}
			switch attr {
			case "branch", "revision", "repository", "project", "codebase":
				v, ok := r.props[attr]
				return v.Value, ok
			}
			return nil, false
		},
	}
}

// condition is the truth of a do_if or hide_if; empty means otherwise.
func (r *buildRun) condition(s string, otherwise bool, kw map[string]any) (bool, error) {
	if s == "" {
		return otherwise, nil
	}
	out, err := build.Expand(s, r.interpolation(kw))
	return build.Truthy(out), err
}

// hide decides whether the step is shown. What it may ask for is %(kw:result)s.
// It returns the step's outcome, another one if the condition is at fault.
func (r *buildRun) hide(st *config.Step, row *store.Step, out outcome) outcome {
	hidden, err := r.condition(st.HideIf, false, map[string]any{"result": out.result.String()})
	if err != nil && build.Worst(out.result, build.Exception) == build.Exception {
		return outcome{result: build.Exception, cause: build.CauseConfig, text: fmt.Sprintf("hide_if: %v", err)}
	}
	row.Hidden = hidden
	return out
}

// absDir is where a path of the step is, seen from the build's directory.
func (r *buildRun) absDir(dir string) string {
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(r.wb.Dir(), dir)
}

// shellArgv is what runs a line with the system's shell.
func shellArgv(line string) []string {
	if runtime.GOOS == "windows" {
		return []string{"cmd.exe", "/c", line}
	}
	return []string{"/bin/sh", "-c", line}
}
