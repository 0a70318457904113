package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"bothy/runner"
	"bothy/runner/config"
)

// settleTime is how long a changed file must be left alone before it is loaded:
// editors write in several steps.
const settleTime = 200 * time.Millisecond

// fileWatch tells when a file was changed. It watches the directory, since most
// editors, and all that swap links, put another file in its place.
type fileWatch struct {
	path    string
	events  *fsnotify.Watcher
	changed chan struct{}
}

// watchFile begins to watch a file, which need not exist for good.
func watchFile(path string, log *slog.Logger) (*fileWatch, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if err := events.Add(filepath.Dir(path)); err != nil {
		events.Close()
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &fileWatch{path: path, events: events, changed: make(chan struct{}, 1)}
	go w.run(w.mark(), log)
	return w, nil
}

// mark is what tells versions of the file apart without reading it; zero while
// there is none.
func (w *fileWatch) mark() fileMark {
	info, err := os.Stat(w.path)
	if err != nil {
		return fileMark{}
	}
	return fileMark{info.ModTime(), info.Size(), info}
}

type fileMark struct {
	modified time.Time
	size     int64
	info     os.FileInfo
}

func (m fileMark) same(o fileMark) bool {
	return m.modified.Equal(o.modified) && m.size == o.size && (m.info == nil) == (o.info == nil) && (m.info == nil || os.SameFile(m.info, o.info))
}

func (w *fileWatch) run(last fileMark, log *slog.Logger) {
	settled := time.NewTimer(settleTime)
	settled.Stop()
	seen := last
	for {
		select {
		case _, ok := <-w.events.Events:
			if !ok {
				return
			}
			if now := w.mark(); !now.same(seen) { // not some other file of the directory
				seen = now
				settled.Reset(settleTime)
			}
		case err, ok := <-w.events.Errors:
			if !ok {
				return
			}
			log.Warn("changes of the configuration file may go unnoticed; SIGHUP has it loaded", "file", w.path, "err", err)
		case <-settled.C:
			now := w.mark()
			if now.info == nil || now.same(last) {
				continue
			}
			last = now
			select {
			case w.changed <- struct{}{}:
			default: // it has not been looked at since the last change
			}
		}
	}
}

func (w *fileWatch) close() error { return w.events.Close() }

// reloaded is what counts after a reload; zero: what did before.
type reloaded struct {
	conf    *config.Config
	workers net.Listener // where remote workers connect from now on; nil: as before
}

// reload loads the file again and has the master take it over. A file with errors
// changes nothing, nor does one for whose workers listen cannot listen.
func reload(ctx context.Context, r *runner.Runner, file string, listen func(*config.Config) (net.Listener, error), log *slog.Logger) reloaded {
	next, warnings, err := config.Load(file)
	if err != nil {
		log.Error("the configuration was not loaded; nothing has changed", "file", file, "err", err)
		return reloaded{}
	}
	for _, w := range warnings {
		log.Warn(w.String())
	}
	workers, err := listen(next)
	var changes []string
	if err == nil {
		if changes, err = r.Reload(ctx, next); err != nil && workers != nil {
			err = errors.Join(err, workers.Close())
		}
	}
	switch {
	case err != nil:
		log.Error("the configuration was not taken over; nothing has changed", "file", file, "err", err)
		return reloaded{}
	case len(changes) == 0:
		log.Info("the configuration is as it was", "file", file)
	default:
		log.Info("the configuration was loaded", "file", file, "changes", len(changes))
		for _, c := range changes {
			log.Info("reload: " + c)
		}
	}
	return reloaded{next, workers}
}
