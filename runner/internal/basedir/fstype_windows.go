package basedir

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// unsafeFS says "a network drive" when dir is on one: SQLite's shared memory
// does not work there.
func unsafeFS(dir string) (string, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", err
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(dir) + `\`)
	if err != nil {
		return "", &os.PathError{Op: "volume of", Path: dir, Err: err}
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return "a network drive", nil
	}
	return "", nil
}
