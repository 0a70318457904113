package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

const (
	// retentionFirst is when a new master first looks for what is not kept.
	retentionFirst = 5 * time.Second
	// retentionEvery is how often it looks again.
	retentionEvery = time.Hour
	// retentionBuilds are so many finished builds that it looks before its time.
	retentionBuilds = 1000
	// recordsKept is how long lines of the journal and settled mails are kept; the
	// store keeps the newest of them anyway.
	recordsKept = 90 * 24 * time.Hour
	// retentionBatch bounds one deletion, so that commits of builds wait little.
	retentionBatch = 200
)

// tidyLater arranges for the next look at what is not kept any more.
func (l *loop) tidyLater(d time.Duration) { l.tidyTimer = l.in(d, (*loop).tidy) }

// tidy removes, in the background, what the configuration does not keep. At
// most one such removal runs.
func (l *loop) tidy() {
	if l.tidying || l.stopping {
		return
	}
	l.tidying, l.sinceTidy = true, 0
	first := !l.tidied
	l.tidied = true
	l.cancelTimer(l.tidyTimer)
	t := &tidier{e: l.e, life: l.e.life, keep: l.conf.Store.KeepBuilds, cap: l.conf.Store.DiskCap, orphans: first}
	if d := l.conf.Store.KeepLogs; d > 0 {
		t.logsBefore = time.Now().Add(-d)
	}
	l.e.group.Add(1)
	go func() {
		defer l.e.group.Done()
		if err := t.run(); err != nil && t.life.Err() == nil {
			l.e.log.Warn("removing what is not kept", "err", err)
		}
		l.e.post(func(l *loop) {
			l.tidying = false
			l.tidyLater(retentionEvery)
		})
	}()
}

// tidier is one removal.
type tidier struct {
	e          *Engine
	life       context.Context
	keep       int // builds per builder, ≤ 0: all
	cap        int64
	logsBefore time.Time
	orphans    bool // look for logs without a row too
}

func (t *tidier) run() error {
	if t.e.setAside() {
		t.e.post(func(l *loop) { l.ballasted = l.ballasted || !l.freed })
	}
	if t.orphans {
		if err := t.removeOrphans(); err != nil {
			return err
		}
	}
	r := store.Retention{Builds: max(0, t.keep), LogsBefore: t.logsBefore, RecordsBefore: time.Now().Add(-recordsKept), Limit: retentionBatch}
	// What ends meanwhile is left to the next look, or a busy master would never
	// be done. There are two small batches: requests go after their builds.
	for small := 0; small < 2; {
		n, _, err := t.remove(r)
		if err != nil {
			return err
		}
		if n < retentionBatch {
			small++
		}
	}
	return t.shrink()
}

// removeOrphans removes logs of earlier masters that the database never heard
// of: a crash came before their commit, or a power cut undid their removal.
func (t *tidier) removeOrphans() error {
	if err := t.sweepArtifacts(); err != nil {
		return err
	}
	first := t.e.opt.Recovered.NextLog
	refs, err := t.e.opt.Logs.Orphans(func(id int64) bool {
		if id >= first || t.life.Err() != nil {
			return true
		}
		_, err := t.e.opt.Store.Log(t.life, id)
		return !errors.Is(err, store.ErrNotFound) // in doubt it stays
	})
	if err != nil || len(refs) == 0 {
		return err
	}
	t.e.log.Info("removing logs that belong to no build", "logs", len(refs))
	return t.e.opt.Logs.Remove(refs...)
}

// sweepArtifacts removes files of earlier masters' steps that the database never
// heard of.
func (t *tidier) sweepArtifacts() error {
	if t.e.opt.Artifacts == nil {
		return nil
	}
	of := map[int]bool{} // steps of build
	build := int64(-1)
	n, err := t.e.opt.Artifacts.Sweep(func(id int64, step int) (bool, error) {
		if id != build {
			list, err := t.e.opt.Store.Artifacts(t.life, id)
			if err != nil {
				return false, err // in doubt all stay
			}
			build = id
			clear(of)
			for _, a := range list {
				of[a.Step] = true
			}
		}
		return of[step], nil
	})
	if n > 0 {
		t.e.log.Info("removed artifacts that belong to no step", "steps", n)
	}
	return err
}

// shrink removes the oldest logs and artifacts while the base directory is larger than its cap.
func (t *tidier) shrink() error {
	if t.cap <= 0 || t.e.opt.BaseDir == "" {
		return nil
	}
	size, err := treeSize(t.life, t.e.opt.BaseDir)
	if err != nil {
		return err
	}
	for excess := size - t.cap; excess > 0; {
		n, freed, err := t.remove(store.Retention{LogsBefore: time.Now(), ArtifactsBefore: time.Now(), Limit: retentionBatch})
		if err != nil {
			return err
		}
		if n == 0 {
			t.e.log.Warn("the base directory is larger than disk_cap, and no log or artifact is left to remove", "size", size, "cap", t.cap)
			return nil
		}
		excess -= freed
	}
	return nil
}

// remove takes one batch out of the database and then off the disk.
func (t *tidier) remove(r store.Retention) (rows int, freed int64, err error) {
	gone, err := t.e.opt.Store.Expired(t.life, r)
	if err != nil || gone.Empty() {
		return 0, 0, err
	}
	texts, err := t.textLogs(gone.Builds)
	if err != nil {
		return 0, 0, err
	}
	committed := make(chan struct{})
	if !t.e.post(func(l *loop) {
		l.batch.Merge(gone.Batch())
		l.effect(func() { close(committed) })
	}) {
		return 0, 0, ErrStopped
	}
	select {
	case <-committed:
	case <-t.life.Done():
		return 0, 0, t.life.Err()
	}
	refs := make([]logs.Ref, len(gone.Logs))
	for i, lg := range gone.Logs {
		refs[i] = logs.Ref(lg.Ref)
		freed += lg.Bytes
	}
	err = t.e.opt.Logs.Remove(refs...)
	if t.e.opt.Artifacts != nil {
		drop := gone.Builds
		for _, k := range gone.Artifacts {
			drop = append(drop, k.Build)
			freed += k.Bytes
		}
		err = errors.Join(err, t.e.opt.Artifacts.Remove(drop...))
	}
	for _, path := range texts {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return gone.Len(), freed, err
}

// textLogs are the paths of the builds' text logs.
func (t *tidier) textLogs(builds []int64) ([]string, error) {
	if _, err := os.Stat(t.e.opt.TextLogDir); err != nil {
		return nil, nil // no session ever had one
	}
	var paths []string
	for _, id := range builds {
		b, err := t.e.opt.Store.BuildByID(t.life, id)
		if err != nil {
			return nil, err
		}
		paths = append(paths, t.e.textLogPath(b))
	}
	return paths, nil
}

// textLogPath is where the text log of a build is, if it has one.
func (e *Engine) textLogPath(b store.Build) string {
	return filepath.Join(e.opt.TextLogDir, b.Builder, fmt.Sprintf("%d.log", b.Number))
}

// treeSize is the space that the files below dir take, in bytes.
func treeSize(ctx context.Context, dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // a build's file that went meanwhile, or is nobody's to read
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size, err
}
