package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxBlock is the largest block of a transfer: Perspective Broker has a limit of
// 640 KiB, and a block is held in memory.
const maxBlock = 512 << 10

// transfer is what the transfers have in common.
type transfer struct {
	path  string
	block int64
	left  int64 // bytes that may still be sent; -1: any number
}

func (c *command) readTransfer() (t transfer, err error) {
	if t.path, err = c.args.path("path"); err != nil {
		return t, err
	}
	if t.block, err = c.args.int("blocksize", 0); err != nil {
		return t, err
	}
	if t.block <= 0 {
		return t, fmt.Errorf("argument %q: %d", "blocksize", t.block)
	}
	t.block = min(t.block, maxBlock)
	t.left, err = c.args.int("maxsize", -1)
	if c.args.get("maxsize") != nil {
		t.left = max(t.left, 0)
	}
	return t, err
}

// errTooLarge says that a file has more than "maxsize".
var errTooLarge = errors.New("maximum filesize reached")

// allowed returns how many bytes the next block may have.
func (t *transfer) allowed() int64 {
	if t.left >= 0 {
		return min(t.block, t.left)
	}
	return t.block
}

func (t *transfer) took(n int) {
	if t.left >= 0 {
		t.left -= int64(n)
	}
}

// sendAll sends what r has, block by block, until its end, an interrupt or the
// size that is allowed.
func (t *transfer) sendAll(c *command, r io.Reader) error {
	buf := make([]byte, t.block)
	for {
		if c.interrupted() {
			return errInterrupted
		}
		n := t.allowed()
		if n == 0 {
			return errTooLarge
		}
		got, err := io.ReadFull(r, buf[:n])
		if got > 0 {
			if err := c.to.write(c.link, buf[:got]); err != nil {
				return fmt.Errorf("send a block: %w", err)
			}
			t.took(got)
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
	}
}

// settled says how a transfer ended: text for stderr and exit code. It returns
// errors that are not the file's.
func (c *command) settled(t *transfer, err error) error {
	code, text := 1, ""
	var pathErr *os.PathError
	switch {
	case err == nil:
		code = 0
	case errors.Is(err, errInterrupted):
	case errors.Is(err, errTooLarge):
		text = fmt.Sprintf("Maximum filesize reached, truncating file '%s'\n", t.path)
	case errors.As(err, &pathErr) || errors.Is(err, errFile):
		text = err.Error() + "\n"
	default:
		c.rc(1)
		return err
	}
	if text != "" {
		c.out.stderr(text)
	}
	c.rc(code)
	return nil
}

// errFile marks errors that are the file's, or the step's.
var errFile = errors.New("file")

// fileError is an error with a text of its own.
type fileError string

func (e fileError) Error() string   { return string(e) }
func (e fileError) Is(t error) bool { return t == errFile }

func prepareUpload(c *command) (func() error, error) {
	t, err := c.readTransfer()
	if err != nil {
		return nil, err
	}
	keepstamp, err := c.args.bool("keepstamp", false)
	if err != nil {
		return nil, err
	}
	return func() error { return c.settled(&t, c.upload(&t, keepstamp)) }, nil
}

// upload sends a file. The master's file is closed whatever happens.
func (c *command) upload(t *transfer, keepstamp bool) error {
	f, err := openFile(t.path)
	c.out.header("sending " + t.path + "\n")
	var times [2]float64
	if err == nil {
		if keepstamp {
			times, err = fileTimes(f)
		}
		if err == nil {
			err = t.sendAll(c, f)
		}
		f.Close() // it was read only
	} else {
		err = fileError(fmt.Sprintf("Cannot open file '%s' for upload: %v", t.path, reason(err)))
	}
	if closed := c.to.closeFile(c.link); closed != nil {
		return errors.Join(err, fmt.Errorf("close the file: %w", closed))
	}
	if err == nil && keepstamp {
		if err := c.to.utime(c.link, times[0], times[1]); err != nil {
			return fmt.Errorf("set the file's times: %w", err)
		}
	}
	return err
}

// openFile opens a file. A directory is refused, and so is a pipe, for which one
// could wait for ever.
func openFile(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() || st.Mode()&os.ModeNamedPipe != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("it is no file")}
	}
	return os.Open(path)
}

// reason is an error without the path, which the text has already.
func reason(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
