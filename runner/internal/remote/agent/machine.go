package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"bothy/localworker"
	"bothy/runner/internal/basedir"
	"bothy/runner/worker"
)

// stateDir is the directory of Bothy's own in the worker's base directory.
const stateDir = ".bothy"

// machine is what this worker may use of the system, and runs its processes.
type machine struct {
	dir    string // the base directory
	holder *basedir.Holder
	budget *localworker.Budget
	host   *localworker.Host
	kind   *localworker.Worker
	log    *slog.Logger

	mu      sync.Mutex
	counter int64 // of attempts
}

// openMachine takes the base directory, which must exist, and ends what an earlier
// worker left running. The caller must close the machine.
func openMachine(ctx context.Context, o Options) (_ *machine, err error) {
	m := &machine{dir: o.BaseDir, log: o.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	layout, err := basedir.Resolve(filepath.Join(o.BaseDir, stateDir))
	if err != nil {
		return nil, err
	}
	if m.holder, err = basedir.Hold(layout); err != nil {
		return nil, err
	}
	if m.budget, err = localworker.Shared(o.Machine, o.Logger); err != nil {
		return nil, err
	}
	m.host, err = localworker.NewHost(localworker.HostOptions{
		Budget: m.budget, BaseDir: layout.Dir, BaseID: m.holder.ID(), Version: o.Version,
		Epoch: time.Now().UnixNano(), Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	if m.holder.Crashed() {
		ended, err := m.host.Sweep(ctx)
		for _, p := range ended {
			m.log.Warn("ended a process of an earlier worker", "pid", p.PID, "name", p.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("end the processes of an earlier worker: %w", err)
		}
	}
	m.kind, err = m.host.NewWorker(o.Name, layout.WorkDir)
	return m, err
}

// close ends everything that still runs and gives the base directory back.
func (m *machine) close() error {
	var errs []error
	if m.host != nil {
		errs = append(errs, m.host.Close())
	}
	if m.budget != nil {
		m.budget.Close()
	}
	if m.holder != nil {
		if errors.Join(errs...) == nil {
			errs = append(errs, m.holder.Clean())
		}
		errs = append(errs, m.holder.Close())
	}
	return errors.Join(errs...)
}

// places is where the commands of one connection run. What a command leaves
// running when it ends goes on until the connection does.
type places struct {
	m    *machine
	conn worker.Conn

	mu   sync.Mutex
	free []worker.Build
	all  []worker.Build
}

// attach returns places for a new connection. The caller must end them.
func (m *machine) attach(ctx context.Context) (*places, error) {
	c, err := m.kind.Attach(ctx)
	if err != nil {
		return nil, err
	}
	return &places{m: m, conn: c}, nil
}

// take returns a place where no command runs, to be given back.
func (p *places) take(ctx context.Context) (worker.Build, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		defer p.mu.Unlock()
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b, nil
	}
	p.mu.Unlock()
	p.m.mu.Lock()
	p.m.counter++
	n := p.m.counter
	p.m.mu.Unlock()
	b, err := p.conn.StartBuild(ctx, worker.BuildSpec{
		Token: worker.Token{Epoch: 1, Counter: n}, Builder: "remote", Number: n,
		Source: worker.Source{Kind: worker.SourceTree, Dir: p.m.dir},
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, b)
	return b, nil
}

func (p *places) give(b worker.Build) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
}

// kill ends all processes at once.
func (p *places) kill() {
	if err := p.conn.Close(); err != nil {
		p.m.log.Warn("ending processes", "error", err)
	}
}

// end gives up the places when no command uses them any more, with what was left
// running there.
func (p *places) end() {
	p.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.all {
		r, err := b.End(context.Background(), worker.DropDir)
		for _, e := range r.Ended {
			p.m.log.Info("ended a process that a command had left", "pid", e.PID, "name", e.Name)
		}
		if err != nil {
			p.m.log.Warn("ending processes", "error", err)
		}
	}
	p.all, p.free = nil, nil
}
