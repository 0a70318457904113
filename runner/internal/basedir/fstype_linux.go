package basedir

import (
	"os"

	"golang.org/x/sys/unix"
)

// unsafeNames lists file systems on which locks, or memory shared through a
// mapped file, do not work between processes or hosts. The numbers are from
// linux/magic.h and statfs(2), or the file system's own source where noted.
var unsafeNames = map[uint32]string{
	0x01021997: "9p", // also drvfs of WSL 2
	0x53464846: "drvfs",
	0x65735546: "fuse or virtiofs",
	0x6969:     "nfs",
	0xff534d42: "cifs",
	0xfe534d42: "smb2",
	0x517b:     "smbfs",
	0x564c:     "ncpfs",
	0x5346414f: "afs",
	0x6b414653: "afs",
	0x73757245: "coda",
	0x00c36400: "ceph",
	0x0bd00bd0: "lustre",   // lustre_idl.h
	0x786f4256: "vboxsf",   // vboxsf/super.c
	0xbacbacbc: "vmhgfs",   // open-vm-tools, vmhgfs/fsutil.h
	0x7c7c6673: "prl_fs",   // Parallels Tools
	0x20030528: "orangefs", // orangefs-kernel.h
}

// unsafeFS names the file system of dir when a database is not safe on it.
func unsafeFS(dir string) (string, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return unsafeNames[uint32(st.Type)], nil
		}
		if err != unix.EINTR {
			return "", &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
	}
}
