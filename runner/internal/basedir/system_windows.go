package basedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

const (
	homeVariable   = "LocalAppData"
	stateBelowHome = "state"
)

func diskFree(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(free), nil
}

// writable has nothing to say on Windows; making the lock file tells.
func writable(string) error { return nil }

// tryLock takes the lock of f, or returns errLocked. It goes with the process.
// The locked byte is far behind the contents, which others may then read.
func tryLock(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errLocked
	}
	return err
}

// gone is not asked on Windows: a process that is being made gets no lock there.
func gone(int) bool { return false }

// socketDirs are where the control socket may be: below the user's own
// temporary directory, whose access list admits only the user.
func socketDirs(string) []string { return []string{filepath.Join(os.TempDir(), "bothy")} }

func private(string, fs.FileInfo) error { return nil }
