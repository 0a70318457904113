// Package workspace fills and clears the directories in which the builds of one
// worker run.
//
// Below the worker's directory each builder has one of its own:
//
//	<builder>/fresh/<token>           a running build with workspace = "fresh"
//	<builder>/keep/<n>                reused by builds with workspace = "keep"
//	<builder>/keep/<n>.files          what the last snapshot put into <n>
//	<builder>/failed/<number>-<token> retained directories of failed builds
//	<builder>/git/<hash>.git          the clone kept of a git source
//
// A tree source has no directory here: its steps run in the person's files, which
// this package never touches.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"bothy/runner/worker"
)

// Options say where the directories of a worker are and how many are kept.
type Options struct {
	// Dir is the worker's directory, absolute. It is made when first needed.
	Dir string
	// BaseDir is the base directory, absolute; it is left out of snapshots.
	// Empty: Dir is.
	BaseDir string
	// KeepFailed is how many directories of failed builds are kept over all
	// builders of the worker; the oldest go first. 0: none.
	KeepFailed int
	// KeepFailedBytes bounds the bytes in all of them together; 0: no bound.
	KeepFailedBytes int64
	// Env is the environment in which git runs; nil: that of this process.
	Env []string
	// Logger is told what was found broken and made anew; nil: nothing is logged.
	Logger *slog.Logger
}

// Exec runs a command to its end, as [worker.Build.Run] does: git runs through
// it, so that it is contained like any step.
type Exec func(ctx context.Context, cmd worker.Command, sink worker.Sink) (worker.Exit, error)

// Area holds the directories of one worker. Its methods may be called from many
// goroutines; two Areas must not share a directory.
type Area struct {
	o Options

	clones worker.Clones

	mu   sync.Mutex
	used map[string]bool // directories of running builds
}

// New returns the Area below o.Dir. It does no I/O.
func New(o Options) (*Area, error) {
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("worker directory %q is not absolute", o.Dir)
	}
	if o.BaseDir == "" {
		o.BaseDir = o.Dir
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Area{o: o, used: map[string]bool{}}, nil
}

// Request says for which build a directory is wanted.
type Request struct {
	Builder   string
	Number    int64
	Token     worker.Token
	Source    worker.Source
	Workspace worker.Workspace
}

// Dir is the directory of one running build.
type Dir struct {
	// Path is absolute.
	Path string
	// Properties are facts found while filling it: got_revision of a git source.
	Properties map[string]any

	area *Area
	req  Request
	kind dirKind
}

type dirKind int

const (
	dirTree  dirKind = iota // the person's
	dirFresh                // this build's only
	dirKept                 // the builder's
)

// Prepare fills a directory for a build as its source and workspace ask. The
// caller must give it back with [Dir.Release]. Two builds never share one, trees
// apart. When ctx ends the work stops, and what was done of a fresh directory is
// removed.
func (a *Area) Prepare(ctx context.Context, run Exec, req Request) (*Dir, error) {
	d := &Dir{area: a, req: req}
	switch req.Source.Kind {
	case worker.SourceTree:
		if err := needDir(req.Source.Dir); err != nil {
			return nil, err
		}
		d.Path = req.Source.Dir
		return d, nil
	case worker.SourceCopy:
		if err := needDir(req.Source.Dir); err != nil {
			return nil, err
		}
	case worker.SourceGit:
		if err := req.Source.CheckGit(); err != nil {
			return nil, err
		}
	case worker.SourceNone:
	default:
		return nil, fmt.Errorf("unknown source %q", req.Source.Kind)
	}
	if err := a.claim(d); err != nil {
		return nil, err
	}
	if err := a.fill(ctx, run, d); err != nil {
		if d.kind == dirFresh {
			err = errors.Join(err, a.remove(d.Path))
		}
		a.unclaim(d.Path)
		return nil, err
	}
	return d, nil
}

func needDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("source directory %q is not absolute", dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("source directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("source directory %s is not a directory", dir)
	}
	return nil
}

func (a *Area) fill(ctx context.Context, run Exec, d *Dir) error {
	src := d.req.Source
	if d.kind == dirKept && src.Kind != worker.SourceCopy {
		// It would be wrong when the builder's source is a copy again.
		if err := os.Remove(d.Path + ".files"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch src.Kind {
	case worker.SourceCopy:
		if err := a.snapshot(ctx, run, src.Dir, d); err != nil {
			return fmt.Errorf("copying %s: %w", src.Dir, err)
		}
	case worker.SourceGit:
		g := &git{run: run, env: gitEnv(a.o.Env), src: src}
		rev, err := a.checkout(ctx, g, d)
		if err != nil {
			return fmt.Errorf("git source %s: %w", src.Redacted(), err)
		}
		d.Properties = map[string]any{"got_revision": rev}
	}
	return ctx.Err()
}

// claim makes or picks the directory of d and marks it as used.
func (a *Area) claim(d *Dir) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	builder := filepath.Join(a.o.Dir, dirName(d.req.Builder))
	if d.req.Workspace == worker.WorkspaceKeep {
		d.kind = dirKept
		path, err := a.lastKept(filepath.Join(builder, "keep"))
		if err != nil {
			return err
		}
		d.Path = path
		a.used[path] = true
		return nil
	}
	d.kind = dirFresh
	parent := filepath.Join(builder, "fresh")
	path := filepath.Join(parent, d.req.Token.String())
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return fmt.Errorf("making the directory of a build: %w", err)
		}
		err = os.Mkdir(path, 0o755)
	}
	if err != nil {
		return fmt.Errorf("making the directory of a build: %w", err)
	}
	d.Path = path
	a.used[path] = true
	return nil
}

func (a *Area) unclaim(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, path)
}

// Release gives the directory back when no process runs in it any more. A fresh
// one is moved aside when keep is [worker.RetainDir], else it is a leftover, for
// the caller to pass to [Area.RemoveLeftover] in his own time. A kept one stays in
// place either way, since moving it would make the next build start anew. A tree
// is left alone. It returns where a retained directory is now, and where a
// leftover is; "" if there is none. One that cannot be moved aside is a leftover too.
func (d *Dir) Release(keep worker.KeepDir) (kept, left string, err error) {
	defer d.area.unclaim(d.Path)
	switch {
	case d.kind == dirTree:
		return "", "", nil
	case d.kind == dirKept:
		if keep == worker.RetainDir {
			kept = d.Path
		}
		return kept, "", nil
	case keep == worker.RetainDir && d.area.o.KeepFailed > 0:
		if kept, err = d.area.retain(d); err != nil && kept == "" {
			left = d.Path
		}
		return kept, left, err
	}
	return "", d.Path, nil
}
