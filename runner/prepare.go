package runner

import (
	"context"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/secret"
)

// prepare makes ready what follows from a configuration. Nothing is asked for
// its value yet: a store of secrets that is down keeps no master from starting.
func prepare(c *config.Config, environ []string) (engine.Prepared, error) {
	secrets, err := secret.New(c, environ)
	if err != nil {
		return engine.Prepared{}, err
	}
	return engine.Prepared{
		Secrets: secrets,
		Mailer:  func(ctx context.Context) (engine.Mailer, error) { return secrets.Relay(ctx, c.Mail) },
	}, nil
}
