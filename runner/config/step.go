package config

import (
	"time"

	"bothy/runner/build"
)

// Step is one step of a builder: a command, or a Go function of the embedder.
// Texts marked "interpolated" may hold %(prop:NAME)s and its kin, see
// [build.Parse].
type Step struct {
	// Name is at most 50 characters. Default: the command's first line, or the
	// function's name. Of equal names in one builder all but the first get _1,
	// _2 and so on.
	Name string
	Run  Run    // the command; interpolated
	Func string // name of a Go step, instead of Run

	Workdir string            // relative to the build's directory; interpolated
	Env     map[string]string // over the builder's; interpolated

	Timeout     time.Duration // longest time without output; default 20 min, Off: none
	MaxTime     time.Duration // longest time in all; default 0: none
	SigtermTime time.Duration // from TERM to KILL; default 10 s, Off: KILL at once
	PTY         bool          // run on a pseudo terminal
	LogEnviron  bool          // write the environment into the log
	MaxLines    int           // of output; default 0: any number

	// DecodeRC gives the results of exit statuses. What is not in it is a
	// failure, except 0, which is a success unless the map says otherwise.
	DecodeRC map[int]build.Result
	// Flags say what the step's result means for the build. Nil:
	// [build.DefaultFlags]. It is never nil after Complete.
	Flags  *build.Flags
	DoIf   string // run the step only if this is true after interpolation; "" always
	HideIf string // hide the step if this is true after interpolation; "" never

	Locks     []LockAccess // held for this step
	LogFiles  []LogFile    // followed while the step runs; sorted by name
	Stdin     string       // given to the command; interpolated
	Retries   int          // how often a failed step is tried again; default 0
	Artifacts []string     // patterns of files to keep, see [worker.ParsePattern]; interpolated
	JUnit     []string     // patterns of test reports to read; interpolated
}

// Run is a command: a line for the shell or a program with its arguments. Only
// one of the two is set.
type Run struct {
	Shell string   // for /bin/sh -c, or cmd.exe /c on Windows
	Argv  []string // started as it is
}

// IsZero reports whether there is no command.
func (r Run) IsZero() bool { return r.Shell == "" && len(r.Argv) == 0 }

// LogFile is a file that becomes a log of its own while a step runs.
type LogFile struct {
	Name   string // of the log
	Path   string // relative to the step's directory; interpolated
	Follow bool   // begin at the file's present end
}

// Shell returns a step that runs line with the shell.
func Shell(line string) Step { return Step{Run: Run{Shell: line}} }

// Argv returns a step that runs a program with its arguments, without a shell.
func Argv(program string, args ...string) Step {
	return Step{Run: Run{Argv: append([]string{program}, args...)}}
}

// Func returns a step that runs the embedder's Go step of that name.
func Func(name string) Step { return Step{Func: name} }
