package basedir

import (
	"io/fs"
	"testing"
)

// blocks returns how many bytes a file has on disk: NTFS allocates all of a
// file that is not sparse.
func blocks(_ *testing.T, info fs.FileInfo) int64 { return info.Size() }
