package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

// command is a remote command that has been started.
type command struct {
	id   string
	lane string // the builder it runs for, as it was announced
	name string
	in   *inbox
}

var (
	// errGaveUp is why a connection is closed whose worker does not end a command.
	errGaveUp = errors.New("it did not end a command it was told to end")
	// errLeft says that a command was left to end by itself.
	errLeft = errors.New("the command was left to its end")
)

const (
	// backupTime is how long a worker waits for a killed process before it says
	// so. buildbot_worker/runprocess.py: BACKUP_TIMEOUT.
	backupTime = 5 * time.Second
	// endMargin is added to what ending a command takes at most.
	endMargin = 10 * time.Second
	// killWait is how long a command that must end at once is waited for.
	killWait = time.Second
)

// order is a command to be run.
type order struct {
	lane string
	name string
	args wire.Map
	// take gets what the command writes; it may block. An error ends the command.
	// Nil: nothing is taken.
	take func(item) error
	// serve answers what a transfer asks. An error ends the command. Nil:
	// everything is declined.
	serve func(*ask) (any, error)
	// grace is how long the worker lets the command be before it kills it.
	grace time.Duration
	// kill, when closed, ends the wait for the command soon. Nil: never.
	kill <-chan struct{}
}

// outcome is how a command ended.
type outcome struct {
	values  map[string]any // "rc" and so on
	fault   string         // not empty: it broke
	stopped bool           // because ctx ended or kill was closed
	taken   error          // of take, which ended it
	served  error          // of serve, which ended it
}

// rc is the command's exit code; an error if there is none.
func (o *outcome) rc() (int, error) {
	v, ok := o.values["rc"]
	if !ok {
		if o.fault != "" {
			return 0, fmt.Errorf("the worker says: %s", firstLine(o.fault))
		}
		return 0, errors.New("the worker gave no exit code")
	}
	n, err := wire.Int(v)
	if err != nil {
		return 0, fmt.Errorf("exit code: %w", err)
	}
	return int(n), nil
}

// exec runs a command to its end. When ctx ends, the worker is asked to end the
// command; if it does not in due time, the connection is closed. The error wraps
// [worker.ErrLost] if the connection ended first.
func (c *Conn) exec(ctx context.Context, o order) (outcome, error) {
	x := &execution{c: c, o: o, cmd: &command{id: c.nextID(o.lane), lane: o.lane, name: o.name, in: newInbox()}}
	x.out.values = map[string]any{}
	if ctx.Err() != nil {
		x.out.stopped = true
		return x.out, context.Cause(ctx)
	}
	c.running(x.cmd, true)
	defer c.running(x.cmd, false)
	defer c.link.forget(x.cmd)
	defer x.cmd.in.close()
	err := x.run(ctx)
	if x.interrupting != nil && !c.isCut() {
		// Over Perspective Broker it ends what runs now: it must not meet the
		// next command.
		<-x.interrupting
	}
	return x.out, err
}

// execution is a run of a command.
type execution struct {
	c   *Conn
	o   order
	cmd *command
	out outcome

	interrupting chan struct{} // closed when the worker has answered; nil before
	giveUp       <-chan time.Time
	leave        <-chan time.Time
}

func (x *execution) run(ctx context.Context) error {
	started := x.c.link.start(ctx, x.cmd, x.o.args)
	stop, kill := ctx.Done(), x.o.kill
	for {
		select {
		case err := <-started:
			if started = nil; err != nil {
				return x.c.lostOr(fmt.Errorf("start %s: %w", x.o.name, err))
			}
		case <-x.cmd.in.ready:
			if x.drain(1) {
				return nil
			}
		case <-stop:
			stop, x.out.stopped = nil, true
			x.interrupt("cancelled")
			if x.c.isCut() {
				x.leave = time.After(x.o.grace + killWait)
			}
		case <-kill:
			kill, x.out.stopped = nil, true
			x.interrupt("killed")
			x.leave = time.After(killWait)
		case <-x.leave:
			if kill != nil && !x.c.isCut() {
				x.leave = nil // it was cancelled while the worker was cut off, which is back
				continue
			}
			return fmt.Errorf("%w: %w", worker.ErrLost, errLeft)
		case <-x.giveUp:
			if x.c.isGone() {
				return fmt.Errorf("%w: %w", worker.ErrLost, errLeft)
			}
			x.c.link.close(errGaveUp, false)
			return x.c.lost()
		case <-x.c.link.done():
			if x.drain(-1) { // what it wrote is kept
				return nil
			}
			return x.c.lost()
		}
	}
}

// interrupt asks the worker once to end the command.
func (x *execution) interrupt(why string) {
	if x.interrupting != nil {
		return
	}
	x.interrupting = make(chan struct{})
	wait := x.o.grace + backupTime + endMargin
	x.giveUp = time.After(wait)
	go func() {
		defer close(x.interrupting)
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := x.c.link.interrupt(ctx, x.cmd, why); err != nil && x.c.link.err() == nil {
			x.c.log.Warn("worker was not told to end a command", "command", x.cmd.name, "err", err)
		}
	}()
}

// drain deals with up to n waiting events, all if n is negative, and reports
// whether the last one of the command was among them.
func (x *execution) drain(n int) (ended bool) {
	for ; n != 0; n-- {
		ev, ok := x.cmd.in.take()
		if !ok {
			return false
		}
		x.handle(ev)
		x.cmd.in.release(ev)
		if ev.ended {
			x.out.fault = ev.fault
			return true
		}
	}
	return false
}

func (x *execution) handle(ev event) {
	for _, it := range ev.items {
		if it.text == nil {
			switch it.name {
			case "rc", "files", "stat", "failure_reason": // what somebody asks for
				x.out.values[it.name] = it.value
			}
			continue
		}
		if x.o.take == nil || x.out.taken != nil {
			continue
		}
		if err := x.o.take(it); err != nil {
			x.out.taken = err
			x.interrupt("its output is not wanted")
		}
	}
	if ev.ask != nil {
		x.answer(ev.ask)
	}
}

func (x *execution) answer(a *ask) {
	if x.o.serve == nil || x.out.stopped || x.out.served != nil {
		a.decline()
		return
	}
	result, err := x.o.serve(a)
	if err != nil {
		x.out.served = err
		a.decline()
		x.interrupt("the transfer has failed")
		return
	}
	a.reply(result)
}
