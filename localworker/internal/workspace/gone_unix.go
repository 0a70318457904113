//go:build unix

package workspace

import (
	"errors"
	"io/fs"
	"syscall"
)

// gone tells whether a file is not there, or not any more: one of its parents may
// have become a file.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
