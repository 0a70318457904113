//go:build unix

package spawn

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"bothy/runner/worker"
)

const (
	smallBuffer = 64 << 10 // a Linux pipe's first size
	largeBuffer = 1 << 20  // /proc/sys/fs/pipe-max-size as it comes
	maxTTYDrain = 1 << 20  // what may still be read from a terminal that somebody keeps writing to

	openNow = unix.O_NONBLOCK // open files without waiting for anybody
)

// buffers are a spawner's two read buffers, kept from command to command.
type buffers [2][]byte

// shrink gives back the memory of large ones.
func (b *buffers) shrink() {
	for i := range b {
		if len(b[i]) > smallBuffer {
			b[i] = nil
		}
	}
}

// stdio is the master's side of a command's standard files, and until
// closeChild the command's side too.
type stdio struct {
	taps  []*tap
	fds   []int
	stdin []byte // what is still to be written to in
	in    *os.File
	wg    sync.WaitGroup
}

// tap reads one stream.
type tap struct {
	f      *os.File
	stream worker.Stream
	buf    *[]byte
	tty    bool
}

func openStdio(cmd worker.Command, bufs *buffers) (s *stdio, err error) {
	s = &stdio{stdin: cmd.Stdin}
	defer func() {
		if err != nil {
			s.closeChild()
			s.close()
		}
	}()
	if cmd.PTY {
		return s, s.openTTY(&bufs[0])
	}
	for i, stream := range []worker.Stream{worker.Stdout, worker.Stderr} {
		r, w, err := pipe()
		if err != nil {
			return s, err
		}
		s.fds = append(s.fds, w)
		f, err := pollable(r, "output")
		if err != nil {
			return s, err
		}
		s.taps = append(s.taps, &tap{f: f, stream: stream, buf: &bufs[i]})
	}
	if cmd.Stdin != nil {
		r, w, err := pipe()
		if err != nil {
			return s, err
		}
		s.fds = append(s.fds, r)
		if s.in, err = pollable(w, "input"); err != nil {
			return s, err
		}
	}
	return s, nil
}

// pollable makes a file of fd whose reads and writes have deadlines. The other
// end of the pipe keeps blocking: the flag belongs to the end.
func pollable(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("pipe for %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// endOfInput is what a terminal reads as an end of file (VEOF).
const endOfInput = 4

func (s *stdio) openTTY(buf *[]byte) error {
	p, t, err := pty.Open()
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	defer p.Close()
	defer t.Close()
	theirs, err := duplicate(t, false)
	if err != nil {
		return err
	}
	s.fds = append(s.fds, theirs)
	if err := plainTTY(theirs); err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	ours, err := duplicate(p, true)
	if err != nil {
		return err
	}
	s.in = os.NewFile(uintptr(ours), "terminal")
	s.stdin = append(s.stdin[:len(s.stdin):len(s.stdin)], endOfInput)
	s.taps = []*tap{{f: s.in, stream: worker.Stdout, buf: buf, tty: true}}
	return nil
}

// duplicate returns a descriptor of a terminal in the wanted mode; package pty
// leaves us with either.
func duplicate(f *os.File, nonblocking bool) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("open terminal: %w", err)
	}
	failure := c.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			err = unix.SetNonblock(fd, nonblocking)
		}
	})
	if err = errors.Join(err, failure); err != nil {
		return -1, fmt.Errorf("open terminal: %w", err)
	}
	return fd, nil
}

// child returns the command's descriptors, as [request] orders them.
func (s *stdio) child() []int { return s.fds }

func (s *stdio) closeChild() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	s.fds = nil
}

func (s *stdio) close() {
	for _, t := range s.taps {
		t.f.Close()
	}
	if s.in != nil {
		s.in.Close()
	}
}

// pump starts to pass on what the command writes, and to write its input.
func (s *stdio) pump(out *output) {
	for _, t := range s.taps {
		s.wg.Go(func() { t.read(out) })
	}
	if s.in == nil {
		return
	}
	s.wg.Go(func() {
		s.in.Write(s.stdin) // who does not read his input to the end is within his rights
		if !s.taps[0].tty {
			s.in.Close()
		}
	})
}

// finish reads what the ended command has written, waits for nothing more, and
// closes everything.
func (s *stdio) finish() {
	for _, t := range s.taps {
		t.f.SetReadDeadline(time.Unix(1, 0))
	}
	if s.in != nil {
		s.in.SetWriteDeadline(time.Unix(1, 0))
	}
	s.wg.Wait()
	s.close()
}

// read passes on what comes until its end, or until finish, and then what is
// there already.
func (t *tap) read(out *output) {
	if *t.buf == nil {
		*t.buf = make([]byte, smallBuffer)
	}
	for {
		n, err := t.f.Read(*t.buf)
		if n > 0 {
			out.write("", t.stream, (*t.buf)[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.drain(out)
			return
		}
		if err != nil {
			return
		}
		if n == smallBuffer {
			t.grow()
		}
	}
}

// grow makes pipe and buffer large for a command that writes much.
func (t *tap) grow() {
	if len(*t.buf) < largeBuffer {
		*t.buf = make([]byte, largeBuffer)
	}
	if !t.tty {
		growPipe(t.f, largeBuffer)
	}
}

// drain reads what was in the pipe when the command ended: what the command
// wrote is there by then, and whoever holds the other end may write for ever.
func (t *tap) drain(out *output) {
	if t.f.SetReadDeadline(time.Time{}) != nil {
		return
	}
	c, err := t.f.SyscallConn()
	if err != nil {
		return
	}
	left := maxTTYDrain
	if !t.tty {
		c.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), inPipe) })
	}
	for left > 0 && err == nil {
		n := 0
		p := (*t.buf)[:min(left, len(*t.buf))]
		failure := c.Read(func(fd uintptr) bool {
			for {
				n, err = unix.Read(int(fd), p)
				if err != unix.EINTR {
					return true
				}
			}
		})
		if failure != nil || n <= 0 {
			return
		}
		out.write("", t.stream, p[:n])
		left -= n
	}
}

// nullFile is what a command without input reads.
func nullFile() (int, error) {
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	return fd, nil
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }

// file is what a command inherits: a descriptor.
type file = int
