package build

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Result is how a step, a build or a request ended. The numbers are Buildbot's.
type Result int8

// The results, and [None] for what has not finished.
const (
	None      Result = -1
	Success   Result = 0
	Warnings  Result = 1
	Failure   Result = 2
	Skipped   Result = 3
	Exception Result = 4
	Retry     Result = 5
	Cancelled Result = 6
)

var resultNames = [...]string{"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"}

// severity orders results for [Worst]. Buildbot: worst_status.
var severity = [...]int8{Skipped: 1, Success: 2, Warnings: 3, Failure: 4, Exception: 5, Retry: 6, Cancelled: 7}

// Valid reports whether r is one of the seven results; [None] is not.
func (r Result) Valid() bool { return r >= Success && r <= Cancelled }

// String returns the name of the result: "success", …, or "none".
func (r Result) String() string {
	switch {
	case r == None:
		return "none"
	case r.Valid():
		return resultNames[r]
	}
	return "result(" + strconv.Itoa(int(r)) + ")"
}

// ParseResult returns the result with the given name. "none" is not one.
func ParseResult(name string) (Result, error) {
	for i, n := range resultNames {
		if n == name {
			return Result(i), nil
		}
	}
	return None, fmt.Errorf("unknown result %q", name)
}

// MarshalJSON writes the number of the result, null for [None].
func (r Result) MarshalJSON() ([]byte, error) {
	if r == None {
		return []byte("null"), nil
	}
	if !r.Valid() {
		return nil, fmt.Errorf("encoding result: no such result %d", int(r))
	}
	return []byte{'0' + byte(r)}, nil
}

// UnmarshalJSON reads the number of a result; null and -1 are [None].
func (r *Result) UnmarshalJSON(data []byte) error {
	n := int(None)
	if err := json.Unmarshal(data, &n); err != nil {
		return fmt.Errorf("decoding result: %w", err)
	}
	if n < int(None) || n > int(Cancelled) {
		return fmt.Errorf("decoding result: no such result %d", n)
	}
	*r = Result(n)
	return nil
}

func (r Result) severity() int8 {
	if !r.Valid() {
		return 0
	}
	return severity[r]
}

// Worst returns the worse of two results: cancelled > retry > exception >
// failure > warnings > success > skipped > [None].
func Worst(a, b Result) Result {
	if b.severity() > a.severity() {
		return b
	}
	return a
}

// Flags say what a step's result means for its build.
type Flags struct {
	HaltOnFailure   bool // a failure ends the build: only AlwaysRun steps still run
	FlunkOnFailure  bool // a failure makes the build a failure
	FlunkOnWarnings bool // warnings make the build a failure
	WarnOnFailure   bool // a failure gives the build warnings, unless it flunks it
	WarnOnWarnings  bool // warnings give the build warnings, unless they flunk it
	AlwaysRun       bool // the step runs also after the build was ended early
}

// DefaultFlags returns the flags of a step that says nothing: a failure halts
// and flunks the build. Buildbot's default does not halt.
func DefaultFlags() Flags {
	return Flags{HaltOnFailure: true, FlunkOnFailure: true}
}

// Apply returns the build's result after a step ended with the given result, and
// whether the build must not go on. soFar is [None] or [Success] before the
// first step.
func (f Flags) Apply(step, soFar Result) (result Result, halt bool) {
	// Buildbot: computeResultAndTermination.
	contributes := step
	switch step {
	case Failure:
		contributes = pick(f.FlunkOnFailure, f.WarnOnFailure)
		halt = f.HaltOnFailure
	case Warnings:
		contributes = pick(f.FlunkOnWarnings, f.WarnOnWarnings)
	case Exception, Retry, Cancelled:
		halt = true
	}
	return Worst(soFar, contributes), halt
}

func pick(flunk, warn bool) Result {
	switch {
	case flunk:
		return Failure
	case warn:
		return Warnings
	}
	return Success
}

// Cause says who is to blame for an [Exception].
type Cause string

// The causes of an exception.
const (
	CauseNone    Cause = ""        // not an exception
	CauseWorker  Cause = "worker"  // the build could not be prepared or carried out on its worker
	CauseStep    Cause = "step"    // a step broke (not: failed) on its worker
	CauseMaster  Cause = "master"  // a fault of the master itself
	CauseDisk    Cause = "disk"    // what happened could not be recorded
	CauseRetries Cause = "retries" // lost too often to be run again
	CauseOOM     Cause = "oom"     // ended for want of memory
	CauseConfig  Cause = "config"  // the configuration cannot be carried out, such as a secret that does not exist
)

// BlamesWorker reports whether an exception with this cause counts as
// misbehaviour of the worker it happened on.
func (c Cause) BlamesWorker() bool { return c == CauseWorker || c == CauseStep }
