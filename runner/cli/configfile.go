package cli

import (
	"errors"
	"io/fs"

	"bothy/runner/config"
)

// configFile returns the absolute path of the configuration to use: -c, else
// BOTHY_CONFIG, else the one found from the working directory upwards. The
// error wraps fs.ErrNotExist when none is found.
func (c *call) configFile() (string, error) {
	if c.config != "" {
		return c.path(c.config), nil
	}
	if name := c.Getenv("BOTHY_CONFIG"); name != "" {
		return c.path(name), nil
	}
	file, err := config.Find(c.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", wrongUsage("%w; \"bothy init\" writes one", err)
	case err != nil:
		return "", &exitError{code: exitUsage, err: err}
	}
	return file, nil
}
