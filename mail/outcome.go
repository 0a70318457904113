package mail

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"
)

// Status is what became of a message for one recipient.
type Status string

// The outcomes of sending.
const (
	Accepted  Status = "accepted"  // the relay has taken it
	Temporary Status = "temporary" // it has not been sent; trying again makes sense
	Permanent Status = "permanent" // the relay said that it never will
	Uncertain Status = "uncertain" // all of it was sent, and no answer came: it may or may not arrive
)

// Outcome is what became of a message for one recipient.
type Outcome struct {
	Recipient string // as it was given
	Status    Status
	Code      int    // of the relay's reply, such as 550; 0: it gave none
	Text      string // the relay's reply, or what went wrong; one clean line
}

func (o *Outcome) set(s Status, err error) {
	o.Status = s
	o.Text = oneLine(err.Error(), maxLine)
	var reply *ReplyError
	if errors.As(err, &reply) {
		o.Code = reply.Code
	}
}

// ReplyError is a relay's reply that is not the one hoped for. Its text is one
// clean line without secrets.
type ReplyError struct {
	Code int // such as 550
	Text string
}

// Error is the reply as the relay gave it.
func (e *ReplyError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Text) }

// status is what the reply says of a message that it was given for.
//
// 530 asks for a login (RFC 4954). That is for the operator to mend and says
// nothing of the message, like all that happens before the message comes up.
func (e *ReplyError) status() Status {
	if e.Code >= 500 && e.Code <= 599 && e.Code != 530 {
		return Permanent
	}
	return Temporary
}

// fault is what went wrong with a connection. Its text may hold words of the
// relay, and is one clean line without secrets.
type fault struct {
	text string
	err  error // a *ReplyError if the relay said it
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.err }

// newFault says, with hide taking secrets out, what err of go-smtp is.
func newFault(err error, hide func(string) string) *fault {
	text := err.Error()
	var said *smtp.SMTPError
	if errors.As(err, &said) {
		reply := &ReplyError{Code: said.Code, Text: said.Message}
		if c := said.EnhancedCode; c[0] > 0 {
			reply.Text = fmt.Sprintf("%d.%d.%d %s", c[0], c[1], c[2], reply.Text)
		}
		text = strings.Replace(text, said.Error(), reply.Error(), 1)
		reply.Text = oneLine(hide(reply.Text), maxLine)
		err = reply
	}
	return &fault{text: oneLine(hide(text), maxLine), err: err}
}
