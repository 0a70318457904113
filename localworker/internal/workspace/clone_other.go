//go:build !linux

package workspace

import (
	"errors"
	"os"
)

// cloneFile is for file systems that share blocks between files.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }
