package cli

import (
	"bytes"
	"context"
	"fmt"

	"bothy/mail"
	"bothy/runner/config"
	"bothy/runner/internal/secret"
)

// runMail sends a test mail from here: no master needs to run.
func runMail(ctx context.Context, c *call) error {
	if len(c.args) == 0 || c.args[0] != "test" {
		return wrongUsage("mail does what? \"bothy mail test ADDRESS\" sends a test mail")
	}
	if len(c.args) == 1 {
		return wrongUsage("a test mail to which address?")
	}
	if err := c.tooMany(2); err != nil {
		return err
	}
	to := c.args[1]
	if _, err := mail.ParseAddress(to); err != nil {
		return wrongUsage("%q is not an address that mail can be sent to: %w", to, err)
	}
	file, err := c.configFile()
	if err != nil {
		return err
	}
	conf, _, err := config.Load(file)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	secrets, err := secret.New(conf, c.Environ)
	if err != nil {
		return err
	}
	relay, err := secrets.Relay(ctx, conf.Mail)
	if err != nil {
		return err
	}
	var dialogue bytes.Buffer
	said, err := mail.SendTest(ctx, relay, conf.Title, conf.Mail.From, conf.Mail.ReplyTo, to, &dialogue)
	if err != nil {
		if _, werr := c.Stderr.Write(dialogue.Bytes()); werr != nil {
			return werr
		}
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "%s has accepted a test mail to %s: %s\n", relay.Addr, to, said)
	return err
}
