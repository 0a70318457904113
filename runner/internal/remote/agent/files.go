package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"bothy/runner/internal/remote/wire"
)

// errno returns the number and text of an error as Python has them.
func errno(err error) (int, string) {
	var n syscall.Errno
	if !errors.As(err, &n) {
		return -1, err.Error()
	}
	text := n.Error()
	return int(n), strings.ToUpper(text[:1]) + text[1:]
}

// outcome says how a command on a file ended.
func (c *command) outcome(what, path string, err error) error {
	if err == nil {
		c.rc(0)
		return nil
	}
	code, text := errno(err)
	c.out.header(fmt.Sprintf("%s: %s: %s\n", what, text, path))
	c.rc(code)
	return nil
}

func prepareMkdir(c *command) (func() error, error) {
	paths, err := c.args.paths("paths")
	if err != nil {
		return nil, err
	}
	return func() error {
		for _, p := range paths {
			if err := os.MkdirAll(p, 0o777); err != nil {
				return c.outcome("mkdir", p, err)
			}
		}
		return c.outcome("mkdir", "", nil)
	}, nil
}

func prepareRmfile(c *command) (func() error, error) {
	path, err := c.args.path("path")
	if err != nil {
		return nil, err
	}
	return func() error {
		st, err := os.Lstat(path)
		switch {
		case err == nil && st.IsDir():
			err = syscall.EISDIR // os.Remove would take an empty one
		case err == nil:
			err = os.Remove(path)
		}
		return c.outcome("rmfile", path, err)
	}, nil
}

func prepareStat(c *command) (func() error, error) {
	path, err := c.args.path("path")
	if err != nil {
		return nil, err
	}
	return func() error {
		st, err := stat(path)
		if err == nil {
			c.out.value("stat", st)
		}
		return c.outcome("stat", path, err)
	}, nil
}

// maxFiles bounds what listdir and glob return: more would not fit a message.
const maxFiles = 50_000

var errTooManyFiles = fmt.Errorf("more than %d files", maxFiles)

// files sends a list of names.
func (c *command) files(what, path string, names []string, err error) error {
	if err == nil && len(names) > maxFiles {
		err = errTooManyFiles
	}
	if err != nil {
		return c.outcome(what, path, err)
	}
	list := make([]any, len(names))
	for i, n := range names {
		list[i] = string(validText([]byte(n)))
	}
	c.out.value("files", list)
	c.rc(0)
	return nil
}

func prepareListdir(c *command) (func() error, error) {
	path, err := c.args.path("path")
	if err != nil {
		return nil, err
	}
	return func() error {
		names, err := listNames(path)
		if filepath.Clean(path) == c.session.a.o.BaseDir {
			// A master that clears up must not find it.
			names = slices.DeleteFunc(names, func(n string) bool { return n == stateDir })
		}
		return c.files("listdir", path, names, err)
	}, nil
}

// listNames returns the names in a directory, sorted.
func listNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxFiles + 2)
	if err != nil && len(names) == 0 && !isEOF(err) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// statTuple is what Python's os.stat returns as a tuple.
func statTuple(mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime int64) wire.Tuple {
	return wire.Tuple{mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime}
}
