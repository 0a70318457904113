// Package control is what passes between a running master and a terminal that
// asked it for builds: one request, then a stream of updates. In one process
// the stream is a function call; over the control socket it is JSON lines.
package control

import (
	"time"

	"bothy/runner/build"
)

// RunRequest asks for builds and to be told about them until the last has ended.
type RunRequest struct {
	Session  string            `json:"session"`            // random, names the asker over a change of master
	Builders []string          `json:"builders,omitempty"` // none: all, unless Argv is given
	Argv     []string          `json:"argv,omitempty"`     // an ad-hoc build of this command
	Props    map[string]string `json:"props,omitempty"`
	Dir      string            `json:"dir"`              // the asker's directory, absolute
	Env      []string          `json:"env"`              // the asker's environment
	Digest   string            `json:"digest,omitempty"` // of the asker's configuration file
	File     string            `json:"file,omitempty"`   // the asker's configuration file, absolute
	KeepOn   bool              `json:"keep_going,omitempty"`
	Reattach []int64           `json:"reattach,omitempty"` // requests accepted by a master that has gone, finished ones too
}

// UpdateKind names what an [Update] tells.
type UpdateKind string

// The kinds of update, in the order in which a build passes them.
const (
	Accepted  UpdateKind = "accepted"  // Request and Builder: the request is on disk
	Pending   UpdateKind = "pending"   // Text: what keeps the request from starting
	BuildNew  UpdateKind = "build"     // a build started
	StepNew   UpdateKind = "step"      // a step started
	Output    UpdateKind = "output"    // Data from the step's log Log
	Gap       UpdateKind = "gap"       // Count bytes of output were skipped for this terminal; they are in the log
	StepEnd   UpdateKind = "step-end"  // Result, Text
	BuildEnd  UpdateKind = "build-end" // Result, Text, Ended, LogPath; the build may be retried
	RequestOK UpdateKind = "request"   // Result: the request is finished and on disk
	Note      UpdateKind = "note"      // Text for the person
	End       UpdateKind = "end"       // Result: the worst of all; Text: why the ends of builds are not on disk, if so; nothing follows
)

// Update is one piece of news. Fields that make no sense for its kind are zero.
type Update struct {
	Kind     UpdateKind    `json:"kind"`
	Time     time.Time     `json:"time"`
	Request  int64         `json:"request,omitempty"`
	Builder  string        `json:"builder,omitempty"`
	Number   int64         `json:"number,omitempty"` // of the build
	Attempt  int           `json:"attempt,omitempty"`
	Worker   string        `json:"worker,omitempty"`
	Step     int           `json:"step,omitempty"`
	Steps    int           `json:"steps,omitempty"` // planned steps of the build
	Name     string        `json:"name,omitempty"`  // of the step
	Log      string        `json:"log,omitempty"`
	Stream   string        `json:"stream,omitempty"` // "o", "e" or "h"
	Data     []byte        `json:"data,omitempty"`
	Count    int64         `json:"count,omitempty"`
	Result   build.Result  `json:"result"`
	Text     string        `json:"text,omitempty"`
	Hidden   bool          `json:"hidden,omitempty"`
	Expected time.Duration `json:"expected,omitempty"` // from history; 0: unknown
	Elapsed  time.Duration `json:"elapsed,omitempty"`
	Ended    []string      `json:"ended,omitempty"` // left-over processes that were ended
	LogPath  string        `json:"log_path,omitempty"`
	Kept     string        `json:"kept,omitempty"` // the directory of a failed build
	// ExitCode is set on End: product.md's exit codes.
	ExitCode int `json:"exit_code,omitempty"`
}

// Cancel is what the asker may send while the stream runs.
type Cancel struct {
	Now    bool   `json:"now"` // skip always_run steps and grace
	Reason string `json:"reason"`
}

// SubmitRequest asks for builds that nobody waits for.
type SubmitRequest struct {
	Builders []string          `json:"builders"` // one request each; a name may stand more than once
	Priority int               `json:"priority,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Props    map[string]string `json:"props,omitempty"`
}

// Submitted are the requests that were accepted; they are on disk.
type Submitted struct {
	Requests []int64 `json:"requests"`
}

// Status says what a master does at present.
type Status struct {
	PID      int    `json:"pid"`
	Pending  int    `json:"pending"`            // requests
	Running  int    `json:"running"`            // builds
	Degraded string `json:"degraded,omitempty"` // why nothing can be recorded
	Stopping bool   `json:"stopping,omitempty"`
}
