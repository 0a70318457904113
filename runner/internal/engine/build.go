package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// buildRun is a build as its own goroutine sees it. It tells the loop what
// happened and never touches the loop's state.
type buildRun struct {
	e        *Engine
	b        *running // only its contexts, and as a name towards the loop
	conf     *config.Builder
	token    worker.Token
	from     string // the step to begin with, until it is reached
	conn     worker.Conn
	info     worker.Info
	need     worker.Need
	mayGrow  bool // the request was not yet run again for want of memory
	props    build.Properties
	source   worker.Source
	env      []string // before the builder's own
	masker   *logs.Masker
	redact   func(string) string // takes secrets out of a text; nil: there are none
	secrets  Secrets
	url      string // of the master
	secret   func(name string) (string, error)
	expected store.History // what to expect; zero unless somebody watches
	broken   error         // the build cannot be started as configured

	row              store.Build
	wb               worker.Build
	result           build.Result
	halted           bool // only always_run steps still run
	texts            []string
	planned          bool
	oom              int64
	blame, blameStep string            // what made it an EXCEPTION, and in which step
	left             []<-chan struct{} // Go steps that ignore their context
	lost             bool              // the worker went away
	open             []*stepLog        // not finished, for the case of a panic
	rows             int               // steps so far
	lastRow          int               // the latest step that ran
	kept             quota             // what artifacts and tests have of theirs

	cleaning context.Context // of always_run steps after a stop; nil: not begun
	cleaned  context.CancelFunc
}

func (r *buildRun) log() *slog.Logger {
	return r.e.log.With("builder", r.row.Builder, "build", r.row.Number, "worker", r.row.Worker)
}

// run is the build from its start to its report.
func (r *buildRun) run() {
	defer func() {
		// A fault of ours must not take the process or other builds down.
		if p := recover(); p != nil {
			r.log().Error("panic in a build", "panic", p, "stack", string(debug.Stack()))
			r.fail(build.Exception, build.CauseMaster, fmt.Sprintf("panic: %v", p))
			for len(r.open) > 0 {
				r.open[0].finish()
			}
			if r.wb != nil {
				r.end()
			}
		}
		r.report()
	}()
	r.result = build.Success
	if r.broken != nil {
		r.fail(build.Exception, build.CauseConfig, r.broken.Error())
		return
	}
	r.findSecrets()
	if !r.prepare() {
		return
	}
	for i := range r.conf.Steps {
		r.runStep(&r.conf.Steps[i])
		if r.lost || r.b.hard.Err() != nil {
			break
		}
	}
	if r.cleaned != nil {
		r.cleaned()
	}
	r.stopReason()
	r.end()
}

// prepare has the worker make the build's directory.
func (r *buildRun) prepare() bool {
	wb, err := r.conn.StartBuild(r.b.halt, worker.BuildSpec{
		Token: r.token, Builder: r.row.Builder, Number: r.row.Number, Source: r.source,
		Workspace: worker.Workspace(r.conf.Workspace), Need: r.need, Slot: r.b.slot,
	})
	if err == nil {
		r.wb = wb
		r.row.Dir = wb.Dir()
		for name, v := range wb.Properties() {
			if err := r.props.Set(name, v, "Source"); err != nil {
				r.log().Warn("property not set", "err", err)
			}
		}
		if err := errors.Join(r.props.Set("builddir", r.row.Dir, "Worker"), r.props.Set("basedir", r.row.Dir, "Worker")); err != nil {
			r.log().Warn("property not set", "err", err)
		}
		return true
	}
	if r.stopReason() {
		return false
	}
	result, cause := build.Exception, workerCause(err)
	if errors.Is(err, worker.ErrLost) {
		result = build.Retry
	}
	r.preparation(result, err)
	r.fail(result, cause, fmt.Sprintf("worker %s could not prepare the build: %v", r.row.Worker, err))
	return false
}

// preparation records step 0, which exists only when there is something to say.
func (r *buildRun) preparation(result build.Result, err error) {
	now := time.Now()
	s := store.Step{Build: r.row.ID, Number: 0, Name: "worker_preparation", Started: now, Completed: now, Result: result, Text: "failed to prepare"}
	sl, lerr := r.newLog(0, "stdio")
	if lerr != nil {
		r.log().Error("no log for the preparation", "err", lerr)
		return
	}
	r.e.post(func(l *loop) { l.stepStarted(r.b, s, sl.row, 0) })
	sl.header("%v", err)
	sl.finish()
	r.e.post(func(l *loop) { l.stepEnded(r.b, s) })
}

// fail ends the build with a result that no step gave.
func (r *buildRun) fail(result build.Result, cause build.Cause, text string) {
	r.result = build.Worst(r.result, result)
	if cause != "" && r.row.Cause == "" {
		r.row.Cause = string(cause)
		r.blame = text
	}
	r.texts = append(r.texts, text)
	r.halted = true
}

// stopReason takes over the reason for which the build was stopped, if it was.
func (r *buildRun) stopReason() bool {
	if r.b.halt.Err() == nil {
		return false
	}
	var c stopCause
	if !errors.As(context.Cause(r.b.halt), &c) {
		c = stopCause{result: build.Cancelled, text: "stopped"}
	}
	// A step that ended by itself while the stop was on its way may have made
	// the result anything: the stop decides.
	r.result = c.result
	r.planned = c.planned
	r.row.Cause = string(c.cause)
	r.texts = append([]string{c.text}, r.texts...)
	return true
}

// end gives the directory back and names what had to be ended.
func (r *buildRun) end() {
	keep := worker.DropDir
	if r.result == build.Failure || r.result == build.Exception {
		keep = worker.RetainDir
	}
	wb := r.wb
	r.wb = nil // ended once, whatever happens in it
	receipt, err := wb.End(context.WithoutCancel(r.b.hard), keep)
	if err != nil {
		r.log().Error("cannot end the build on its worker", "err", err)
		if r.result != build.Retry && !errors.Is(err, worker.ErrLost) {
			r.fail(build.Exception, workerCause(err), fmt.Sprintf("ending the build: %v", err))
		}
	}
	r.row.Kept = receipt.Kept
	r.row.PeakMemory = max(r.row.PeakMemory, receipt.Usage.PeakMemory)
	r.row.CPU += receipt.Usage.CPU
	if text := r.receipt(receipt.Ended); text != "" {
		lg, err := r.newLog(r.lastRow, "left-over")
		if err != nil {
			r.log().Error("no log for what the build left running", "err", err)
			return
		}
		lg.announce()
		lg.header("%s", text)
		lg.finish()
	}
}

// receipt says on the build, and returns for the log, what had to be ended.
func (r *buildRun) receipt(ended []worker.Process) string {
	if len(ended) == 0 {
		return ""
	}
	names := make([]string, len(ended))
	for i, p := range ended {
		names[i] = fmt.Sprintf("%s (%d)", p.Name, p.PID)
	}
	r.row.Ended = append(r.row.Ended, names...)
	return fmt.Sprintf("ended %s: %s", plural(len(names), "left-over process", "left-over processes"), strings.Join(names, ", "))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// report tells the loop how the build ended.
func (r *buildRun) report() {
	r.row.Result = r.result
	r.row.Text = r.summary()
	r.row.Properties = r.props
	d := buildDone{row: r.row, planned: r.planned, oom: r.oom, held: r.left, blame: r.blame, blameStep: r.blameStep}
	if r.e.post(func(l *loop) { l.buildEnded(r.b, d) }) {
		return
	}
	for _, c := range r.left { // it was given up, and the loop has ended without it
		<-c
	}
	r.b.release()
}

// summary is Buildbot's state string: the result, then what made it so.
func (r *buildRun) summary() string {
	word := map[build.Result]string{build.Success: "build successful", build.Failure: "failed"}[r.result]
	if word == "" {
		word = r.result.String()
	}
	if len(r.texts) > 0 {
		word += ": " + strings.Join(r.texts, "; ")
	}
	return word
}

// workerCause is the cause of an exception that came about on a worker. A full
// disk is nobody's misbehaviour.
func workerCause(err error) build.Cause {
	if logs.DiskFull(err) {
		return build.CauseDisk
	}
	return build.CauseWorker
}
