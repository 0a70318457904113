package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// remove removes the tree at path, which must be below the worker's directory.
// Symlinks are removed, never followed, also when something swaps them in
// meanwhile: everything happens relative to a handle of the worker's directory.
// Directories without write permission, such as those of Go's module cache
// (0555), are made writable first.
func (a *Area) remove(path string) error {
	rel, err := filepath.Rel(a.o.Dir, path)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return fmt.Errorf("removing %s: not below %s", path, a.o.Dir)
	}
	root, err := os.OpenRoot(a.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	defer root.Close()
	if err := removeAll(root, rel); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// removeAll is root.RemoveAll, which also removes what is in directories that
// may not be written or read.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	unlock(root, name)
	return root.RemoveAll(name)
}

// unlock gives the owner all rights to the directories of a tree. It does what
// can be done: what could not is told by the removal that follows.
func unlock(root *os.Root, name string) {
	// WalkDir calls the function before it reads a directory.
	_ = fs.WalkDir(root.FS(), filepath.ToSlash(name), func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if e.IsDir() {
			_ = root.Chmod(filepath.FromSlash(p), 0o700)
		}
		return nil
	})
}

// within tells whether path is dir or below it; both are clean and absolute.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
