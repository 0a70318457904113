package fleettest

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// mailbox is a mail server that takes everything.
type mailbox struct {
	port int

	mu    sync.Mutex
	mails map[string]int // recipient → how many
}

func newMailbox(t testing.TB) *mailbox {
	t.Helper()
	b := &mailbox{mails: map[string]int{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.port = ln.Addr().(*net.TCPAddr).Port
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &letter{box: b}, nil }))
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return b
}

// count returns how many mails somebody got.
func (b *mailbox) count(recipient string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails[recipient]
}

// letter is one mail on its way in.
type letter struct {
	box *mailbox
	to  []string
}

func (l *letter) Mail(string, *smtp.MailOptions) error { return nil }

func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.to = append(l.to, to)
	return nil
}

func (l *letter) Data(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	for _, to := range l.to {
		l.box.mails[to]++
	}
	return nil
}

func (l *letter) Reset() { l.to = nil }

func (l *letter) Logout() error { return nil }
