package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/worker"
)

// StepFunc is a step written in Go. It runs on the master, in the build's slot.
type StepFunc func(ctx context.Context, call StepCall) (build.Result, error)

// StepCall is what a Go step gets to know.
type StepCall struct {
	Builder string
	Number  int64
	Attempt int
	Worker  string
	Step    string
	Dir     string
	Env     []string
	Props   build.Properties // the step's own copy
	SetProp func(name string, value any) error
	Output  func(s worker.Stream, p []byte) error
	Logger  *slog.Logger
}

// goStep runs a Go function. A panic is one EXCEPTION. A function that ignores
// its context loses its fence, so that what it still writes is refused, and
// keeps the build's slot until it returns.
func (r *buildRun) goStep(ctx context.Context, st *config.Step, sl *stepLog) outcome {
	f := r.e.opt.Steps[st.Func]
	if f == nil {
		return outcome{result: build.Exception, cause: build.CauseConfig, text: fmt.Sprintf("this program has no step function %q", st.Func)}
	}
	cmd, err := r.expand(st)
	if err != nil {
		return outcome{result: build.Exception, cause: build.CauseConfig, text: err.Error()}
	}
	if st.MaxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, st.MaxTime, errMaxTime)
		defer cancel()
	}
	sl.header("func %s", st.Func)
	fence := &fence{}
	defer fence.close() // also to what the function left running
	call := StepCall{
		Builder: r.row.Builder, Number: r.row.Number, Attempt: r.row.Attempt, Worker: r.row.Worker,
		Step: st.Name, Dir: r.absDir(cmd.Dir), Env: cmd.Env, Props: r.props.Clone(), Logger: r.log(),
		Output: func(s worker.Stream, p []byte) error {
			return fence.pass(func() error { return sl.write(s, p) })
		},
		SetProp: func(name string, v any) error {
			return fence.pass(func() error { return r.props.Set(name, v, st.Name) })
		},
	}
	type ending struct {
		result build.Result
		err    error
		panic  string
	}
	ended := make(chan ending, 1)
	returned := make(chan struct{})
	r.e.group.Add(1)
	go func() {
		defer r.e.group.Done()
		defer close(returned)
		e := ending{result: build.Exception}
		defer func() {
			if p := recover(); p != nil {
				e = ending{result: build.Exception, panic: fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
			}
			ended <- e
		}()
		e.result, e.err = f(ctx, call)
	}()
	var e ending
	select {
	case e = <-ended:
	case <-ctx.Done():
		grace := time.NewTimer(max(0, st.SigtermTime))
		defer grace.Stop()
		select {
		case e = <-ended:
		case <-grace.C:
			return r.abandon(st, returned)
		case <-r.b.hard.Done():
			return r.abandon(st, returned)
		}
	}
	switch {
	case e.panic != "":
		sl.header("%s", e.panic)
		return outcome{result: build.Exception, cause: build.CauseStep, text: "panic in step function " + st.Func}
	case errors.Is(context.Cause(ctx), errMaxTime) && r.b.halt.Err() == nil:
		return outcome{result: build.Failure, text: fmt.Sprintf("failure (timed out: not done in %s)", st.MaxTime)}
	case e.err != nil && e.result == build.Success: // an error is not a success, whatever else was said
		return outcome{result: build.Failure, text: e.err.Error()}
	case !e.result.Valid():
		return outcome{result: build.Exception, cause: build.CauseStep, text: fmt.Sprintf("step function %s returned no result", st.Func)}
	case e.err != nil:
		return outcome{result: e.result, cause: build.CauseStep, text: e.err.Error()}
	}
	return outcome{result: e.result}
}

// abandon gives up a function that did not return.
func (r *buildRun) abandon(st *config.Step, returned <-chan struct{}) outcome {
	r.left = append(r.left, returned)
	r.halted = true
	text := fmt.Sprintf("step function %s did not return within %s; its slot stays taken until it does", st.Func, max(0, st.SigtermTime))
	if r.b.halt.Err() != nil {
		return outcome{result: build.Cancelled, text: text}
	}
	return outcome{result: build.Exception, cause: build.CauseStep, text: text}
}

var errMaxTime = errors.New("max_time")

// ErrFenced is what a Go step gets that writes after it was given up.
var ErrFenced = errors.New("the step was given up: nothing it does counts any more")

// fence lets calls pass until it is closed. Closing waits for those within.
type fence struct {
	mu   sync.Mutex
	shut bool
}

func (f *fence) pass(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shut {
		return ErrFenced
	}
	return do()
}

func (f *fence) close() {
	f.mu.Lock()
	f.shut = true
	f.mu.Unlock()
}
