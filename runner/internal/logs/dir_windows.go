package logs

import (
	"errors"
	"syscall"
)

// syncDir does nothing: Windows has no way to sync a directory, NTFS journals it.
func syncDir(string) error { return nil }

// ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL of winerror.h.
const (
	errHandleDiskFull = syscall.Errno(39)
	errDiskFull       = syscall.Errno(112)
)

// DiskFull says whether err means that there is no room left.
func DiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errHandleDiskFull) || errors.Is(err, errDiskFull)
}
