package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// copyChunk is how much is copied between two looks at the context.
	copyChunk = 64 << 20
	// racy is the coarsest step of file times (FAT: 2 s): a file as young as this
	// when it was copied may have been changed since without a new time.
	racy = 2 * time.Second
)

// snapshot copies the source directory into d, or brings it up to date if it is
// kept: then what has not changed stays, what vanished from the source is
// removed, and what builds made stays.
//
// Files are never hard-linked to those of the source: a step that writes to one in
// place would change the person's file.
func (a *Area) snapshot(ctx context.Context, run Exec, dir string, d *Dir) error {
	skip, err := skipper(dir, a.o.BaseDir)
	if err != nil {
		return err
	}
	list, err := listTree(ctx, run, gitEnv(a.o.Env), dir, skip)
	if err != nil {
		return err
	}
	src, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenRoot(d.Path)
	if err != nil {
		return err
	}
	defer dst.Close()

	c := &copier{src: src, dst: dst, list: list}
	now := manifest{taken: time.Now(), files: list.files}
	file := d.Path + ".files"
	if d.kind == dirKept {
		c.old, err = readManifest(file)
		if err != nil {
			// Without it products cannot be told from vanished sources.
			if !errors.Is(err, fs.ErrNotExist) {
				a.o.Logger.Warn("kept directory is made anew", "dir", d.Path, "error", err)
			}
			if err := empty(dst); err != nil {
				return err
			}
		}
		// If this is cut short, the next build must know the files of both.
		both := manifest{c.old.taken, slices.Concat(c.old.files, list.files)}
		if err := both.write(file); err != nil {
			return err
		}
		if err := c.removeVanished(); err != nil {
			return err
		}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	if err := needDir(dir); err != nil {
		return err // it was removed meanwhile, not only files of it
	}
	if d.kind == dirKept {
		return now.write(file)
	}
	return nil
}

// empty removes everything in a directory.
func empty(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeAll(dir, name); err != nil {
			return err
		}
	}
	return nil
}

// copier copies files from one directory to another. All access is relative to
// handles of the two, so that no symlink in either leads out of them.
type copier struct {
	src, dst *os.Root
	list     tree
	old      manifest // of a kept directory; else zero

	noClone atomic.Bool // the file systems share no blocks
}

// removeVanished removes files of the last snapshot that are not in this one, and
// the directories that are empty then.
func (c *copier) removeVanished() error {
	present := make(map[string]bool, len(c.list.files))
	for _, f := range c.list.files {
		present[f] = true
	}
	dirs := map[string]bool{}
	for _, f := range c.old.files {
		if present[f] {
			continue
		}
		name := filepath.FromSlash(f)
		info, err := c.dst.Lstat(name)
		if err != nil || info.IsDir() {
			continue // gone already, hidden behind a link, or a directory that a build made
		}
		if err := c.dst.Remove(name); errors.Is(err, fs.ErrPermission) {
			err = removeIn(c.dst, name)
			if err != nil {
				return err
			}
		} else if err != nil && !gone(err) {
			return err
		}
		for dir := path.Dir(f); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(dirs))) {
		_ = c.dst.Remove(filepath.FromSlash(dir)) // fails if something is in it
	}
	return nil
}

// removeIn removes a file from a directory that may not be written.
func removeIn(root *os.Root, name string) error {
	if err := root.Chmod(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return root.Remove(name)
}

func (c *copier) run(ctx context.Context) error {
	for _, dir := range c.list.dirs {
		if err := c.makeDir(filepath.FromSlash(dir)); err != nil {
			return err
		}
	}
	if err := c.copyFiles(ctx); err != nil {
		return err
	}
	// Only now: copying into a directory changes its time, and it may be one that
	// may not be written.
	for _, dir := range slices.Backward(c.list.dirs) {
		name := filepath.FromSlash(dir)
		info, err := c.src.Lstat(name)
		if gone(err) {
			continue
		}
		if err == nil {
			err = c.dst.Chmod(name, info.Mode().Perm())
		}
		if err == nil {
			err = c.dst.Chtimes(name, time.Time{}, info.ModTime())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a directory that can be written. Its parent is a directory.
func (c *copier) makeDir(name string) error {
	err := c.dst.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := c.dst.Lstat(name)
	switch {
	case err != nil:
		return err
	case !info.IsDir(): // a build or an older snapshot had something else here
		if err := c.dst.Remove(name); err != nil {
			return err
		}
		return c.dst.Mkdir(name, 0o755)
	case info.Mode().Perm()&0o700 != 0o700:
		return c.dst.Chmod(name, info.Mode().Perm()|0o700)
	}
	return nil
}

// copyFiles copies the files, some directories at a time. The first error ends it.
func (c *copier) copyFiles(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	byDir := map[string][]string{}
	for _, f := range c.list.files {
		dir, name := path.Split(f)
		byDir[path.Clean(dir)] = append(byDir[path.Clean(dir)], name)
	}
	dirs := make(chan string)
	var wg sync.WaitGroup
	for range min(len(byDir), runtime.GOMAXPROCS(0), 8) {
		wg.Go(func() {
			// The process belongs to many builds: a fault ends this one only.
			defer func() {
				if p := recover(); p != nil {
					cancel(fmt.Errorf("panic while copying: %v\n%s", p, debug.Stack()))
				}
			}()
			for dir := range dirs {
				if err := c.copyDir(ctx, dir, byDir[dir]); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		select {
		case dirs <- dir:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(dirs)
	wg.Wait()
	return context.Cause(ctx)
}

func (c *copier) copyDir(ctx context.Context, dir string, names []string) error {
	src, err := c.src.OpenRoot(filepath.FromSlash(dir))
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := c.dst.OpenRoot(filepath.FromSlash(dir))
	if err != nil {
		return err
	}
	defer dst.Close()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := c.copyFile(ctx, src, dst, name); err != nil {
			return fmt.Errorf("%s: %w", path.Join(dir, name), bare(err))
		}
	}
	return nil
}

// bare takes the file name off an error that is going to be told with a better
// one: that relative to the source directory.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	return err
}

// copyFile copies one file or symlink. What vanished meanwhile is left out: a
// snapshot is of what is there.
func (c *copier) copyFile(ctx context.Context, src, dst *os.Root, name string) error {
	info, err := src.Lstat(name)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	have, err := dst.Lstat(name)
	switch {
	case gone(err):
	case err != nil:
		return err
	case c.same(src, dst, name, info, have):
		return nil
	default:
		// Removed, not written over: a build may have made other links to it.
		if err := removeAll(dst, name); err != nil {
			return err
		}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := src.Readlink(name)
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return dst.Symlink(to, name) // as it is, wherever it leads
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	err = c.copyRegular(ctx, src, dst, name)
	if gone(err) {
		return nil
	}
	return err
}

// same tells whether the file of a kept directory is the source's.
func (c *copier) same(src, dst *os.Root, name string, info, have fs.FileInfo) bool {
	if info.Mode().Type() != have.Mode().Type() {
		return false
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		x, err := src.Readlink(name)
		y, err2 := dst.Readlink(name)
		return err == nil && err2 == nil && x == y
	}
	return info.Mode().IsRegular() && info.Size() == have.Size() && info.Mode().Perm() == have.Mode().Perm() &&
		info.ModTime().Equal(have.ModTime()) && info.ModTime().Before(c.old.taken.Add(-racy))
}

func (c *copier) copyRegular(ctx context.Context, src, dst *os.Root, name string) error {
	in, err := src.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := dst.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := c.content(ctx, out, in, info.Size()); err != nil {
		return err
	}
	// Not setuid and setgid: the copy belongs to us, whoever owns the source.
	if err := out.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return dst.Chtimes(name, time.Time{}, info.ModTime())
}

// content copies the first size bytes; a file that grows has no end.
func (c *copier) content(ctx context.Context, out, in *os.File, size int64) error {
	if size > 0 && !c.noClone.Load() {
		if cloneFile(out, in) == nil {
			return nil
		}
		c.noClone.Store(true)
	}
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := io.CopyN(out, in, min(size, copyChunk)) // copy_file_range on Linux
		if err == io.EOF {
			return nil // it became shorter
		}
		if err != nil {
			return err
		}
		size -= n
	}
	return nil
}
