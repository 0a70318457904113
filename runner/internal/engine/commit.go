package engine

import (
	"errors"
	"fmt"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// commitRetry is how often a degraded engine tries to record what it holds.
const commitRetry = time.Second

// commitJob is a batch and what may be told once it is on disk.
type commitJob struct {
	batch   *store.Batch
	effects []func()
	logs    bool // it ends logs, which must be on disk before it
}

type commitResult struct {
	job commitJob
	err error
}

// commitLoop makes batches durable, one after the other. Logs come first: a
// finished build is on disk only when its log is.
func (e *Engine) commitLoop() {
	defer e.group.Done()
	for job := range e.l.jobs {
		var err error
		if job.logs {
			if err = e.opt.Logs.Sync(); err != nil {
				err = fmt.Errorf("sync logs: %w", err)
			}
		}
		if err == nil && job.batch.Len() > 0 {
			err = e.commit(job.batch)
		}
		if err == nil {
			for _, f := range job.effects {
				f()
			}
		}
		e.l.committed <- commitResult{job, err}
	}
}

// flush hands what has gathered to the committer unless it is busy, or was
// refused a moment ago.
func (l *loop) flush() {
	if l.commit || l.retryAt != nil {
		return
	}
	if err := l.finishLogs(); err != nil {
		l.notRecorded(err)
		return
	}
	if l.batch.Len() == 0 && len(l.effects) == 0 && l.degraded == nil {
		return
	}
	if l.holdBack() {
		return
	}
	l.commit = true
	l.jobs <- commitJob{l.batch, l.effects, l.logsEnded}
	l.batch, l.effects, l.logsEnded = store.NewBatch(), nil, false
}

func (l *loop) commitDone(r commitResult) {
	l.commit = false
	var refused *store.RefusedError
	if errors.As(r.err, &refused) {
		// A fault of ours: the store kept what was settled and wrote the rest.
		l.log.Error("the store refused rows", "err", r.err)
		for _, f := range r.job.effects {
			f()
		}
		r.err = nil
	}
	if r.err == nil {
		if l.degraded != nil && len(l.unfinished) == 0 {
			l.recorded()
		}
		return
	}
	// Nothing is lost: the refused batch goes first, what came later on top.
	r.job.batch.Merge(l.batch)
	l.batch = r.job.batch
	l.effects = append(r.job.effects, l.effects...)
	l.logsEnded = l.logsEnded || r.job.logs
	l.notRecorded(r.err)
}

// recorded ends a time in which nothing could be recorded. What was recorded in
// place of the ballast is endings: there is room for more work only when the
// ballast has its place again.
func (l *loop) recorded() {
	if l.freed {
		if err := l.opt.Ballast.Restore(); err != nil {
			l.degrade(err)
			return
		}
		l.freed, l.ballasted = false, true
	}
	l.log.Info("recording again", "after", l.degraded)
	for id := range l.sessions {
		l.tellSession(id, Event{Kind: Degraded, Time: time.Now()})
	}
	l.degraded = nil
}

// degrade stops taking and starting work until something could be recorded.
// What runs ends with that cause, since its output cannot be kept.
func (l *loop) degrade(err error) {
	first := l.degraded == nil
	l.degraded = err
	if l.retryAt == nil || l.retryAt.index < 0 {
		l.retryAt = l.in(commitRetry, func(l *loop) { l.retryAt = nil })
	}
	if !first {
		return
	}
	l.degradedAt = time.Now()
	l.log.Error("cannot record; refusing requests until it works again", "err", err)
	if b := l.opt.Ballast; b != nil && (store.IsFull(err) || logs.DiskFull(err)) {
		if err := b.Free(); err != nil {
			l.log.Warn("cannot free the ballast", "err", err)
		} else if l.ballasted {
			l.freed, l.ballasted = true, false
		}
	}
	l.in(submitPatience, (*loop).refuseSubmits)
	for _, b := range l.builds {
		b.stop(stopCause{result: build.Exception, cause: build.CauseDisk, text: fmt.Sprintf("cannot record: %v", err), now: true})
	}
	ev := Event{Kind: Degraded, Time: time.Now(), Text: err.Error()}
	for s := range l.subscribers {
		if s.wants(ev) || s.session != "" {
			s.send(ev)
		}
	}
}

// Ballast is a file that is removed when the disk is full, so that endings can
// be recorded.
type Ballast interface {
	Free() error
	// Restore makes it unless it is there. It refuses where it would itself fill
	// the disk.
	Restore() error
}

// setAside makes the ballast and reports whether it is there. Until then a full
// disk leaves no room for endings, and nobody waits for the ballast's return.
func (e *Engine) setAside() bool {
	b := e.opt.Ballast
	if b == nil {
		return false
	}
	if err := b.Restore(); err != nil {
		e.log.Warn("no ballast for a full disk", "err", err)
		return false
	}
	return true
}
