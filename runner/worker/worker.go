// Package worker says what a worker is to the master: how a connection to one
// comes about ([Kind]), what can be done over it ([Conn], [Build]), and what a
// command and its outcome look like. It holds no policy and does no I/O; local,
// remote and latent workers implement it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Kind is one way for a worker to come about. Local workers attach at once,
// remote ones when they dial in, latent ones after an instance was started.
type Kind interface {
	// Attach returns the worker's connection, waiting for it until ctx ends.
	Attach(ctx context.Context) (Conn, error)
	// Release gives back what Attach needed beyond the connection. With force
	// it does not wait for running builds.
	Release(ctx context.Context, force bool) error
}

// Conn is a live connection to a worker. Its methods may be called from many
// goroutines.
type Conn interface {
	// Info returns the facts the worker told about itself when it attached.
	Info() Info
	// StartBuild prepares the directory of a build. The caller must call
	// [Build.End] on the result exactly once. An error says what failed: of which
	// build and on which worker the caller says.
	StartBuild(ctx context.Context, spec BuildSpec) (Build, error)
	// Ping returns when the worker has answered.
	Ping(ctx context.Context) error
	// Done is closed when the connection is lost or closed; Err then says why.
	Done() <-chan struct{}
	Err() error
	// Close ends the connection and everything that runs over it.
	Close() error
}

// Environer is a [Conn] to a worker whose commands start from an environment of
// its own, not from the master's.
type Environer interface {
	// Environ returns it as "NAME=value". The caller must not change it.
	Environ() []string
}

// Shutdowner is a [Conn] to a worker that has a process of its own. Shutdown
// asks that to end and returns when the worker has heard it; the connection
// then ends by itself. A worker without it ends when its connection is closed.
type Shutdowner interface {
	Shutdown(ctx context.Context) error
}

// Build is one build on one worker. One command runs at a time.
type Build interface {
	// Dir is the absolute directory in which steps run unless they say otherwise.
	Dir() string
	// Properties are facts found while preparing, such as got_revision.
	Properties() map[string]any
	// Run runs one command to its end. Ending ctx cancels the command: it is
	// sent TERM, then KILL after cmd.SigtermTime; Run returns when no process of
	// the command is left, and the error is nil: Exit.Stopped tells. An error
	// means the command could not be run, or what became of it is unknown; a
	// lost connection is an error that wraps [ErrLost].
	Run(ctx context.Context, cmd Command, sink Sink) (Exit, error)
	// End ends every process the build left running, then keeps or removes its
	// directory as the result asks. It must be called even after an error.
	End(ctx context.Context, keep KeepDir) (Receipt, error)
}

// ErrLost says that the worker's connection went away.
var ErrLost = errors.New("lost connection to the worker")

// Info holds what a worker says about itself: system, version, numcpus,
// os_id and so on. A nil value is known to be absent.
type Info map[string]any

// Token fences one attempt at a build: what carries an older token is refused.
// The epoch rises with every start of the master, the counter with every attempt.
type Token struct {
	Epoch   int64 `json:"epoch"`
	Counter int64 `json:"counter"`
}

// String returns "EPOCH.COUNTER".
func (t Token) String() string { return fmt.Sprintf("%d.%d", t.Epoch, t.Counter) }

// ErrStart says that a command could not be started for a reason that lies with
// it: there is no such program, or it may not be run. The step has failed.
var ErrStart = errors.New("not started")

// BuildSpec says what a worker must know before the first step.
type BuildSpec struct {
	Token     Token
	Builder   string
	Number    int64 // the build's number within its builder
	Source    Source
	Workspace Workspace
	Need      Need
	// Slot is what the master reserved for the build, passed through as is;
	// local workers find their budget's reservation in it.
	Slot any
}

// Source says where a build's directory comes from.
type Source struct {
	Kind   SourceKind `json:"kind"`
	Dir    string     `json:"dir,omitempty"`    // for tree and copy: the directory to use or to snapshot, absolute
	URL    string     `json:"url,omitempty"`    // for git
	Branch string     `json:"branch,omitempty"` // for git; empty: the remote's HEAD
	// Revision is the commit to check out; empty: the head of Branch.
	Revision string `json:"revision,omitempty"`
}

// SourceKind is one of the ways to fill a build's directory.
type SourceKind string

// The kinds of source.
const (
	SourceTree SourceKind = "tree" // in place
	SourceCopy SourceKind = "copy" // a snapshot of Dir: tracked, dirty and untracked files, not ignored ones
	SourceGit  SourceKind = "git"
	SourceNone SourceKind = "none" // an empty directory
)

// Workspace says whether a build starts in a fresh directory.
type Workspace string

// The kinds of workspace.
const (
	WorkspaceFresh Workspace = "fresh"
	WorkspaceKeep  Workspace = "keep" // the directory of the builder's last build on this worker
)

// KeepDir says what becomes of a build's directory.
type KeepDir int

// What to do with a build's directory at its end. Trees are never touched.
const (
	DropDir   KeepDir = iota // remove a fresh directory
	RetainDir                // move it aside for a person to look at; [Receipt.Kept] says where
)

// Need is what a build is planned to use at the same time.
type Need struct {
	CPUs   float64 // logical CPUs
	Memory int64   // bytes
}

// Command is one program to run for a step.
type Command struct {
	Argv        []string      // the program and its arguments; looked up in Env's PATH
	Dir         string        // absolute, or relative to Build.Dir; made when missing
	Env         []string      // the whole environment, "NAME=value"
	Stdin       []byte        // nil: /dev/null
	PTY         bool          // run on a pseudo terminal: stdout and stderr become one stream
	Timeout     time.Duration // without output; 0: none
	MaxTime     time.Duration // in all; 0: none
	SigtermTime time.Duration // from TERM to KILL; 0: KILL at once
	// Interrupt is sent instead of TERM; 0: TERM. Systems without signals, and
	// workers of Buildbot's, know no other.
	Interrupt syscall.Signal
	MaxLines  int       // of stdout and stderr together; 0: any number
	LogFiles  []LogFile // files the command writes, followed while it runs
	// Hide returns a text without the secrets in it, for a worker that logs what it
	// runs. Nil: there are none.
	Hide func(string) string
	// Label names the command in process receipts and cgroups, such as "3.1".
	Label string
	// Kill, when closed, ends the command at once, whatever SigtermTime says
	// and however far a gentler end has come. Nil: never.
	Kill <-chan struct{}
}

// LogFile is a file that is copied into a log of its own while a command runs.
type LogFile struct {
	Name   string
	Path   string // absolute, or relative to the command's directory
	Follow bool   // begin at its present end
}

// Stream tells the parts of a log apart.
type Stream byte

// The streams of a log.
const (
	Stdout Stream = 'o'
	Stderr Stream = 'e'
	Header Stream = 'h' // written by Bothy, not by the command
)

// Sink takes a command's output. Output is called one at a time, and not after
// [Build.Run] has returned. It may block: that is the back-pressure. An error
// ends the command. log is "" for the command's own output, else the name of a
// [LogFile]. p is only valid during the call.
type Sink interface {
	Output(log string, s Stream, p []byte) error
}

// Stopped says what ended a command before its own end.
type Stopped string

// Why a command was ended.
const (
	NotStopped Stopped = ""
	Cancelled  Stopped = "cancelled" // the context ended
	TimedOut   Stopped = "timeout"   // no output for Timeout
	MaxTimed   Stopped = "max_time"
	MaxLined   Stopped = "max_lines"
	SinkFailed Stopped = "sink" // the sink refused output; Exit.SinkErr says why
)

// Exit is how a command ended.
type Exit struct {
	Code    int    // exit status; -1 when killed by a signal
	Signal  string // "SIGKILL" and so on when killed by a signal
	Stopped Stopped
	SinkErr error
	Ended   []Process // left-over processes that had to be ended when it was stopped
	Usage   Usage
	OOM     *OOM // nil: no sign of the kernel's out-of-memory killer
}

// Usage is what a tree of processes used.
type Usage struct {
	PeakMemory int64         // bytes: the larger of sampled anonymous + shared memory and ru_maxrss
	CPU        time.Duration // user and system
}

// OOM says that the kernel ended a process for want of memory.
type OOM struct {
	Certain bool  // false: "perhaps"
	At      int64 // bytes in use when it happened, 0: unknown
	Limit   int64 // bytes, 0: unknown
}

// Process names a process that was ended.
type Process struct {
	PID  int
	Name string // as in /proc/PID/cmdline, shortened
}

// Receipt says what the end of a build had to clean up.
type Receipt struct {
	Ended []Process
	Usage Usage
	Kept  string // the retained directory, "" if none
}
