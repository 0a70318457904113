package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func prepareDownload(c *command) (func() error, error) {
	t, err := c.readTransfer()
	if err != nil {
		return nil, err
	}
	mode, err := c.args.int("mode", -1)
	if err != nil {
		return nil, err
	}
	return func() error { return c.settled(&t, c.download(&t, mode)) }, nil
}

// download fetches a file. The master's file is closed whatever happens.
func (c *command) download(t *transfer, mode int64) error {
	f, err := create(t.path, mode)
	if err != nil {
		err = fileError(fmt.Sprintf("Cannot open file '%s' for download: %v", t.path, reason(err)))
	} else {
		err = errors.Join(c.fetchAll(t, f), f.Close())
	}
	if closed := c.to.closeRead(c.link); closed != nil {
		c.log.Warn("the master's file was not closed", "error", closed)
	}
	return err
}

// create makes a file with its directory. A mode of -1 leaves it to the umask.
func create(path string, mode int64) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil || mode < 0 {
		return f, err
	}
	if err := f.Chmod(os.FileMode(mode & 0o777)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fetchAll writes what the master has to f.
func (c *command) fetchAll(t *transfer, f *os.File) error {
	for {
		if c.interrupted() {
			return errInterrupted
		}
		n := t.allowed()
		if n == 0 {
			return errTooLarge
		}
		data, err := c.to.read(c.link, int(n))
		if err != nil {
			return fmt.Errorf("fetch a block: %w", err)
		}
		if len(data) == 0 {
			return nil
		}
		if int64(len(data)) > n {
			return fmt.Errorf("the master sent %d bytes, not %d", len(data), n)
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		t.took(len(data))
	}
}
