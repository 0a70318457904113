package localworker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"bothy/runner/worker"
)

var _ worker.Fetcher = (*build)(nil)

// maxWalked is how many names are looked at for patterns: a tree with more is not
// searched to its end, so that "**" in a home directory does not take for ever.
const maxWalked = 1_000_000

var errWalked = fmt.Errorf("more than %d names in the directories that the patterns lead to", maxWalked)

// Find looks through the directories that the patterns lead to, but follows no
// links within them.
func (b *build) Find(ctx context.Context, patterns []worker.Pattern, limit int) ([]string, bool, error) {
	root, err := os.OpenRoot(b.dir.Path)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	found := map[string]bool{}
	walked := 0
	for _, p := range patterns {
		err := fs.WalkDir(root.FS(), p.Fixed(), func(name string, d fs.DirEntry, err error) error {
			walked++
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case walked > maxWalked:
				return errWalked
			case err != nil && d != nil && d.IsDir():
				return fs.SkipDir // it cannot be read, or has gone
			case err != nil:
				return nil
			case d.IsDir() && !p.FitsBelow(name):
				return fs.SkipDir
			case d.IsDir() || !p.Fits(name):
				return nil
			}
			found[name] = true
			if len(found) > limit {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names[:min(len(names), limit)], len(names) > limit, nil
}

// Fetch copies what the file has when it is opened: one that grows meanwhile is
// cut there. A link is followed if it stays in the build's directory.
func (b *build) Fetch(ctx context.Context, name string, w io.Writer, limit int64) error {
	root, err := os.OpenRoot(b.dir.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	// A pipe that nobody writes to would keep the opener waiting.
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|nonblock, 0)
	if err != nil {
		if _, lerr := root.Lstat(filepath.FromSlash(name)); lerr == nil && !errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w", worker.ErrNoFile, err) // a socket, or a link that leads out
		}
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return worker.ErrDir // through a link
	case !info.Mode().IsRegular():
		return worker.ErrNoFile
	case info.Size() > limit:
		return fmt.Errorf("%w: %d bytes", worker.ErrTooLarge, info.Size())
	}
	_, err = io.Copy(w, &untilDone{ctx, io.LimitReader(f, info.Size())})
	return err
}

// untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}
