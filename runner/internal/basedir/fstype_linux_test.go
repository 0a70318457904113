package basedir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnsafeNamesAgreeWithTheKernelsNumbers(t *testing.T) {
	for magic, want := range map[int64]string{
		unix.V9FS_MAGIC: "9p", unix.NFS_SUPER_MAGIC: "nfs", unix.CIFS_SUPER_MAGIC: "cifs", unix.SMB2_SUPER_MAGIC: "smb2",
		unix.SMB_SUPER_MAGIC: "smbfs", unix.FUSE_SUPER_MAGIC: "fuse or virtiofs", unix.AFS_SUPER_MAGIC: "afs", unix.AFS_FS_MAGIC: "afs",
		unix.CEPH_SUPER_MAGIC: "ceph", unix.CODA_SUPER_MAGIC: "coda", unix.NCP_SUPER_MAGIC: "ncpfs",
		unix.EXT4_SUPER_MAGIC: "", unix.XFS_SUPER_MAGIC: "", unix.BTRFS_SUPER_MAGIC: "", unix.TMPFS_MAGIC: "", unix.OVERLAYFS_SUPER_MAGIC: "",
	} {
		if got := unsafeNames[uint32(magic)]; got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
	}
}

func TestUnsafeFSAsksTheKernel(t *testing.T) {
	if name, err := unsafeFS("/proc"); name != "" || err != nil {
		t.Errorf("proc: %q, %v", name, err)
	}
	if _, err := unsafeFS(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("missing directory: %v", err)
	}
}

// A read-only mount refuses root too.
func TestReadOnlyFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("NOT TESTED: cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	held := filepath.Join(dir, "held")
	l, err := Resolve(held)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{held, filepath.Join(dir, "new")} {
		if _, err := Resolve(d); err == nil || !strings.Contains(err.Error(), "read-only file system") || !strings.Contains(err.Error(), d) {
			t.Errorf("resolve %s: %v", d, err)
		}
	}
	if _, err := Hold(l); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("hold: %v", err)
	}
}
