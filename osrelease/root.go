package osrelease

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links one name may lead through.
const maxLinks = 40 // Linux: MAXSYMLINKS

// Root is a directory that stands for "/". Slash-separated names are resolved
// below it as after chroot(2): a symbolic link to an absolute path starts again
// at the root, and ".." does not lead out of it. [os.Root] refuses such links,
// and /etc/os-release often is one. "" and "/" are the real root directory.
type Root string

// Real says that r is the system this program runs on.
func (r Root) Real() bool { return r == "" || r == "/" }

// Path returns the path to give to the operating system for name, with no
// symbolic link left in it below the root. Errors are of type [*fs.PathError]
// and carry name, not the path below the root.
func (r Root) Path(name string) (string, error) {
	if r.Real() {
		return name, nil
	}
	var done []string
	links := 0
	for todo := strings.Split(name, "/"); len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			done = done[:max(0, len(done)-1)]
			continue
		}
		here := filepath.Join(string(r), filepath.Join(done...), part)
		info, err := os.Lstat(here)
		if err != nil {
			return "", pathError("stat", name, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = append(done, part)
			continue
		}
		if links++; links > maxLinks {
			return "", pathError("stat", name, errors.New("too many symbolic links"))
		}
		target, err := os.Readlink(here)
		if err != nil {
			return "", pathError("readlink", name, err)
		}
		target = filepath.ToSlash(target)
		if path.IsAbs(target) {
			done = nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return filepath.Join(string(r), filepath.Join(done...)), nil
}

// Stat is [os.Stat] below the root. Errors are as those of [Root.Path].
func (r Root) Stat(name string) (fs.FileInfo, error) {
	p, err := r.Path(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return info, nil
}

// ReadFile reads a regular file of at most limit bytes; a larger one is an error
// that wraps [ErrTooLarge]. Errors are as those of [Root.Path].
func (r Root) ReadFile(name string, limit int) ([]byte, error) {
	p, err := r.Path(name)
	if err != nil {
		return nil, err
	}
	// Opening a named pipe would wait for a writer.
	info, err := os.Stat(p)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, pathError("open", name, errors.New("not a regular file"))
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, pathError("read", name, err)
	}
	if len(data) > limit {
		return nil, pathError("read", name, fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, limit))
	}
	return data, nil
}

// pathError replaces the path below the root in err by the name asked for.
func pathError(op, name string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// skipped turns the reasons why earlier candidates were not read into warnings.
// That a file does not exist is not one.
func skipped(errs []error) []Warning {
	var warnings []Warning
	for _, err := range errs {
		var p *fs.PathError
		if errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist) {
			warnings = append(warnings, Warning{Path: p.Path, Msg: "not read: " + p.Err.Error()})
		}
	}
	return warnings
}
