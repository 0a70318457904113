package basedir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is what fits into sockaddr_un with its final zero: 108 bytes
// on Linux and Windows, 104 on macOS.
const maxSocketPath = 103

// ErrNoMaster says that nobody holds the base directory or listens for it.
var ErrNoMaster = errors.New("no master is listening")

// Listen opens the control socket, which only this user, and root where the
// system can tell, may talk to. Its path is recorded in the base directory.
// Closing the listener removes both.
func (h *Holder) Listen() (net.Listener, error) {
	path, err := h.socketPath()
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	// We hold the base directory, so a socket with its name has no owner.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen for commands: remove what an earlier master left: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	record := socketRecord(h.layout)
	err = os.Chmod(path, 0o600)
	if err == nil {
		err = replace(record, path+"\n", false)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for commands: %w", err), l.Close())
	}
	return &listener{Listener: l, record: record}, nil
}

func socketRecord(l Layout) string { return filepath.Join(l.Dir, "socket") }

// socketPath returns a path in a directory that is this user's alone.
func (h *Holder) socketPath() (string, error) {
	var errs []error
	for _, dir := range socketDirs(os.Getenv("XDG_RUNTIME_DIR")) {
		path := filepath.Join(dir, h.id+".sock")
		if len(path) > maxSocketPath {
			errs = append(errs, fmt.Errorf("%s is longer than %d bytes", path, maxSocketPath))
			continue
		}
		if err := privateDir(dir); err != nil {
			errs = append(errs, err)
			continue
		}
		return path, nil
	}
	return "", errors.Join(errs...)
}

// privateDir makes dir, or checks that the one that is there can be trusted.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return private(dir, info)
}

// listener lets in only who may command this master.
type listener struct {
	net.Listener
	record string
}

// Accept closes the connections of other users and waits for the next.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if checkPeer(c) == nil {
			return c, nil
		}
		_ = c.Close()
	}
}

// Close closes the socket and removes its traces.
func (l *listener) Close() error {
	err := l.Listener.Close() // removes the socket
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if rerr := os.Remove(l.record); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// Dial connects to the master that holds the base directory, or returns an
// error that wraps [ErrNoMaster]. The master is checked to be of this user, or
// root, where the system can tell: it will be sent this process's environment.
func Dial(ctx context.Context, l Layout) (net.Conn, error) {
	data, err := readSmall(socketRecord(l))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("base directory %s: %w", l.Dir, ErrNoMaster)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the master: %w", err)
	}
	path := strings.TrimSuffix(string(data), "\n")
	if !filepath.IsAbs(path) || len(path) > maxSocketPath || strings.ContainsAny(path, "\x00\n") {
		return nil, fmt.Errorf("connect to the master: %s does not hold the path of a socket", socketRecord(l))
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		if noListener(err) {
			return nil, fmt.Errorf("base directory %s: %w: %w", l.Dir, ErrNoMaster, err)
		}
		return nil, fmt.Errorf("connect to the master: %w", err)
	}
	if err := checkPeer(c); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the master: %w", err), c.Close())
	}
	return c, nil
}
