package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is a dialogue with a relay that is ready for a message.
type session struct {
	relay    *Relay
	client   *smtp.Client
	dialogue *dialogue
	wire     *bounded
	loopback bool
	secure   bool        // TLS is in use
	stop     func() bool // ends the watch over the context
}

// errNoTLS means that a relay which is not bound to TLS failed to set it up.
var errNoTLS = errors.New("opportunistic TLS failed")

// open connects, sets up TLS and logs in.
func (r *Relay) open(ctx context.Context, trace io.Writer) (*session, error) {
	host, _, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return nil, fmt.Errorf("relay %q: %w", r.Addr, err)
	}
	s, err := r.connect(ctx, host, trace, r.TLS)
	if errors.Is(err, errNoTLS) && ctx.Err() == nil {
		s, err = r.connect(ctx, host, trace, TLSNone)
	}
	return s, err
}

func (r *Relay) connect(ctx context.Context, host string, trace io.Writer, mode TLSMode) (*session, error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to relay %s: %w", r.Addr, err)
	}
	wire := &bounded{Conn: conn, left: maxReplies, timeout: r.commandTimeout()}
	s := &session{
		relay: r, wire: wire, loopback: isLoopback(host, conn),
		dialogue: &dialogue{Conn: wire, trace: trace, hide: hider(r.Username, r.Password)},
		stop:     context.AfterFunc(ctx, func() { _ = conn.Close() }),
	}
	s.dialogue.note("-- ", "connected to "+conn.RemoteAddr().String())
	if err := s.prepare(ctx, host, mode); err != nil {
		s.close()
		return nil, fmt.Errorf("relay %s: %w", r.Addr, s.explain(ctx, err))
	}
	return s, nil
}

func (r *Relay) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(r.Timeouts.Dial, DialTimeout))
	defer cancel()
	if r.Dial != nil {
		return r.Dial(ctx, "tcp", r.Addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", r.Addr)
}

// prepare does what comes before the message: greeting, TLS, login.
func (s *session) prepare(ctx context.Context, host string, mode TLSMode) error {
	config := &tls.Config{ServerName: host, RootCAs: s.relay.RootCAs}
	if mode == TLSImplicit {
		if err := s.handshake(ctx, config); err != nil {
			return err
		}
	}
	if err := s.hello(); err != nil {
		return err
	}
	optional := s.loopback && (mode == TLSAuto || mode == "")
	offered, _ := s.client.Extension("STARTTLS")
	switch {
	case mode == TLSImplicit || mode == TLSNone || optional && !offered:
	case !offered:
		return errors.New("it does not offer STARTTLS, and without it nothing is sent to another machine")
	default:
		config.InsecureSkipVerify = optional
		err := s.startTLS(ctx, config)
		if err != nil && optional {
			s.dialogue.note("-- ", err.Error()+"; once more without TLS")
			return fmt.Errorf("%w: %w", errNoTLS, err)
		}
		if err != nil {
			return err
		}
	}
	return s.auth()
}

// hello waits for the greeting, says EHLO, and learns what is offered.
func (s *session) hello() error {
	s.client = smtp.NewClient(s.dialogue)
	s.client.CommandTimeout = s.relay.commandTimeout()
	s.client.SubmissionTimeout = orDefault(s.relay.Timeouts.Delivery, DeliveryTimeout)
	return s.client.Hello(s.localName())
}

// localName is how we call ourselves: a full name, or else, as RFC 5321 4.1.3
// wants it, the address.
func (s *session) localName() string {
	if name := s.relay.LocalName; name != "" {
		return name
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && isASCII(name) && oneLine(name, maxName) == name {
		return name
	}
	local, err := netip.ParseAddrPort(s.wire.LocalAddr().String())
	switch ip := local.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// startTLS is done by hand, because go-smtp's client has it only for
// connections that must have TLS, where it calls itself "localhost" before.
func (s *session) startTLS(ctx context.Context, config *tls.Config) error {
	if err := s.wire.SetDeadline(time.Now().Add(s.relay.commandTimeout())); err != nil {
		return err
	}
	if _, err := io.WriteString(s.dialogue, "STARTTLS\r\n"); err != nil {
		return err
	}
	// Byte by byte, so that nothing that follows in clear text is read.
	reply := textproto.NewReader(bufio.NewReader(slowly{s.dialogue}))
	if _, _, err := reply.ReadResponse(220); err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if err := s.handshake(ctx, config); err != nil {
		return err
	}
	s.dialogue.greeting = "220 go on\r\n" // go-smtp's new client wants one; the relay sends none
	return s.hello()
}

// slowly reads one byte at a time.
type slowly struct{ io.Reader }

func (r slowly) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }

func (s *session) handshake(ctx context.Context, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, s.relay.commandTimeout())
	defer cancel()
	conn := tls.Client(s.wire, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.dialogue.Conn, s.secure = conn, true
	checked := "certificate checked"
	if config.InsecureSkipVerify {
		checked = "certificate not checked, as the relay is on this machine"
	}
	s.dialogue.note("-- ", tls.VersionName(conn.ConnectionState().Version)+", "+checked)
	return nil
}

// auth logs in, if a username is configured, with PLAIN or else LOGIN.
func (s *session) auth() error {
	r := s.relay
	if r.Username == "" {
		return nil
	}
	var mechanism sasl.Client
	switch {
	case !s.secure && !s.loopback:
		return errors.New("the password is not sent without TLS to another machine")
	case strings.Contains(r.Username+r.Password, "\x00"):
		return errors.New("username or password holds a zero byte")
	case s.client.SupportsAuth(sasl.Plain):
		mechanism = sasl.NewPlainClient("", r.Username, r.Password)
	case s.client.SupportsAuth(sasl.Login):
		mechanism = &login{answers: []string{r.Username, r.Password}}
	default:
		_, offers := s.client.Extension("AUTH")
		return fmt.Errorf("there is a username, but the relay offers neither AUTH PLAIN nor AUTH LOGIN (it offers %q)", offers)
	}
	s.dialogue.mode = traceAuth
	err := s.client.Auth(mechanism)
	s.dialogue.mode = traceAll
	if err != nil {
		return fmt.Errorf("log in as %q: %w", r.Username, err)
	}
	return nil
}

// login is AUTH LOGIN, which has no standard. It answers in order and leaves
// the wording of the prompts to the relay; go-sasl's wants "Password:".
type login struct{ answers []string }

func (l *login) Start() (string, []byte, error) { return sasl.Login, nil, nil }

func (l *login) Next([]byte) ([]byte, error) {
	if len(l.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return []byte(answer), nil
}

// quit says goodbye, which must not take long, and closes the connection.
func (s *session) quit() {
	s.client.CommandTimeout, s.wire.timeout = quitTimeout, quitTimeout
	_ = s.client.Quit()
	s.close()
}

// close leaves out TLS's goodbye, which could block.
func (s *session) close() {
	s.stop()
	_ = s.wire.Close()
}

// explain makes of an error of the connection one that says whose fault it was,
// and that may be shown.
func (s *session) explain(ctx context.Context, err error) error {
	f := newFault(err, s.dialogue.hide)
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		f.text = context.Cause(ctx).Error() + ": " + f.text
		f.err = errors.Join(context.Cause(ctx), f.err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		f.text = "the relay closed the connection: " + f.text
	case errors.As(err, &timeout) && timeout.Timeout():
		f.text = "no answer in time: " + f.text
	}
	return f
}

// isLoopback reports whether a relay is on this machine, by its name as well as
// by the address that was reached: a name of another machine may be made to lead
// here, and "localhost" elsewhere.
func isLoopback(host string, conn net.Conn) bool {
	ip := net.ParseIP(host)
	if !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	to, ok := conn.RemoteAddr().(*net.TCPAddr)
	return !ok || to.IP.IsLoopback()
}
