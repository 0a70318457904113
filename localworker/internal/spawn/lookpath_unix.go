//go:build unix

package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is searched when a command's environment has no PATH, as
// execvp(3) of glibc does.
const defaultPath = "/bin:/usr/bin"

// lookPath finds the program argv[0] in the PATH of env. Relative names are
// relative to dir.
func lookPath(argv, env []string, dir string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", &StartError{Err: errors.New("no program given")}
	}
	name := argv[0]
	if !filepath.IsAbs(dir) {
		return "", &StartError{Name: name, Err: fmt.Errorf("directory %q is not absolute", dir)}
	}
	if strings.Contains(name, "/") {
		return name, nil // the kernel's own errors are clear here
	}
	path := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v // the last one counts, as in os/exec
		}
	}
	var denied error
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d) // an empty entry is the directory itself
		}
		file := filepath.Join(d, name)
		var st unix.Stat_t
		if unix.Stat(file, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			continue
		}
		if err := unix.Access(file, unix.X_OK); err != nil {
			denied = &os.PathError{Op: "execute", Path: file, Err: err}
			continue
		}
		return file, nil
	}
	if denied != nil {
		return "", &StartError{Name: name, Err: denied}
	}
	return "", &StartError{Name: name, Err: fmt.Errorf("executable not found in PATH %q", path)}
}
