package localworker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"bothy/localworker/internal/spawn"
	"bothy/localworker/internal/workspace"
	"bothy/runner/worker"
)

// build is one build of a local worker.
type build struct {
	conn   *conn
	spec   worker.BuildSpec
	slot   *Reservation // nil: the build is not measured
	cancel context.CancelCauseFunc
	area   *workspace.Area
	dir    *workspace.Dir

	// running is held while a command runs and while processes are ended.
	running sync.Mutex
	spawner *spawn.Spawner // nil before the first command
	receipt worker.Receipt
	over    bool // nothing more is run

	mu     sync.Mutex
	killed bool
	proc   *spawn.Build // as spawner, also used by kill
}

var _ worker.Build = (*build)(nil)

var errEnded = errors.New("the build has ended")

func (b *build) Dir() string { return b.dir.Path }

func (b *build) Properties() map[string]any { return b.dir.Properties }

// Run runs one command. Its directory is made when it is missing.
func (b *build) Run(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	b.running.Lock()
	defer b.running.Unlock()
	if !filepath.IsAbs(cmd.Dir) {
		cmd.Dir = filepath.Join(b.dir.Path, cmd.Dir)
	}
	if err := os.MkdirAll(cmd.Dir, 0o755); err != nil {
		return worker.Exit{}, fmt.Errorf("directory of the command: %w", err)
	}
	return b.exec(ctx, cmd, sink)
}

// exec runs a command on the build's spawner, starting that when it is the first.
// The caller holds running.
func (b *build) exec(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error) {
	if b.over {
		if b.isKilled() {
			return worker.Exit{}, errKilled
		}
		return worker.Exit{}, errEnded
	}
	if err := b.begin(ctx); err != nil {
		switch {
		case b.isKilled():
			return worker.Exit{}, errKilled
		case ctx.Err() != nil: // it never began: cancelled like one that runs
			return worker.Exit{Code: -1, Stopped: worker.Cancelled}, nil
		}
		return worker.Exit{}, err
	}
	exit, err := b.proc.Run(ctx, cmd, sink)
	if b.isKilled() {
		return exit, errKilled
	}
	if errors.Is(err, spawn.ErrSpawner) {
		// Steps that always run get another one.
		b.giveUp()
	}
	return exit, err
}

// begin gets a spawner.
func (b *build) begin(ctx context.Context) error {
	if b.spawner != nil {
		return nil
	}
	host := b.conn.w.host
	s, err := host.takeWarm(ctx)
	if err != nil {
		return err
	}
	proc, err := s.Begin(b.spec.Token.Counter)
	if err != nil {
		return errors.Join(err, host.discard(s))
	}
	b.spawner = s
	b.mu.Lock()
	b.proc = proc
	if b.killed {
		proc.Kill()
	}
	b.mu.Unlock()
	if b.slot != nil {
		b.slot.measure(proc.Sample)
	}
	return nil
}

// kill ends what runs; the next to hold running finds nothing left to wait for.
func (b *build) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killed = true
	b.cancel(errKilled)
	if b.proc != nil {
		b.proc.Kill()
	}
}

func (b *build) isKilled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.killed
}

// End ends the build's processes and gives its directory back.
func (b *build) End(ctx context.Context, keep worker.KeepDir) (worker.Receipt, error) {
	b.running.Lock()
	receipt, err := b.endProcesses(ctx)
	b.running.Unlock()
	kept, left, dirErr := b.dir.Release(keep)
	receipt.Kept = kept
	if left != "" {
		b.conn.w.host.clear(leftover{b.area, left})
	}
	b.conn.remove(b)
	if err = errors.Join(err, dirErr); err != nil {
		return receipt, fmt.Errorf("end build %s #%d on %s: %w", b.spec.Builder, b.spec.Number, b.conn.w.name, err)
	}
	return receipt, nil
}

// endProcesses ends what the build left running, once. The caller holds running.
func (b *build) endProcesses(ctx context.Context) (worker.Receipt, error) {
	if b.over {
		return b.receipt, nil
	}
	b.over = true
	if b.spawner == nil {
		return b.receipt, nil
	}
	r, err := b.proc.End(ctx)
	b.account(r)
	if errors.Is(err, spawn.ErrSpawner) {
		b.giveUp()
		return b.receipt, err
	}
	s := b.detach()
	b.conn.w.host.give(s)
	return b.receipt, err
}

// giveUp closes a spawner that died. What it ran counts.
func (b *build) giveUp() {
	if s := b.detach(); s != nil {
		if err := b.conn.w.host.discard(s); err != nil {
			b.conn.w.host.o.Logger.Warn("closing a lost spawner", "worker", b.conn.w.name, "error", err)
		}
	}
}

func (b *build) detach() *spawn.Spawner {
	if b.slot != nil {
		b.slot.measure(nil)
	}
	s := b.spawner
	b.spawner = nil
	b.mu.Lock()
	b.proc = nil
	b.mu.Unlock()
	return s
}

func (b *build) account(r worker.Receipt) {
	b.receipt.Ended = append(b.receipt.Ended, r.Ended...)
	b.receipt.Usage.CPU += r.Usage.CPU
	b.receipt.Usage.PeakMemory = max(b.receipt.Usage.PeakMemory, r.Usage.PeakMemory)
}
