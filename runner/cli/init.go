package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bothy/runner/config"
	"bothy/runner/config/propose"
)

func runInit(_ context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	text, found, err := propose.Dir(c.Dir)
	if err != nil {
		return fmt.Errorf("look at %s: %w", c.Dir, err)
	}
	if c.flag("print") {
		_, err := c.Stdout.Write(text)
		return err
	}
	file := filepath.Join(c.Dir, config.FileName)
	if c.config != "" {
		file = c.path(c.config)
	}
	shown := c.show(file)
	switch err := writeNew(file, text); {
	case errors.Is(err, fs.ErrExist):
		return wrongUsage("%s exists and is left as it is; \"bothy init --print\" prints a proposal", shown)
	case err != nil:
		return err
	}
	what := "an example to edit, since nothing here was recognised"
	if len(found) > 0 {
		what = "builders for " + strings.Join(found, ", ")
	}
	_, err = fmt.Fprintf(c.Stdout, "wrote %s: %s\nnext: \"bothy run\"\n", shown, what)
	return err
}

// writeNew writes a file that does not exist yet. A file that could not be
// written whole is removed again.
func writeNew(name string, data []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}
