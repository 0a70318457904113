package basedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// errLocked says that another process, or another holder in this one, has the lock.
var errLocked = errors.New("locked")

// HeldError says that another process holds the base directory.
type HeldError struct {
	Dir string
	PID int // 0: it did not say
}

// Error names the directory and the process.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("base directory %s is held by another process", e.Dir)
	}
	return fmt.Sprintf("base directory %s is held by process %d", e.Dir, e.PID)
}

// A process that was killed while it was starting another leaves the lock to that
// one until it is a program of its own.
const (
	linger     = 2 * time.Second
	lingerPoll = 5 * time.Millisecond
)

// Holder is the one process that may write to a base directory. The operating
// system takes the directory from a process that ends in whatever way.
type Holder struct {
	layout Layout
	lock   *os.File
	id     string
	crash  bool
}

// Hold takes the base directory, or returns a [HeldError].
func Hold(l Layout) (*Holder, error) {
	f, err := os.OpenFile(filepath.Join(l.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hold base directory: %w", err)
	}
	h := &Holder{layout: l, lock: f}
	if err := h.take(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func (h *Holder) take() error {
	err := tryLock(h.lock)
	for deadline := time.Now().Add(linger); errors.Is(err, errLocked); err = tryLock(h.lock) {
		pid := readPID(h.lock)
		if pid == 0 || !gone(pid) || time.Now().After(deadline) {
			return &HeldError{Dir: h.layout.Dir, PID: pid}
		}
		time.Sleep(lingerPoll)
	}
	if err != nil {
		return fmt.Errorf("hold base directory: lock %s: %w", h.lock.Name(), err)
	}
	// The number is for people and messages. That it is still there says that
	// its process did not get as far as Clean.
	if info, err := h.lock.Stat(); err != nil || info.Size() > 0 {
		h.crash = true
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if _, err = h.lock.WriteAt([]byte(pid), 0); err == nil {
		err = h.lock.Truncate(int64(len(pid)))
	}
	if err != nil {
		return fmt.Errorf("hold base directory: record process: %w", err)
	}
	for _, dir := range []string{h.layout.LogDir, h.layout.WorkDir, h.layout.RunDir} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("hold base directory: %w", err)
		}
	}
	if h.id, err = readID(filepath.Join(h.layout.Dir, "id")); err != nil {
		return fmt.Errorf("hold base directory: %w", err)
	}
	return nil
}

// readPID returns 0 when the holder has not written its number yet.
func readPID(f io.ReaderAt) int {
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// Layout returns where things are.
func (h *Holder) Layout() Layout { return h.layout }

// ID returns the random name of the base directory: 26 capital letters and
// digits that stay the same for its life. Processes and cgroups that a master
// leaves behind are known by it.
func (h *Holder) ID() string { return h.id }

// Ballast returns the space that is set aside in the base directory.
func (h *Holder) Ballast() *Ballast {
	return &Ballast{path: filepath.Join(h.layout.Dir, "ballast"), free: h.layout.DiskFree}
}

// Crashed reports whether the holder before this one ended without Clean.
func (h *Holder) Crashed() bool { return h.crash }

// Clean records that this holder leaves nothing behind that the next one would
// have to look for. A holder that found a crash must have cleared up before.
func (h *Holder) Clean() error {
	if err := h.lock.Truncate(0); err != nil {
		return fmt.Errorf("record a clean end: %w", err)
	}
	return nil
}

// Close gives the base directory back. It may be called again.
func (h *Holder) Close() error {
	if err := h.lock.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("give back base directory: %w", err)
	}
	return nil
}

// readID reads the id, and makes it when there is none that is whole.
func readID(path string) (string, error) {
	data, err := readSmall(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if id := strings.TrimSpace(string(data)); validID(id) {
		return id, nil
	}
	id := rand.Text()
	return id, replace(path, id+"\n", true)
}

// validID knows what [rand.Text] returns: 26 digits of base 32.
func validID(id string) bool {
	return len(id) == 26 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// readSmall reads a file of one line.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 4096))
}

// replace writes a small file so that it is there as a whole or not at all. What
// is of no use after a power cut need not be durable.
func replace(path, content string, durable bool) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
