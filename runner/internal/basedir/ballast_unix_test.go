//go:build unix

package basedir

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// blocks returns how many bytes a file has on disk.
func blocks(t *testing.T, info fs.FileInfo) int64 {
	t.Helper()
	return info.Sys().(*syscall.Stat_t).Blocks * 512 // stat(2): units of 512
}

// Where the file system cannot allocate, bytes are written.
func TestFill(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 3<<20 + 17
	if err := fill(f, size); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
}
