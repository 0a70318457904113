package cli

import (
	"context"
	"errors"
	"fmt"

	"bothy/runner/config"
)

// The exit codes. product.md, "Command line".
const (
	exitOK          = 0   // success or warnings
	exitFailed      = 1   // the builds failed
	exitUsage       = 2   // wrong usage or configuration
	exitInfra       = 3   // exception, retries used up, no worker
	exitInterrupted = 130 // as a shell reports SIGINT
)

// exitError ends the process with a code. Without err nothing more is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit returns an error that ends the process with a code when everything has
// been said already; nil for 0.
func exit(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}

// wrongUsage returns an error that ends the process with exit code 2.
func wrongUsage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// report prints err, if it says anything, and returns the exit code for it.
func report(env Env, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if errors.As(err, &exit) && exit.err == nil {
		return exit.code
	}
	var invalid config.Errors
	switch {
	case errors.As(err, &invalid):
		for _, e := range invalid {
			fmt.Fprintln(env.Stderr, located(env, e))
		}
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(env.Stderr, "bothy: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(env.Stderr, "bothy:", err)
	if exit != nil {
		return exit.code
	}
	return exitInfra
}

// located returns e with a short name of its file.
func located(env Env, e *config.Error) *config.Error {
	short := *e
	short.File = env.show(e.File)
	return &short
}
