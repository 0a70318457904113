package workspace

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"bothy/runner/worker"
)

// failed is one retained directory.
type failed struct {
	path  string
	token worker.Token
}

// retain moves a fresh directory aside and removes the oldest retained ones
// beyond the caps.
func (a *Area) retain(d *Dir) (string, error) {
	parent := filepath.Join(a.o.Dir, dirName(d.req.Builder), "failed")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("keeping the directory of a failed build: %w", err)
	}
	to := filepath.Join(parent, fmt.Sprintf("%d-%s", d.req.Number, d.req.Token))
	if err := os.Rename(d.Path, to); err != nil {
		return "", fmt.Errorf("keeping the directory of a failed build: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.prune(); err != nil {
		return to, fmt.Errorf("removing old directories of failed builds: %w", err)
	}
	if _, err := os.Lstat(to); err != nil {
		return "", nil // alone larger than the cap
	}
	return to, nil
}

// prune removes the oldest retained directories beyond the caps. The caller holds mu.
func (a *Area) prune() error {
	all, err := a.failed()
	if err != nil {
		return err
	}
	var errs []error
	var bytes int64
	for i, f := range all { // newest first
		drop := i >= a.o.KeepFailed
		if limit := a.o.KeepFailedBytes; !drop && limit > 0 {
			bytes += treeSize(f.path)
			drop = bytes > limit
		}
		if drop {
			errs = append(errs, a.remove(f.path))
		}
	}
	return errors.Join(errs...)
}

// failed returns the retained directories, the newest first. Tokens order them,
// so that a clock that was set back does not.
func (a *Area) failed() ([]failed, error) {
	dirs, err := builders(a.o.Dir)
	if err != nil {
		return nil, err
	}
	var all []failed
	for _, dir := range dirs {
		dir = filepath.Join(dir, "failed")
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if t, ok := failedToken(e.Name()); ok {
				all = append(all, failed{filepath.Join(dir, e.Name()), t})
			}
		}
	}
	slices.SortFunc(all, func(x, y failed) int {
		return cmp.Or(cmp.Compare(y.token.Epoch, x.token.Epoch), cmp.Compare(y.token.Counter, x.token.Counter))
	})
	return all, nil
}

// failedToken reads the token out of "NUMBER-EPOCH.COUNTER".
func failedToken(name string) (worker.Token, bool) {
	_, token, ok := strings.Cut(name, "-")
	epoch, counter, ok2 := strings.Cut(token, ".")
	e, err := strconv.ParseInt(epoch, 10, 64)
	c, err2 := strconv.ParseInt(counter, 10, 64)
	return worker.Token{Epoch: e, Counter: c}, ok && ok2 && err == nil && err2 == nil
}

// treeSize returns the bytes of the files below dir, as far as they can be seen.
func treeSize(dir string) int64 {
	var bytes int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}
