package lasting

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// spoolPattern is the name of a spool's file while it has one.
const spoolPattern = "spool-*"

// Spool keeps messages on disk, up to a size. Its file has no name where the
// system allows that, so it goes with the process.
type Spool struct {
	dir string
	max int64
	log *slog.Logger

	mu     sync.Mutex
	f      *os.File // nil: not needed yet
	name   string   // to be removed; "": it has none
	size   int64    // of what was written since it was last empty
	held   int      // messages
	failed bool     // it was said that it cannot be written
	closed bool
}

// NewSpool returns a spool of at most max bytes in a directory, which must exist
// and belong to the caller alone: spools that an earlier process left there are
// removed.
func NewSpool(dir string, max int64, log *slog.Logger) (*Spool, error) {
	left, err := filepath.Glob(filepath.Join(dir, spoolPattern))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return nil, fmt.Errorf("left-over spool: %w", err)
	}
	return &Spool{dir: dir, max: max, log: log}, nil
}

// put adds a message; false: there is no room.
func (p *Spool) put(msg []byte) (at int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.size+int64(len(msg)) > p.max {
		return 0, false
	}
	err := p.open()
	if err == nil {
		_, err = p.f.WriteAt(msg, p.size)
	}
	if err != nil {
		if !p.failed {
			p.log.Warn("output that the master has not taken cannot be written to disk: commands wait", "error", err)
		}
		p.failed = true
		return 0, false
	}
	at = p.size
	p.size += int64(len(msg))
	p.held++
	p.failed = false
	return at, true
}

// open makes the file. The caller holds mu.
func (p *Spool) open() error {
	if p.f != nil {
		return nil
	}
	f, err := os.CreateTemp(p.dir, spoolPattern)
	if err != nil {
		return err
	}
	if p.f = f; os.Remove(f.Name()) != nil {
		p.name = f.Name() // Windows: it goes when it is closed
	}
	return nil
}

// get reads a message.
func (p *Spool) get(at, size int64) ([]byte, error) {
	p.mu.Lock()
	f := p.f
	p.mu.Unlock()
	if f == nil {
		return nil, os.ErrClosed
	}
	msg := make([]byte, size)
	if _, err := f.ReadAt(msg, at); err != nil {
		return nil, fmt.Errorf("read what was kept on disk: %w", err)
	}
	return msg, nil
}

// take says that a message is not needed any more.
func (p *Spool) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held--; p.held == 0 && !p.closed {
		p.remove()
	}
}

// remove gives the file back. The caller holds mu.
func (p *Spool) remove() {
	if p.f != nil {
		p.f.Close() // what it holds is not needed
		if p.name != "" {
			if err := os.Remove(p.name); err != nil {
				p.log.Warn("spool not removed", "error", err)
			}
		}
	}
	p.f, p.name, p.size = nil, "", 0
}

// close gives everything back. What it holds is lost.
func (p *Spool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.remove()
}

// Held returns how many bytes are on disk.
func (p *Spool) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}
