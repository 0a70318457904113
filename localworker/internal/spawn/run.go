package spawn

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"bothy/runner/worker"
)

// Run runs one command to its end, as [worker.Build] says; but cmd.Dir must be
// absolute and exist. sink is never called from two goroutines at once, and
// not after Run has returned. The error is a [*StartError] or wraps [ErrSpawner].
//
// A command ends when its first process does, whoever still holds its output:
// what is in the pipe is read, then the pipe is closed. What it left runs on
// until [Build.End].
func (b *Build) Run(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	if ctx.Err() != nil || b.isKilled() {
		return worker.Exit{Code: -1, Stopped: worker.Cancelled}, nil
	}
	path, err := lookPath(cmd.Argv, cmd.Env, cmd.Dir)
	if err != nil {
		return worker.Exit{}, err
	}
	out := newOutput(sink, cmd.MaxLines)
	io, err := openStdio(cmd, &b.s.pipes)
	if err != nil {
		return worker.Exit{}, fmt.Errorf("start %q: %w", cmd.Argv[0], err)
	}
	b.step++
	b.setPeak(0)
	err = b.s.exec.start(&request{
		build: b.counter, step: b.step, label: cmd.Label,
		path: path, argv: cmd.Argv, env: cmd.Env, dir: cmd.Dir,
		tty: cmd.PTY, stdin: cmd.Stdin != nil,
	}, io.child())
	io.closeChild()
	if err != nil {
		io.close()
		return worker.Exit{}, fmt.Errorf("start %q: %w", cmd.Argv[0], err)
	}
	b.left = true
	io.pump(out)
	logs := follow(cmd.LogFiles, cmd.Dir, out)
	r := running{b: b, cmd: cmd, out: out, begun: b.s.tally.begun.Load(), only: b.s.tally.open.Load() == 1, w: waiter{exec: b.s.exec, scope: theStep, signal: int64(cmd.Interrupt)}}
	err = r.wait(ctx)
	logs.finish()
	io.finish()
	if err != nil {
		return worker.Exit{}, err
	}
	select {
	case why := <-out.trouble: // in what was read after the end
		if r.exit.Stopped == worker.NotStopped {
			r.exit.Stopped = why
		}
	default:
	}
	r.exit.SinkErr = out.sinkErr()
	return r.exit, nil
}

func (b *Build) isKilled() bool {
	select {
	case <-b.killed:
		return true
	default:
		return false
	}
}

func (b *Build) setPeak(n int64) {
	b.mu.Lock()
	b.peak = n
	b.mu.Unlock()
}

// running is a command between its start and its end.
type running struct {
	b    *Build
	cmd  worker.Command
	out  *output
	w    waiter
	over bool // exited or failed was told

	only  bool  // no other build of the pool was open when it began,
	begun int64 // and so many had been begun

	exit worker.Exit
	err  error
}

// wait returns when the command is over and, if it had to be stopped, nothing
// of it is left.
func (r *running) wait(ctx context.Context) error {
	defer r.w.close()
	quiet, life := timer(r.cmd.Timeout), timer(r.cmd.MaxTime)
	defer quiet.Stop()
	defer life.Stop()
	done, killed, atOnce := ctx.Done(), r.b.killed, r.cmd.Kill
	for !r.over || r.w.pending {
		select {
		case ev, ok := <-r.b.s.exec.events():
			if !ok || ev.kind == lost {
				r.b.left, r.b.orphans = false, ev.ended
				return fmt.Errorf("run %q: %w", r.cmd.Argv[0], r.b.s.exec.err())
			}
			r.event(ev)
		case <-done:
			done = nil
			r.stop(worker.Cancelled)
		case <-killed:
			killed = nil
			r.stop(worker.Cancelled)
			r.w.kill()
		case <-atOnce:
			atOnce = nil
			r.stop(worker.Cancelled)
			r.w.kill()
		case why := <-r.out.trouble:
			r.stop(why)
		case <-quiet.C:
			if idle := r.out.idle(); idle < r.cmd.Timeout {
				quiet.Reset(r.cmd.Timeout - idle)
			} else {
				r.stop(worker.TimedOut)
			}
		case <-life.C:
			r.stop(worker.MaxTimed)
		case <-r.w.timer():
			if err := r.w.expired(); err != nil {
				return fmt.Errorf("run %q: %w", r.cmd.Argv[0], err)
			}
		}
	}
	return r.err
}

// stop begins to end the command; the first reason stays.
func (r *running) stop(why worker.Stopped) {
	if r.exit.Stopped == worker.NotStopped {
		r.exit.Stopped = why
		r.w.begin(r.cmd.SigtermTime)
	}
}

func (r *running) event(e event) {
	if e.step != r.b.step {
		return
	}
	r.w.event(e)
	switch e.kind {
	case failed:
		r.over = true
		r.err = &StartError{Name: r.cmd.Argv[0], Err: startReason(e)}
	case exited:
		r.over = true
		r.ended(e)
	case gone:
		r.exit.Ended = e.ended
	}
	r.b.left = r.b.left && e.left
}

func (r *running) ended(e event) {
	x := &r.exit
	x.Code = int(e.status)
	if e.status&signalled != 0 {
		x.Code = -1
		x.Signal = signalName(syscall.Signal(e.status &^ signalled))
	}
	b := r.b
	b.mu.Lock()
	x.Usage = worker.Usage{PeakMemory: max(b.peak, e.maxRSS), CPU: time.Duration(e.cpu)}
	b.usage.PeakMemory = max(b.usage.PeakMemory, x.Usage.PeakMemory)
	b.usage.CPU += x.Usage.CPU
	b.mu.Unlock()
	switch {
	case e.oom > 0:
		// A counter that others share tells of ours if one of ours was killed, or
		// nobody else can have been.
		certain := e.certain || e.struck || r.only && b.s.tally.only(r.begun) && b.s.exec.alone()
		x.OOM = &worker.OOM{Certain: certain}
		if x.OOM.At, x.OOM.Limit = b.s.exec.limit(b.counter); x.OOM.At == 0 {
			x.OOM.At = x.Usage.PeakMemory
		}
	case x.Signal == "SIGKILL" && x.Stopped == worker.NotStopped && !e.counted:
		// Nobody here did it, and there is no counter that would have told.
		x.OOM = &worker.OOM{At: x.Usage.PeakMemory}
	}
}

func startReason(e event) error {
	switch {
	case e.errno == 0:
		return errors.New(e.text)
	case e.text == "":
		return syscall.Errno(e.errno)
	}
	return fmt.Errorf("%s: %w", e.text, syscall.Errno(e.errno))
}

// timer returns one that never fires when d is 0.
func timer(d time.Duration) *time.Timer {
	if d > 0 {
		return time.NewTimer(d)
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}
