package logs

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriting has the disk begin to write a part of a file. It promises nothing:
// that is for Sync, which finds less to do.
func beginWriting(f file, off, n int64) {
	if o, ok := f.(*os.File); ok {
		_ = unix.SyncFileRange(int(o.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
	}
}
