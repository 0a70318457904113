package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"bothy/runner/internal/remote/lasting"
)

// Agent is a worker on its way from its start to its end.
type Agent struct {
	o       Options
	machine *machine
	tools   *lasting.Tools
	clock   clock
	held    *leased // the session with another Bothy, nil if there is none; Run's

	leaving   chan struct{} // closed by Leave
	leaveOnce sync.Once
}

// New returns a worker that is not connected yet. It makes the base directory if
// it is missing, takes it, and ends what an earlier worker left running. The
// caller must call [Agent.Run] once.
func New(ctx context.Context, o Options) (*Agent, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.BaseDir, 0o755); err != nil {
		return nil, fmt.Errorf("base directory: %w", err)
	}
	tools, err := lasting.NewTools()
	if err != nil {
		return nil, err
	}
	m, err := openMachine(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Agent{o: o, machine: m, tools: tools, leaving: make(chan struct{})}, nil
}

// Leave asks the worker to end when what runs has ended: over PB the master is
// asked to send no more, which ends the worker; over MessagePack, which has no way
// to say so, it ends when no command has run for a while. When it is not connected
// it ends at once. Leave does not wait.
func (a *Agent) Leave() { a.leaveOnce.Do(func() { close(a.leaving) }) }

// Errors that end a connection and are no failures.
var (
	// errShutdown: the master wants the worker to end.
	errShutdown = errors.New("the master has shut the worker down")
	// errLeft: Leave was called and nothing runs any more.
	errLeft = errors.New("the worker was asked to leave")
)

// ErrRefused says that the master does not let the worker in: the name or the
// password is wrong, or the name is connected already.
var ErrRefused = errors.New("the master refuses the worker")

// Run connects, again and again, until the master shuts the worker down, or Leave
// or ctx end it; then everything that ran has been ended, and Run returns nil.
// With Once it returns how the first connection ended.
func (a *Agent) Run(ctx context.Context) (err error) {
	defer func() {
		a.drop(errors.New("the worker ends"))
		err = errors.Join(err, a.machine.close())
	}()
	log := a.o.Logger
	var b backoff
	for {
		log.Info("connecting", "master", a.o.Master.Addr, "tls", a.o.Master.TLS)
		attached, err := a.connect(ctx)
		if attached {
			b.worked()
		}
		switch {
		case errors.Is(err, errShutdown), errors.Is(err, errLeft), ctx.Err() != nil:
			log.Info("ending", "because", err)
			return nil
		case a.held.live():
			d := a.held.retry()
			log.Warn("no connection: what runs goes on", "error", err, "retry", d.Round(time.Millisecond))
			if !a.bear(ctx, d) {
				log.Info("ending: not connected")
				return nil
			}
			continue
		case a.isLeaving():
			log.Info("ending: not connected", "because", err)
			return nil
		case a.o.Once:
			return err
		}
		d := b.failed()
		if errors.Is(err, ErrRefused) {
			log.Error("not attached; name and password are those of the master's configuration?", "name", a.o.Name, "error", err, "retry", d.Round(time.Millisecond))
		} else {
			log.Warn("no connection", "error", err, "retry", d.Round(time.Millisecond))
		}
		if !a.pause(ctx, d) {
			log.Info("ending: not connected")
			return nil
		}
	}
}

// bear waits before the next attempt to go on with the session, and reports
// whether there is to be one: a worker that is to leave stays while something runs.
func (a *Agent) bear(ctx context.Context, d time.Duration) bool {
	if n, _ := a.held.commands.busy(); n == 0 {
		return a.pause(ctx, d)
	}
	return wait(ctx, d)
}

func (a *Agent) isLeaving() bool {
	select {
	case <-a.leaving:
		return true
	default:
		return false
	}
}

// pause waits before the next attempt, and reports whether there is to be one.
func (a *Agent) pause(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.leaving:
			cancel()
		case <-ctx.Done():
		}
	}()
	return wait(ctx, d)
}

// connect serves one connection, and reports whether the master has accepted the
// worker. Nothing of what ran is left when it returns.
func (a *Agent) connect(ctx context.Context) (attached bool, err error) {
	password, err := a.o.Password()
	if err != nil {
		return false, err
	}
	limit := connectTime
	if a.held.live() {
		limit = resumeTime
	}
	dialing, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	if a.o.Protocol == "" {
		if a.o.Protocol, err = a.o.probe(dialing); err != nil {
			return false, err
		}
		a.o.Logger.Info("the master was asked what it speaks", "protocol", a.o.Protocol)
	}
	conn, err := a.o.dial(dialing)
	if err != nil {
		return false, err
	}
	if a.o.Protocol == Msgpack {
		return a.serveMsgpack(ctx, dialing, conn, password)
	}
	return a.servePB(ctx, dialing, conn, password)
}
