package web_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"bothy/runner/config"
)

// relay is a mail relay that accepts everything and keeps it.
type relay struct {
	mu    sync.Mutex
	mails []string
}

func (r *relay) NewSession(*smtp.Conn) (smtp.Session, error) { return r, nil }
func (r *relay) Reset()                                      {}
func (r *relay) Logout() error                               { return nil }
func (r *relay) Mail(string, *smtp.MailOptions) error        { return nil }
func (r *relay) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (r *relay) Data(from io.Reader) error {
	b, err := io.ReadAll(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, string(b))
	return err
}

// newRelay starts one and returns its address.
func newRelay(t testing.TB) (*relay, string) {
	t.Helper()
	r := &relay{}
	srv := smtp.NewServer(r)
	srv.Domain = "localhost"
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(ln); err != nil {
			t.Log("the relay ends:", err)
		}
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Log(err)
		}
		<-served
	})
	return r, ln.Addr().String()
}

// A missing worker is shown as missing, with the mails about it; a test mail
// tells whether any arrives, and if not, why.
func TestMissingMail(t *testing.T) {
	to, addr := newRelay(t)
	c := fleet("w1")
	c.Mail.Relay = addr
	c.Remote.Listen = "127.0.0.1:0"
	c.Workers = append(c.Workers, config.Worker{Name: "far", Kind: config.WorkerRemote, Remote: config.RemoteWorker{
		Password:       config.Secret{Text: "0123456789abcdef0123456789abcdef"},
		MissingTimeout: 1, NotifyOnMissing: []string{"bob@example.com"},
	}})
	r := newRig(t, c)
	b := r.tab()
	b.open("workers")
	b.says(row("far"), "missing")
	b.says("#mails", "bob@example.com")
	b.says("#mails", "queued")
	b.type_("#to", "carol@example.com")
	b.click("#mails [value=testmail]")
	b.says("#notes .note", "accepted a test mail to carol@example.com")
	to.mu.Lock()
	if len(to.mails) != 1 || !strings.Contains(to.mails[0], "This is a test") {
		t.Errorf("the relay has got %q", to.mails)
	}
	to.mu.Unlock()
	b.open("workers/far")
	b.says("#state", "missing")
	b.says("#mails", "bob@example.com")
	b.open("")
	b.says("#care", "missing")
}
