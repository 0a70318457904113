//go:build unix

package basedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

const (
	homeVariable   = "HOME"
	stateBelowHome = ".local/state" // the XDG base directory specification's default
)

func diskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func writable(dir string) error {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "access", Path: dir, Err: err}
}

// tryLock takes the lock of f, or returns errLocked. It goes with the process.
func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// gone reports whether there is no process pid.
func gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// socketDirs are where the control socket may be, the best first. env is the
// value of XDG_RUNTIME_DIR.
func socketDirs(env string) []string {
	dirs := []string{fmt.Sprintf("/tmp/bothy-%d", os.Getuid())}
	if env != "" {
		dirs = append([]string{env + "/bothy"}, dirs...)
	}
	return dirs
}

// private checks that nobody else can put things into dir.
func private(dir string, info fs.FileInfo) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to user %d", dir, st.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (mode %#o)", dir, info.Mode().Perm())
	}
	return nil
}
