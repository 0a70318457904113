package mail

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// eximConf is the configuration of Debian's exim4: TLS, AUTH only over TLS, mail
// only for those who have logged in, all of it into one mailbox.
const eximConf = `
primary_hostname = mail.test
exim_user = mail
exim_group = mail
spool_directory = %[1]s
log_file_path = %[1]s/%%s.log
tls_advertise_hosts = *
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
never_users =
keep_environment =
begin acl
rcpt:
  deny !authenticated = *
       message = authenticate first
  defer local_parts = later
       message = greylisted
  deny local_parts = nobody
       message = no such user
  accept
data:
  deny condition = ${if match{$h_subject:}{VIRUS}}
       message = not that
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  file = %[1]s/mbox
  user = mail
  group = mail
begin authenticators
%[2]s
`

const (
	eximPlain = `
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{ci@mail.test}}{eq{$auth3}{s3cret}}}}
  server_set_id = $auth2
`
	eximLogin = `
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{ci@mail.test}}{eq{$auth2}{s3cret}}}}
  server_set_id = $auth1
`
)

// exim is a mail server: one process of exim4 for each connection to a port.
type exim struct {
	dir, addr string
	roots     *x509.CertPool
	mu        sync.Mutex     // held while done grows
	done      sync.WaitGroup // processes, which end with their connections
}

// mailbox is what has been delivered, when all connections have ended.
func (e *exim) mailbox(t *testing.T) []byte {
	t.Helper()
	e.mu.Lock() // a connection that has been used was counted before
	e.done.Wait()
	e.mu.Unlock()
	box, err := os.ReadFile(filepath.Join(e.dir, "mbox"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return box
}

// startExim starts a server with authenticators and, besides, arguments.
func startExim(t *testing.T, authenticators string, args ...string) *exim {
	t.Helper()
	program, err := exec.LookPath("exim4")
	if err != nil {
		program = "/usr/sbin/exim4"
	}
	if _, err := os.Stat(program); err != nil {
		missing(t, "exim4 is not installed (Debian: exim4-daemon-light)")
	}
	if os.Getuid() != 0 {
		missing(t, "exim4 with a configuration of its own needs root")
	}
	account, err := user.Lookup("mail")
	if err != nil {
		missing(t, "exim4 needs the user mail: %v", err)
	}
	dir, err := os.MkdirTemp("", "bothy-exim-") // not t.TempDir, where the user mail cannot go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := &exim{dir: dir}

	cert, roots := selfSigned(t, "mail.test")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	e.roots = roots
	for name, data := range map[string][]byte{
		"cert.pem":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		"key.pem":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"exim.conf": fmt.Appendf(nil, eximConf, dir, authenticators),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	for _, name := range []string{"", "cert.pem", "key.pem"} {
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "exim.conf"), 0o644); err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// As from inetd; -odi delivers before the process ends.
			command := exec.CommandContext(ctx, program, append([]string{"-C", filepath.Join(dir, "exim.conf"), "-bs", "-odi"}, args...)...)
			socket, err := conn.(*net.TCPConn).File()
			_ = conn.Close()
			if err != nil {
				t.Error(err)
				return
			}
			var stderr bytes.Buffer
			command.Stdin, command.Stdout, command.Stderr = socket, socket, &stderr
			e.mu.Lock()
			e.done.Go(func() {
				err := command.Run()
				_ = socket.Close()
				// Its exit code says how the dialogue went.
				if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || stderr.Len() > 0 {
					t.Errorf("exim: %v %s", err, stderr.String())
				}
			})
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-accepting
		cancel()
		e.done.Wait()
		if t.Failed() {
			for _, name := range []string{"main.log", "reject.log", "panic.log"} {
				if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
					t.Logf("%s:\n%s", name, text)
				}
			}
		}
	})
	return e
}

// missing skips a test, or fails it in CI, where everything must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: mail through a real relay: "+format, args...)
}

// relay is e as a relay on another machine, so that everything is checked.
func (e *exim) relay() *Relay {
	return &Relay{
		Addr: "mail.test:25", RootCAs: e.roots, LocalName: "bothy.test", Username: "ci@mail.test", Password: "s3cret",
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, e.addr)
		},
	}
}

func TestEximDelivers(t *testing.T) {
	for _, c := range []struct {
		name, authenticators string
		args                 []string
		change               func(e *exim, r *Relay)
		received             string // how exim says that it came
	}{
		{"STARTTLS, AUTH PLAIN", eximPlain + eximLogin, nil, func(*exim, *Relay) {}, "esmtpsa"},
		{"STARTTLS, AUTH LOGIN only", eximLogin, nil, func(*exim, *Relay) {}, "esmtpsa"},
		{"implicit TLS", eximPlain, []string{"-tls-on-connect"}, func(_ *exim, r *Relay) { r.TLS = TLSImplicit }, "esmtpsa"},
		{"on this machine, unknown certificate", eximPlain, nil, func(e *exim, r *Relay) { r.Addr, r.Dial, r.RootCAs = e.addr, nil, nil }, "esmtpsa"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := startExim(t, c.authenticators, c.args...)
			r := e.relay()
			c.change(e, r)
			m := message(WorkersMissing("Bothy", noon, []Worker{{
				Name: "Büro-工作者\r\nBcc: evil@example.com", Configured: noon, Admin: "Änn <ann@example.com>", Waiting: 2, URL: "https://ci.example.com/workers/1",
			}}))
			m.Text += ".\n..\nFrom here\n" + strings.Repeat("long ", 1000) + "\n"
			raw := mustBytes(t, m)
			var trace bytes.Buffer
			outcomes, err := sendWith(t, r, []string{ann, "Büro <bob@example.com>"}, raw, SendOptions{Trace: &trace}, Accepted, Accepted)
			if err != nil || !strings.HasPrefix(outcomes[0].Text, "OK id=") {
				t.Errorf("%+v, %v", outcomes[0], err)
			}
			if strings.Contains(trace.String(), r.Password) || !strings.Contains(trace.String(), "[hidden]") {
				t.Errorf("trace:\n%s", trace.String())
			}

			// Both recipients have one mailbox: exim writes one copy.
			separator, delivered, _ := strings.Cut(string(e.mailbox(t)), "\n")
			if !strings.HasPrefix(separator, "From bothy@example.com ") {
				t.Fatalf("mailbox: %q", separator)
			}
			delivered = strings.TrimSuffix(strings.ReplaceAll(delivered, "\n>From ", "\nFrom "), "\n")
			if sent := strings.ReplaceAll(string(raw), "\r\n", "\n"); !strings.HasSuffix(delivered, sent) {
				t.Errorf("delivered:\n%s\nsent:\n%s", delivered, sent)
			}
			p := parse(t, []byte(delivered))
			if want := "[Bothy] worker Büro-工作者 Bcc: evil@example.com missing"; p.subject != want || p.text != m.Text || p.html != m.HTML {
				t.Errorf("got %+v", p)
			}
			if p.header.Get("Bcc") != "" || p.header.Get("Message-Id") != m.MessageID || p.header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("header %v", p.header)
			}
			if got := p.header.Get("Received"); !strings.Contains(got, "with "+c.received) || !strings.Contains(got, "bothy.test") {
				t.Errorf("received: %s", got)
			}
		})
	}
}

func TestEximRefuses(t *testing.T) {
	e := startExim(t, eximPlain+eximLogin)
	nobody, later := "nobody@example.com", "later@example.com"

	r := e.relay()
	r.Password = "wrong-one"
	outcomes, _ := send(t, r, []string{ann}, Temporary)
	if outcomes[0].Code != 535 {
		t.Errorf("wrong password: %+v", outcomes[0])
	}
	r = e.relay()
	r.Username = ""
	outcomes, _ = send(t, r, []string{ann}, Permanent)
	if outcomes[0].Code != 550 || !strings.Contains(outcomes[0].Text, "authenticate first") {
		t.Errorf("no login: %+v", outcomes[0])
	}
	r = e.relay()
	r.RootCAs = x509.NewCertPool()
	send(t, r, []string{ann}, Temporary)
	r = e.relay()
	r.TLS = TLSNone
	outcomes, _ = send(t, r, []string{ann}, Temporary)
	if !strings.Contains(outcomes[0].Text, "without TLS") {
		t.Errorf("no TLS: %+v", outcomes[0])
	}
	outcomes, _ = sendWith(t, e.relay(), []string{ann}, []byte("Subject: VIRUS\r\n\r\n"), SendOptions{}, Permanent)
	if outcomes[0].Code != 550 || !strings.Contains(outcomes[0].Text, "not that") {
		t.Errorf("refused text: %+v", outcomes[0])
	}
	if box := e.mailbox(t); len(box) != 0 {
		t.Errorf("the mailbox has %q", box)
	}
	outcomes, _ = send(t, e.relay(), []string{nobody, ann, later}, Permanent, Accepted, Temporary)
	if outcomes[0].Code != 550 || outcomes[2].Code != 451 {
		t.Errorf("%+v", outcomes)
	}
	if box := e.mailbox(t); strings.Count(string(box), "Subject: x\n\nfirst\n.dot\n") != 1 {
		t.Errorf("the mailbox has %q", box)
	}
}
