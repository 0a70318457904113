package basedir

import (
	"os"

	"golang.org/x/sys/unix"
)

// unsafeNames lists, by statfs(2)'s f_fstypename, file systems on which locks,
// or memory shared through a mapped file, do not work between processes.
var unsafeNames = map[string]bool{
	"nfs": true, "smbfs": true, "afpfs": true, "webdav": true, "ftp": true,
	"osxfuse": true, "macfuse": true, "fusefs": true, "virtiofs": true, "9p": true, "AppleVirtIOFS": true,
}

// unsafeFS names the file system of dir when a database is not safe on it.
func unsafeFS(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if name := unix.ByteSliceToString(st.Fstypename[:]); unsafeNames[name] {
		return name, nil
	}
	return "", nil
}
