package workspace

import (
	"errors"
	"io/fs"
)

// gone tells whether a file is not there, or not any more.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
