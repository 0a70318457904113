package secret

import (
	"context"
	"fmt"

	"bothy/mail"
	"bothy/runner/config"
)

// Relay returns the mail relay that m describes, with its password looked up.
func (c *Chain) Relay(ctx context.Context, m config.Mail) (*mail.Relay, error) {
	r := &mail.Relay{Addr: m.Relay, TLS: mail.TLSMode(m.TLS), Username: m.Username}
	if m.Password.IsZero() {
		return r, nil
	}
	var err error
	if r.Password, err = c.Resolve(ctx, m.Password); err != nil {
		return nil, fmt.Errorf("password of the mail relay: %w", err)
	}
	return r, nil
}
