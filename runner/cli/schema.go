package cli

import (
	"context"

	"bothy/runner/config"
)

func runSchema(_ context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	_, err := c.Stdout.Write(config.Schema())
	return err
}
