package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// TLSMode is how the connection to a relay is protected.
type TLSMode string

// The modes. A certificate is always checked, except for a relay on this
// machine in mode TLSAuto.
const (
	TLSAuto     TLSMode = "auto"     // on this machine: STARTTLS if that works; elsewhere: TLSStartTLS
	TLSStartTLS TLSMode = "starttls" // refuses a relay that does not offer it
	TLSImplicit TLSMode = "implicit" // TLS from the first byte, usually port 465
	TLSNone     TLSMode = "none"     // no password is sent to another machine then
)

// The default timeouts. RFC 5321 4.5.3.2 wants 5 minutes for most commands, but
// for what follows the final dot 10 minutes are worth waiting: who hangs up
// sooner makes duplicates.
const (
	DialTimeout     = 30 * time.Second
	CommandTimeout  = 2 * time.Minute
	DeliveryTimeout = 10 * time.Minute
	DialogueTimeout = 20 * time.Minute

	quitTimeout = 5 * time.Second // the message is through by then
)

// Timeouts bound the parts of a dialogue; zero values are the defaults above.
type Timeouts struct {
	Dial     time.Duration
	Command  time.Duration // greeting, TLS handshake, each command, each piece of the message
	Delivery time.Duration // from the final dot to the relay's answer
	Dialogue time.Duration // all of it
}

// Relay is an SMTP server that takes our mails. Its methods may be called from
// many goroutines; each call has its own connection.
type Relay struct {
	Addr     string // HOST:PORT; certificates are checked for HOST
	TLS      TLSMode
	Username string // empty: no AUTH
	Password string
	// LocalName is said in EHLO; empty: the host's name if it has a dot, or
	// else its address.
	LocalName string
	RootCAs   *x509.CertPool // nil: those of the system
	Timeouts  Timeouts
	// Dial connects; nil: over TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// SendOptions are what a sender may want besides.
type SendOptions struct {
	// BeforeData is called when the relay has accepted at least one recipient,
	// before the message is sent: what it makes durable is known to have been
	// tried. On its error nothing is sent.
	BeforeData func(accepted []string) error
	// Trace gets the dialogue line by line ("C: " we, "S: " the relay, "-- "
	// remarks), without passwords, without the message and without control
	// characters.
	Trace io.Writer
}

func (r *Relay) commandTimeout() time.Duration {
	return orDefault(r.Timeouts.Command, CommandTimeout)
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

var errDialogueTimeout = errors.New("the dialogue took too long")

// Send hands msg (of Message.Bytes) to the relay for the recipients, addresses
// as ParseAddress reads them, and returns what became of it for each of them, in
// their order. from is the envelope's sender; empty: none, so that nothing
// bounces.
//
// An error says why the dialogue ended early; the outcomes hold it already, so
// it only matters to who wants to tell it once. It is nil when the relay refused
// recipients one by one. Faults of the relay or of its configuration (connection,
// TLS, login) are Temporary: the operator can mend them while the message waits.
// So is all that happens before the whole message was sent; when the answer to
// it is missing, or ctx ends before it comes, the outcome is Uncertain.
func (r *Relay) Send(ctx context.Context, from string, to []string, msg []byte, o SendOptions) ([]Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, orDefault(r.Timeouts.Dialogue, DialogueTimeout), errDialogueTimeout)
	defer cancel()
	d := delivery{outcomes: make([]Outcome, len(to)), addrs: make([]string, len(to)), options: o}
	for i, s := range to {
		d.outcomes[i].Recipient = s
		a, err := ParseAddress(s)
		if err != nil {
			d.outcomes[i].set(Permanent, err)
			continue
		}
		d.addrs[i] = a.Address
	}
	err := d.run(ctx, r, from, msg)
	if err != nil {
		err = fmt.Errorf("send mail: %w", err)
		d.rest(Temporary, err)
	}
	return d.outcomes, err
}

// delivery is one message on its way. An outcome without a status is one that
// may still be accepted.
type delivery struct {
	outcomes []Outcome
	addrs    []string // of outcomes
	options  SendOptions
}

// rest gives a status to the outcomes that have none.
func (d *delivery) rest(status Status, err error) {
	for i := range d.outcomes {
		if d.outcomes[i].Status == "" {
			d.outcomes[i].set(status, err)
		}
	}
}

// undecided is the recipients without a status.
func (d *delivery) undecided() (recipients []string) {
	for _, o := range d.outcomes {
		if o.Status == "" {
			recipients = append(recipients, o.Recipient)
		}
	}
	return recipients
}

func (d *delivery) run(ctx context.Context, r *Relay, from string, msg []byte) error {
	if from != "" {
		a, err := ParseAddress(from)
		if err != nil {
			return fmt.Errorf("sender: %w", err)
		}
		from = a.Address
	}
	if len(d.undecided()) == 0 {
		return nil
	}
	s, err := r.open(ctx, d.options.Trace)
	if err != nil {
		return err
	}
	defer s.close()
	if err := d.envelope(s, from, len(msg)); err != nil {
		return d.failed(s.explain(ctx, err))
	}
	accepted := d.undecided()
	if len(accepted) == 0 {
		s.quit()
		return nil
	}
	if d.options.BeforeData != nil {
		if err := d.options.BeforeData(accepted); err != nil {
			return err
		}
	}
	return d.data(ctx, s, msg)
}

// envelope names the sender and the recipients. Refused recipients have their
// outcome afterwards; the error is about all that have none.
func (d *delivery) envelope(s *session, from string, size int) error {
	unicode := !isASCII(from)
	if ok, _ := s.client.Extension("SMTPUTF8"); !ok {
		err := errors.New("the relay takes only addresses in ASCII (it does not offer SMTPUTF8)")
		if unicode {
			return err
		}
		for i, addr := range d.addrs {
			if !isASCII(addr) && d.outcomes[i].Status == "" {
				d.outcomes[i].set(Permanent, err)
			}
		}
	} else {
		for _, addr := range d.addrs {
			unicode = unicode || !isASCII(addr)
		}
	}
	if len(d.undecided()) == 0 {
		return nil
	}
	if err := s.client.Mail(from, &smtp.MailOptions{Size: int64(size), UTF8: unicode}); err != nil {
		return fmt.Errorf("MAIL FROM: %w", err)
	}
	for i := range d.outcomes {
		if d.outcomes[i].Status != "" {
			continue
		}
		err := s.client.Rcpt(d.addrs[i], nil)
		if err == nil {
			continue
		}
		var reply *ReplyError
		if !errors.As(newFault(err, s.dialogue.hide), &reply) {
			return fmt.Errorf("RCPT TO: %w", err)
		}
		d.outcomes[i].set(reply.status(), reply)
	}
	return nil
}

// data sends the message and gives every open recipient an outcome.
func (d *delivery) data(ctx context.Context, s *session, msg []byte) error {
	body, err := s.client.Data()
	if err != nil {
		return d.failed(s.explain(ctx, fmt.Errorf("DATA: %w", err)))
	}
	s.dialogue.note("C: ", fmt.Sprintf("[the message, %d bytes]", len(msg)))
	s.dialogue.mode = traceBody
	if _, err := body.Write(msg); err != nil {
		return d.failed(s.explain(ctx, fmt.Errorf("send the message: %w", err)))
	}
	answer, err := body.CloseWithResponse() // sends the rest and the final dot
	s.dialogue.mode = traceAll
	if err == nil {
		d.accepted(250, oneLine(s.dialogue.hide(answer.StatusText), maxLine))
		s.quit()
		return nil
	}
	err = s.explain(ctx, err)
	var reply *ReplyError
	errors.As(err, &reply)
	switch {
	case reply != nil && reply.Code/100 == 2: // go-smtp knows only 250
		d.accepted(reply.Code, reply.Text)
		s.quit()
		return nil
	case reply != nil && (reply.Code/100 == 4 || reply.Code/100 == 5), s.dialogue.broken:
		return d.failed(fmt.Errorf("send the message: %w", err))
	}
	err = fmt.Errorf("the message was sent, but not acknowledged: %w", err)
	d.rest(Uncertain, err)
	return err
}

// accepted gives the open recipients the best outcome.
func (d *delivery) accepted(code int, text string) {
	for i := range d.outcomes {
		if o := &d.outcomes[i]; o.Status == "" {
			o.Status, o.Code, o.Text = Accepted, code, text
		}
	}
}

// failed gives the open recipients the outcome that err stands for.
func (d *delivery) failed(err error) error {
	status := Temporary
	var reply *ReplyError
	if errors.As(err, &reply) {
		status = reply.status()
	}
	d.rest(status, err)
	return err
}
