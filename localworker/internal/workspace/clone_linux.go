package workspace

import (
	"os"

	"golang.org/x/sys/unix"
)

// cloneFile makes dst share the blocks of src (a reflink: btrfs, XFS, bcachefs);
// each file gets its own on writing.
func cloneFile(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}
