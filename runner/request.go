package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// Request asks for a build.
type Request struct {
	Builder string // required
	// Priority of the request; higher goes first. 0: the builder's.
	Priority int
	Reason   string
	// Properties become the build's, with the source "Request". Values must be
	// what JSON can say.
	Properties map[string]any
	Worker     string // the only worker that may run it; "": any of the builder's
	Branch     string // what to build; "": the source's default
	Revision   string
}

// BuildRequest is a request that was accepted. It is on disk, and will be
// finished even if this process ends and another takes over.
type BuildRequest struct {
	ID      int64
	Builder string
	ticket  *engine.Ticket
	r       *Runner
}

// Submit accepts a request. It returns when the request is on disk.
//
// A builder that collapses requests (the default) finishes an older pending
// request for the same build as SKIPPED; see [Build.ReplacedBy].
func (r *Runner) Submit(ctx context.Context, q Request) (*BuildRequest, error) {
	all, err := r.SubmitAll(ctx, q)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// SubmitAll accepts all requests, or none, in one write to disk.
func (r *Runner) SubmitAll(ctx context.Context, qs ...Request) ([]*BuildRequest, error) {
	subs := make([]engine.Submission, len(qs))
	for i, q := range qs {
		props := build.Properties{}
		for name, v := range q.Properties {
			if err := props.Set(name, v, "Request"); err != nil {
				return nil, fmt.Errorf("submit to %s: %w", q.Builder, err)
			}
		}
		subs[i] = engine.Submission{
			Builder: q.Builder, Priority: q.Priority, Reason: q.Reason, Properties: props,
			Worker: q.Worker, Branch: q.Branch, Revision: q.Revision,
		}
	}
	tickets, err := r.engine.Submit(ctx, subs...)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	out := make([]*BuildRequest, len(tickets))
	for i, t := range tickets {
		out[i] = &BuildRequest{ID: t.ID, Builder: qs[i].Builder, ticket: t, r: r}
	}
	return out, nil
}

// Wait returns the request's outcome once that is on disk. It returns
// [ErrStopped] when the Runner ends first; the request then waits for the next.
func (q *BuildRequest) Wait(ctx context.Context) (*Build, error) {
	select {
	case <-q.ticket.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.r.done:
		select {
		case <-q.ticket.Done():
		default:
			return nil, ErrStopped
		}
	}
	req, b := q.ticket.Outcome()
	out := newBuild(b)
	out.Request, out.Builder = req.ID, req.Builder
	out.Result, out.Text, out.ReplacedBy, out.Completed = req.Result, req.Text, req.Replaced, req.Completed
	return out, nil
}

// Cancel ends the request: at once if it is pending, else with its build, whose
// step gets its grace. It returns [ErrUnknown] if the request is finished.
func (q *BuildRequest) Cancel(ctx context.Context, reason string) error {
	return q.r.engine.Cancel(ctx, q.ID, reason, false)
}

// Why says, for a pending request, what keeps it from starting, per worker.
func (q *BuildRequest) Why(ctx context.Context) ([]string, error) {
	reasons, err := q.r.engine.Why(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(reasons))
	for i, w := range reasons {
		out[i] = w.Reason
		if w.Worker != "" {
			out[i] = w.Worker + ": " + w.Reason
		}
	}
	return out, nil
}

// Build is one attempt at a request, or, from [BuildRequest.Wait], the
// request's outcome with its last attempt.
type Build struct {
	ID      int64 // 0: none was started
	Request int64
	Builder string
	Number  int64 // counts within the builder, from 1
	Attempt int   // of the request, from 1
	Worker  string

	Started   time.Time
	Completed time.Time // zero while it runs
	Result    build.Result
	Text      string      // the result in words
	Cause     build.Cause // of an EXCEPTION

	Properties build.Properties
	Dir        string        // the directory it ran in
	Kept       string        // where the directory of a failed build was kept, "" if it was not
	PeakMemory int64         // bytes, 0: not known
	CPU        time.Duration // user and system
	Ended      []string      // left-over processes that had to be ended
	ReplacedBy int64         // the request this one was collapsed into, 0: none
}

func newBuild(b store.Build) *Build {
	return &Build{
		ID: b.ID, Request: b.Request, Builder: b.Builder, Number: b.Number, Attempt: b.Attempt, Worker: b.Worker,
		Started: b.Started, Completed: b.Completed, Result: b.Result, Text: b.Text, Cause: build.Cause(b.Cause),
		Properties: b.Properties, Dir: b.Dir, Kept: b.Kept, PeakMemory: b.PeakMemory, CPU: b.CPU, Ended: b.Ended,
	}
}

// Err is nil if the build came out as SUCCESS, WARNINGS or SKIPPED, and else an
// error with its result in words.
func (b *Build) Err() error {
	switch b.Result {
	case build.Success, build.Warnings, build.Skipped:
		return nil
	}
	return errors.New(b.Builder + ": " + b.Text)
}
