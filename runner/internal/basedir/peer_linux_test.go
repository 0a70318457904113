package basedir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Another user who can reach the socket is shut out, and this user still served.
func TestOtherUsersAreShutOut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: becoming another user needs root")
	}
	t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
	h := hold(t, resolve(t))
	l, err := h.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := l.Addr().String()
	// Open every door but the last.
	for _, p := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1)) // the other user sends nothing
			err = errors.Join(err, c.Close())
		}
		accepted <- err
	}()
	if n, err := readAs(65534, path); n != 0 || err != nil {
		t.Fatalf("other user read %d bytes, %v; want the connection closed", n, err)
	}
	c, err := Dial(t.Context(), h.Layout())
	if err != nil {
		t.Fatal(err)
	}
	_, werr := c.Write([]byte{1})
	if err := errors.Join(werr, c.Close()); err != nil {
		t.Error(err)
	}
	if err := <-accepted; err != nil {
		t.Errorf("another user's connection was accepted: %v", err)
	}
}

// readAs connects as another user and reads until the other end closes, or for
// five seconds.
func readAs(uid int, path string) (n int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its identity
		// The raw call changes this thread only.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			err = errno
			return
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return
		}
		if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
			return
		}
		n, err = unix.Read(fd, make([]byte, 1))
	}()
	<-done
	return n, err
}
