package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// SendTest sends a test mail, titled as the master is, through r to one
// recipient, and returns what the relay said when it accepted it. Trace, unless
// nil, gets the dialogue.
func SendTest(ctx context.Context, r *Relay, title, from, replyTo, to string, trace io.Writer) (said string, err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name of this host: %w", err)
	}
	now := time.Now()
	msg := Message{
		From: from, ReplyTo: replyTo, To: []string{to}, Date: now,
		MessageID: NewMessageID(from), Content: Test(title, now, host, r.Addr),
	}
	data, err := msg.Bytes()
	if err != nil {
		return "", fmt.Errorf("write the test mail: %w", err)
	}
	outcomes, err := r.Send(ctx, from, []string{to}, data, SendOptions{Trace: trace})
	if len(outcomes) == 1 && outcomes[0].Status == Accepted {
		return outcomes[0].Text, nil
	}
	if err == nil && len(outcomes) == 1 {
		err = errors.New(outcomes[0].Text)
	}
	return "", fmt.Errorf("test mail to %s: %w", to, err)
}
