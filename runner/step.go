package runner

import (
	"context"
	"io"
	"log/slog"

	"bothy/runner/build"
	"bothy/runner/internal/engine"
	"bothy/runner/worker"
)

// StepFunc is a step written in Go. It runs in the master's process, in the
// slot of its build; func steps are for local workers only.
//
// ctx ends when the build is cancelled or the step's max_time has passed. The
// function must then return: after the step's sigterm_time the build goes on
// without it, what it writes is refused, and its slot stays taken until it
// returns. A panic is an EXCEPTION of this one build. An error with
// [build.Success] is a failure.
type StepFunc func(ctx context.Context, s *StepContext) (build.Result, error)

// StepContext is what a Go step knows and where it writes. It must not be used
// after the function has returned.
type StepContext struct {
	Builder string
	Number  int64 // of the build
	Attempt int
	Worker  string
	Step    string
	Dir     string // the step's working directory, absolute
	// Env is the environment a command would get, as "NAME=value".
	Env []string
	// Properties of the build; a copy. Set changes the build's.
	Properties build.Properties
	Stdout     io.Writer // the step's log
	Stderr     io.Writer
	Logger     *slog.Logger

	set func(name string, value any) error
}

// SetProperty sets a property of the build for the steps that follow.
func (s *StepContext) SetProperty(name string, value any) error { return s.set(name, value) }

type streamWriter struct {
	output func(worker.Stream, []byte) error
	stream worker.Stream
}

func (w streamWriter) Write(p []byte) (int, error) {
	if err := w.output(w.stream, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func adaptStep(f StepFunc) engine.StepFunc {
	return func(ctx context.Context, c engine.StepCall) (build.Result, error) {
		return f(ctx, &StepContext{
			Builder: c.Builder, Number: c.Number, Attempt: c.Attempt, Worker: c.Worker, Step: c.Step,
			Dir: c.Dir, Env: c.Env, Properties: c.Props, Logger: c.Logger, set: c.SetProp,
			Stdout: streamWriter{c.Output, worker.Stdout}, Stderr: streamWriter{c.Output, worker.Stderr},
		})
	}
}
