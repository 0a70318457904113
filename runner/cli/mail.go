package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this host: %w", err)
	}
	now := time.Now()
	msg := mail.Message{
		From: conf.Mail.From, ReplyTo: conf.Mail.ReplyTo, To: []string{to}, Date: now,
		MessageID: mail.NewMessageID(conf.Mail.From), Content: mail.Test(conf.Title, now, host, relay.Addr),
	}
	data, err := msg.Bytes()
	if err != nil {
		return fmt.Errorf("write the test mail: %w", err)
	}
	var dialogue bytes.Buffer
	outcomes, err := relay.Send(ctx, conf.Mail.From, []string{to}, data, mail.SendOptions{Trace: &dialogue})
	if len(outcomes) == 1 && outcomes[0].Status == mail.Accepted {
		_, err := fmt.Fprintf(c.Stdout, "%s has accepted a test mail to %s: %s\n", relay.Addr, to, outcomes[0].Text)
		return err
	}
	if _, werr := c.Stderr.Write(dialogue.Bytes()); werr != nil {
		return werr
	}
	if err == nil && len(outcomes) == 1 {
		err = errors.New(outcomes[0].Text)
	}
	return fmt.Errorf("test mail to %s: %w", to, err)
}
