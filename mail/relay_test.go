package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testUser     = "ci@mail.test"
	testPassword = "s3cret-%s-pässword"
)

// selfSigned is a certificate for names, and a pool that trusts it.
func selfSigned(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     names,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// server is go-smtp's server with faults.
type server struct {
	addr       string
	mechanisms []string // of AUTH; nil: none
	rcpt       func(to string) error
	data       func(c *smtp.Conn, r io.Reader) error // nil: takes the message

	mu       sync.Mutex
	saw      []string // commands
	messages []string
}

// startServer starts s with what set changes of its defaults.
func startServer(t *testing.T, s *server, set func(*smtp.Server)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	backend := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &serverSession{server: s, conn: c}, nil
	}))
	backend.Domain, backend.ErrorLog = "mail.test", log.New(io.Discard, "", 0)
	backend.AllowInsecureAuth = true
	if set != nil {
		set(backend)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve := listener
		if backend.Network == "tls" {
			serve = tls.NewListener(listener, backend.TLSConfig)
		}
		if err := backend.Serve(serve); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		_ = backend.Close()
		_ = listener.Close() // Close does not know it before Serve does
		<-done
	})
	return s
}

func (s *server) note(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saw = append(s.saw, command)
}

func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.saw)
}

func (s *server) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

type serverSession struct {
	*server
	conn *smtp.Conn
}

func (s *serverSession) Reset()        {}
func (s *serverSession) Logout() error { return nil }

func (s *serverSession) Mail(from string, o *smtp.MailOptions) error {
	command := "MAIL " + from
	if o.UTF8 {
		command += " SMTPUTF8"
	}
	if from == "blocked@example.com" {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not you"}
	}
	s.note(command)
	return nil
}

func (s *serverSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.note("RCPT " + to)
	if s.rcpt != nil {
		return s.rcpt(to)
	}
	return nil
}

func (s *serverSession) Data(r io.Reader) error {
	s.note("DATA")
	if s.data != nil {
		return s.data(s.conn, r)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, string(text))
	return nil
}

func (s *serverSession) AuthMechanisms() []string { return s.mechanisms }

func (s *serverSession) Auth(mechanism string) (sasl.Server, error) {
	check := func(username, password string) error {
		s.note("AUTH " + mechanism + " " + username)
		if username != testUser || password != testPassword {
			// A server that talks too much.
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "wrong password " + password + " " + base64.StdEncoding.EncodeToString([]byte(password))}
		}
		return nil
	}
	if mechanism == sasl.Plain {
		return sasl.NewPlainServer(func(_, username, password string) error { return check(username, password) }), nil
	}
	return &loginServer{check: check}, nil
}

// loginServer is AUTH LOGIN with prompts that are not the usual ones.
type loginServer struct {
	check    func(username, password string) error
	prompted bool
	username string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case !l.prompted:
		l.prompted = true
		return []byte("User Name\x00"), false, nil
	case l.username == "":
		l.username = string(response)
		return []byte("Password\x00"), false, nil
	}
	return nil, true, l.check(l.username, string(response))
}

// relayTo is a relay on this machine.
func relayTo(s *server) *Relay { return &Relay{Addr: s.addr, LocalName: "bothy.test"} }

// relayElsewhere is the same as if it were on another machine.
func relayElsewhere(s *server) *Relay {
	r := relayTo(s)
	r.Addr = "mail.example.com:25"
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}
	return r
}

func statuses(outcomes []Outcome) (list []Status) {
	for _, o := range outcomes {
		list = append(list, o.Status)
	}
	return list
}

const simple = "Subject: x\r\n\r\nfirst\r\n.dot\r\n"

// send sends a short message and compares the statuses.
func send(t *testing.T, r *Relay, to []string, want ...Status) ([]Outcome, error) {
	t.Helper()
	return sendWith(t, r, to, []byte(simple), SendOptions{}, want...)
}

func sendWith(t *testing.T, r *Relay, to []string, msg []byte, o SendOptions, want ...Status) ([]Outcome, error) {
	t.Helper()
	outcomes, err := r.Send(t.Context(), "bothy@example.com", to, msg, o)
	if !slices.Equal(statuses(outcomes), want) {
		t.Fatalf("got %+v, error %v; want %v", outcomes, err, want)
	}
	for i, o := range outcomes {
		if o.Recipient != to[i] || o.Text == "" && o.Status != Accepted {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
	return outcomes, err
}

var ann, bob = "ann@example.com", "Bob B. <bob@example.com>"

func TestSend(t *testing.T) {
	s := startServer(t, &server{}, nil)
	outcomes, err := send(t, relayTo(s), []string{ann, bob}, Accepted, Accepted)
	if err != nil || outcomes[0].Code != 250 {
		t.Errorf("%+v, %v", outcomes, err)
	}
	if got := s.received(); len(got) != 1 || got[0] != simple {
		t.Errorf("the server got %q", got)
	}
	want := []string{"MAIL bothy@example.com", "RCPT ann@example.com", "RCPT bob@example.com", "DATA"}
	if got := s.commands(); !slices.Equal(got, want) {
		t.Errorf("the server saw %q, want %q", got, want)
	}
}

func TestSendTemporaryThenAccepted(t *testing.T) {
	refusals := 1
	s := startServer(t, &server{rcpt: func(string) error {
		if refusals--; refusals >= 0 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted,\x1b[31m come again"}
		}
		return nil
	}}, nil)
	outcomes, err := send(t, relayTo(s), []string{ann}, Temporary)
	if want := (Outcome{ann, Temporary, 451, "451 4.7.1 greylisted, [31m come again"}); err != nil || outcomes[0] != want {
		t.Errorf("got %+v, %v, want %+v", outcomes[0], err, want)
	}
	send(t, relayTo(s), []string{ann}, Accepted)
	if got := len(s.received()); got != 1 {
		t.Errorf("%d messages arrived", got)
	}
}

func TestSendOneRefused(t *testing.T) {
	s := startServer(t, &server{rcpt: func(to string) error {
		if strings.HasPrefix(to, "bob") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}
		return nil
	}}, nil)
	var before []string
	outcomes, err := sendWith(t, relayTo(s), []string{bob, ann, "nobody"}, []byte(simple), SendOptions{BeforeData: func(accepted []string) error {
		before = accepted
		if slices.Contains(s.commands(), "DATA") {
			t.Error("DATA came before BeforeData")
		}
		return nil
	}}, Permanent, Accepted, Permanent)
	if want := (Outcome{bob, Permanent, 550, "550 5.1.1 no such user"}); err != nil || outcomes[0] != want {
		t.Errorf("got %+v, %v, want %+v", outcomes[0], err, want)
	}
	if !slices.Equal(before, []string{ann}) {
		t.Errorf("BeforeData got %q", before)
	}
	if slices.Contains(s.commands(), "RCPT nobody") {
		t.Error("something that is no address was sent")
	}
}

func TestSendNobodyLeft(t *testing.T) {
	s := startServer(t, &server{rcpt: func(string) error { return &smtp.SMTPError{Code: 550, Message: "no"} }}, nil)
	o := SendOptions{BeforeData: func([]string) error { t.Error("BeforeData without recipients"); return nil }}
	if _, err := sendWith(t, relayTo(s), []string{ann, bob}, []byte(simple), o, Permanent, Permanent); err != nil {
		t.Error(err)
	}
	if _, err := sendWith(t, relayTo(s), []string{"no address"}, []byte(simple), o, Permanent); err != nil {
		t.Error(err)
	}
}

func TestSendBeforeDataFails(t *testing.T) {
	s := startServer(t, &server{}, nil)
	full := errors.New("disk full")
	_, err := sendWith(t, relayTo(s), []string{ann}, []byte(simple), SendOptions{BeforeData: func([]string) error { return full }}, Temporary)
	if !errors.Is(err, full) || slices.Contains(s.commands(), "DATA") {
		t.Errorf("%v; the server saw %q", err, s.commands())
	}
}

// TestSendReplies walks the places where a relay can refuse.
func TestSendReplies(t *testing.T) {
	reply := func(code int) func(*smtp.Conn, io.Reader) error {
		return func(_ *smtp.Conn, r io.Reader) error {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return err
			}
			return &smtp.SMTPError{Code: code, Message: "so"}
		}
	}
	for _, c := range []struct {
		name   string
		server *server
		from   string
		want   Status
		code   int
	}{
		{name: "message, 4xx", server: &server{data: reply(452)}, want: Temporary, code: 452},
		{name: "message, 5xx", server: &server{data: reply(554)}, want: Permanent, code: 554},
		{name: "message, another 2xx", server: &server{data: reply(251)}, want: Accepted, code: 251},
		{name: "message, 3xx", server: &server{data: reply(354)}, want: Uncertain, code: 354},
		{name: "login wanted", server: &server{rcpt: func(string) error { return &smtp.SMTPError{Code: 530, Message: "log in"} }}, want: Temporary, code: 530},
		{name: "closing", server: &server{rcpt: func(string) error { return &smtp.SMTPError{Code: 421, Message: "bye"} }}, want: Temporary, code: 421},
		{name: "sender", server: &server{}, from: "blocked@example.com", want: Permanent, code: 553},
		{name: "no sender", server: &server{}, from: "<>", want: Temporary},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, c.server, nil)
			from := "bothy@example.com"
			if c.from != "" {
				from = c.from
			}
			outcomes, err := relayTo(s).Send(t.Context(), from, []string{ann}, []byte(simple), SendOptions{})
			if o := outcomes[0]; o.Status != c.want || o.Code != c.code {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
}

func TestSendCutBeforeTheDot(t *testing.T) {
	s := startServer(t, &server{data: func(c *smtp.Conn, r io.Reader) error {
		if _, err := r.Read(make([]byte, 1)); err != nil {
			return err
		}
		return c.Conn().Close()
	}}, nil)
	// More than the sockets can hold.
	large := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<20))
	if _, err := sendWith(t, relayTo(s), []string{ann}, large, SendOptions{}, Temporary); err == nil {
		t.Error("no error")
	}
}

func TestSendCutAfterTheDot(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := &server{data: func(c *smtp.Conn, r io.Reader) error {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return err
			}
			conn := c.Conn()
			if secured, ok := conn.(*tls.Conn); ok {
				conn = secured.NetConn()
				_, _ = conn.Write([]byte("no TLS at all")) // makes the client answer with an alert
			}
			return conn.Close()
		}}
		startServer(t, s, func(backend *smtp.Server) {
			if secure {
				cert, _ := selfSigned(t, "localhost")
				backend.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
		})
		outcomes, err := send(t, relayTo(s), []string{ann}, Uncertain)
		if err == nil || !strings.Contains(outcomes[0].Text, "not acknowledged") {
			t.Errorf("%+v, %v", outcomes, err)
		}
	}
}

func TestSendRelayDown(t *testing.T) {
	s := startServer(t, &server{}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := &Relay{Addr: listener.Addr().String()}
	_ = listener.Close()
	if _, err := send(t, down, []string{ann, bob}, Temporary, Temporary); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopping"))
	outcomes, err := relayTo(s).Send(ctx, "", []string{ann}, []byte(simple), SendOptions{})
	if err == nil || outcomes[0].Status != Temporary {
		t.Errorf("%+v, %v", outcomes, err)
	}
	if _, err := send(t, &Relay{Addr: "no-port"}, []string{ann}, Temporary); err == nil {
		t.Error("no error")
	}
}

func TestSendUTF8Addresses(t *testing.T) {
	jose := "josé@example.com"
	s := startServer(t, &server{}, nil)
	outcomes, _ := send(t, relayTo(s), []string{jose, ann}, Permanent, Accepted)
	if !strings.Contains(outcomes[0].Text, "SMTPUTF8") {
		t.Errorf("%+v", outcomes[0])
	}
	if _, err := relayTo(s).Send(t.Context(), jose, []string{ann}, []byte(simple), SendOptions{}); err == nil {
		t.Error("a relay without SMTPUTF8 got a sender in UTF-8")
	}
	s = startServer(t, &server{}, func(b *smtp.Server) { b.EnableSMTPUTF8 = true })
	send(t, relayTo(s), []string{jose, ann}, Accepted, Accepted)
	if got := s.commands(); got[0] != "MAIL bothy@example.com SMTPUTF8" || got[1] != "RCPT "+jose {
		t.Errorf("the server saw %q", got)
	}
}

func TestSendTLS(t *testing.T) {
	right, trusted := selfSigned(t, "mail.example.com", "localhost")
	wrong, trustedWrong := selfSigned(t, "other.example.com")
	offer := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	outdated := offer(right)
	outdated.MinVersion, outdated.MaxVersion = tls.VersionTLS10, tls.VersionTLS10

	for _, c := range []struct {
		name      string
		mode      TLSMode
		elsewhere bool
		implicit  bool
		offer     *tls.Config
		roots     *x509.CertPool
		want      Status
		secure    bool   // the message came over TLS
		text      string // in the outcome
	}{
		{name: "here, auto, none offered", mode: TLSAuto, want: Accepted},
		{name: "here, zero value", offer: offer(right), want: Accepted, secure: true},
		{name: "here, auto, any certificate", mode: TLSAuto, offer: offer(wrong), want: Accepted, secure: true},
		{name: "here, auto, TLS does not work", mode: TLSAuto, offer: outdated, want: Accepted},
		{name: "here, starttls, none offered", mode: TLSStartTLS, want: Temporary, text: "does not offer STARTTLS"},
		{name: "here, starttls, checked", mode: TLSStartTLS, offer: offer(right), roots: trusted, want: Accepted, secure: true},
		{name: "here, starttls, unknown issuer", mode: TLSStartTLS, offer: offer(right), want: Temporary, text: "certificate"},
		{name: "here, none", mode: TLSNone, offer: offer(right), want: Accepted},
		{name: "elsewhere, auto, stripped", mode: TLSAuto, elsewhere: true, roots: trusted, want: Temporary, text: "does not offer STARTTLS"},
		{name: "elsewhere, auto, checked", mode: TLSAuto, elsewhere: true, offer: offer(right), roots: trusted, want: Accepted, secure: true},
		{name: "elsewhere, auto, unknown issuer", mode: TLSAuto, elsewhere: true, offer: offer(right), want: Temporary, text: "certificate"},
		{name: "elsewhere, auto, other name", mode: TLSAuto, elsewhere: true, offer: offer(wrong), roots: trustedWrong, want: Temporary, text: "other.example.com"},
		{name: "elsewhere, auto, outdated", mode: TLSAuto, elsewhere: true, offer: outdated, roots: trusted, want: Temporary, text: "handshake"},
		{name: "elsewhere, none", mode: TLSNone, elsewhere: true, offer: offer(right), want: Accepted},
		{name: "implicit", mode: TLSImplicit, elsewhere: true, implicit: true, offer: offer(right), roots: trusted, want: Accepted, secure: true},
		{name: "implicit, other name", mode: TLSImplicit, elsewhere: true, implicit: true, offer: offer(wrong), roots: trustedWrong, want: Temporary, text: "other.example.com"},
		{name: "implicit, here, checked all the same", mode: TLSImplicit, implicit: true, offer: offer(wrong), want: Temporary, text: "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secure := make(chan bool, 1)
			s := startServer(t, &server{data: func(conn *smtp.Conn, r io.Reader) error {
				_, is := conn.TLSConnectionState()
				secure <- is
				_, err := io.Copy(io.Discard, r)
				return err
			}}, func(b *smtp.Server) {
				if b.TLSConfig = c.offer; c.implicit {
					b.Network = "tls"
				}
			})
			r := relayTo(s)
			if c.elsewhere {
				r = relayElsewhere(s)
			}
			r.TLS, r.RootCAs = c.mode, c.roots
			outcomes, _ := send(t, r, []string{ann}, c.want)
			if !strings.Contains(outcomes[0].Text, c.text) {
				t.Errorf("%q does not say %q", outcomes[0].Text, c.text)
			}
			if c.want != Accepted {
				if saw := s.commands(); len(saw) != 0 {
					t.Errorf("the server saw %q", saw)
				}
			} else if got := <-secure; got != c.secure {
				t.Errorf("over TLS: %v, want %v", got, c.secure)
			}
		})
	}
}

func TestSendAuth(t *testing.T) {
	cert, trusted := selfSigned(t, "mail.example.com")
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, c := range []struct {
		name       string
		mechanisms []string
		password   string
		mode       TLSMode
		elsewhere  bool
		want       Status
		saw        string // first command
		text       string // in the outcome
	}{
		{name: "PLAIN", mechanisms: []string{"LOGIN", "PLAIN"}, password: testPassword, elsewhere: true, want: Accepted, saw: "AUTH PLAIN " + testUser},
		{name: "LOGIN only", mechanisms: []string{"LOGIN"}, password: testPassword, elsewhere: true, want: Accepted, saw: "AUTH LOGIN " + testUser},
		{name: "in clear text here", mechanisms: []string{"PLAIN"}, password: testPassword, mode: TLSNone, want: Accepted, saw: "AUTH PLAIN " + testUser},
		{name: "in clear text elsewhere", mechanisms: []string{"PLAIN"}, password: testPassword, mode: TLSNone, elsewhere: true, want: Temporary, text: "not sent without TLS"},
		{name: "wrong password", mechanisms: []string{"PLAIN"}, password: "wrong-one", elsewhere: true, want: Temporary, saw: "AUTH PLAIN " + testUser, text: `log in as "ci@mail.test": 535 5.7.8 wrong password [hidden] [hidden]`},
		{name: "wrong password, LOGIN", mechanisms: []string{"LOGIN"}, password: "wrong-one", elsewhere: true, want: Temporary, saw: "AUTH LOGIN " + testUser, text: "wrong password [hidden] [hidden]"},
		{name: "none that we know", mechanisms: []string{"CRAM-MD5"}, password: testPassword, elsewhere: true, want: Temporary, text: `it offers "CRAM-MD5"`},
		{name: "zero byte", mechanisms: []string{"PLAIN"}, password: "x\x00y", elsewhere: true, want: Temporary, text: "zero byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, &server{mechanisms: c.mechanisms}, func(b *smtp.Server) { b.TLSConfig = config })
			r := relayTo(s)
			if c.elsewhere {
				r = relayElsewhere(s)
			}
			r.TLS, r.RootCAs, r.Username, r.Password = c.mode, trusted, testUser, c.password
			var trace bytes.Buffer
			outcomes, err := sendWith(t, r, []string{ann}, []byte(simple), SendOptions{Trace: &trace}, c.want)
			if !strings.Contains(outcomes[0].Text, c.text) {
				t.Errorf("%q does not say %q", outcomes[0].Text, c.text)
			}
			saw := append(s.commands(), "")[0]
			if c.want == Temporary && c.saw == "" && saw != "" || c.saw != "" && saw != c.saw {
				t.Errorf("the server saw %q", s.commands())
			}
			if c.want == Temporary && slices.ContainsFunc(s.commands(), func(c string) bool { return strings.HasPrefix(c, "MAIL") }) {
				t.Errorf("the server saw %q", s.commands())
			}
			all := trace.String() + outcomes[0].Text
			if err != nil {
				all += err.Error()
			}
			encode := base64.StdEncoding.EncodeToString
			for _, secret := range []string{c.password, encode([]byte(c.password)), encode([]byte("\x00" + testUser + "\x00" + c.password))} {
				if strings.Contains(all, secret) {
					t.Errorf("%q is in:\n%s", secret, all)
				}
			}
		})
	}
}

func TestSendTrace(t *testing.T) {
	cert, trusted := selfSigned(t, "mail.example.com")
	s := startServer(t, &server{mechanisms: []string{"PLAIN"}}, func(b *smtp.Server) {
		b.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
		b.AllowInsecureAuth = false
	})
	r := relayElsewhere(s)
	r.RootCAs, r.Username, r.Password = trusted, testUser, testPassword
	var trace bytes.Buffer
	sendWith(t, r, []string{ann}, []byte(simple), SendOptions{Trace: &trace}, Accepted)
	want := `-- connected to ` + s.addr + `
S: 220 mail.test ESMTP Service Ready
C: EHLO bothy.test
S: 250-Hello bothy.test
S: 250-PIPELINING
S: 250-8BITMIME
S: 250-ENHANCEDSTATUSCODES
S: 250-CHUNKING
S: 250-STARTTLS
S: 250 SIZE
C: STARTTLS
S: 220 2.0.0 Ready to start TLS
-- TLS 1.3, certificate checked
C: EHLO bothy.test
S: 250-Hello bothy.test
S: 250-PIPELINING
S: 250-8BITMIME
S: 250-ENHANCEDSTATUSCODES
S: 250-CHUNKING
S: 250-AUTH PLAIN
S: 250 SIZE
C: AUTH PLAIN [hidden]
S: 235 2.0.0 Authentication succeeded
C: MAIL FROM:<bothy@example.com> BODY=8BITMIME SIZE=27
S: 250 2.0.0 Roger, accepting mail from <bothy@example.com>
C: RCPT TO:<ann@example.com>
S: 250 2.0.0 I'll make sure <ann@example.com> gets this
C: DATA
S: 354 Go ahead. End your data with <CR><LF>.<CR><LF>
C: [the message, 27 bytes]
S: 250 2.0.0 OK: queued
C: QUIT
S: 221 2.0.0 Bye
`
	if got := trace.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
