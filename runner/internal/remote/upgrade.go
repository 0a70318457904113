package remote

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
)

// maxRequest bounds the request that begins a WebSocket.
const maxRequest = 8 << 10

// serveMsgpack serves a worker that speaks MessagePack, from its HTTP request to
// the end of the connection.
func (p *peer) serveMsgpack(conn net.Conn) error {
	in := bufio.NewReader(&io.LimitedReader{R: conn, N: maxRequest})
	req, err := http.ReadRequest(in)
	if err != nil {
		return fmt.Errorf("http request: %w", err)
	}
	a := &answer{conn: conn, in: in, header: http.Header{}}
	w, err := p.authorize(a, req)
	if w == nil {
		return err
	}
	lasting := req.Header.Get(bothy.Header) == bothy.Version
	if lasting {
		a.header.Set(bothy.Header, bothy.Version)
	}
	ws, err := websocket.Accept(a, req, nil)
	if err != nil {
		return err
	}
	if lasting {
		return p.serveLasting(w, ws, conn)
	}
	if err := p.link(); err != nil {
		return err
	}
	ws.SetReadLimit(msgpack.DefaultBytes)
	k := newMsgpackLink(ws, conn)
	p.l.group.Go(func() {
		err := p.welcome(w, k)
		if err != nil && k.err() == nil {
			p.l.log.Warn("worker refused", "worker", w.name, "address", p.addr, "err", err)
			k.close(err, true)
		}
	})
	k.read()
	p.parted(w, k)
	<-k.parted
	return nil
}

// authorize returns the worker that asks for a WebSocket; nil: it was refused.
func (p *peer) authorize(a *answer, req *http.Request) (*Worker, error) {
	name, password, ok := req.BasicAuth()
	switch {
	case req.Header.Get("Authorization") == "":
		http.Error(a, "a worker's name and password are needed", http.StatusUnauthorized)
		return nil, errors.New("http request without a name and password")
	case !ok:
		http.Error(a, "not basic authorization", http.StatusBadRequest)
		return nil, errors.New("http request with another authorization than basic")
	}
	w, err := p.l.login(name, func(pw Password) bool { return pw.is(password) })
	if err != nil {
		if p.refuse(name, err) {
			http.Error(a, "unknown name or wrong password", http.StatusUnauthorized)
		}
		return nil, nil
	}
	return w, nil
}

// answer writes the answer to the one request of a connection.
type answer struct {
	conn    net.Conn
	in      *bufio.Reader
	header  http.Header
	written bool
	err     error
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.written {
		return
	}
	a.written = true
	if status != http.StatusSwitchingProtocols {
		a.header.Set("Connection", "close")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = a.header.Write(&b) // a Builder does not fail
	b.WriteString("\r\n")
	_, a.err = io.WriteString(a.conn, b.String())
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.err != nil {
		return 0, a.err
	}
	return a.conn.Write(p)
}

// Hijack implements [http.Hijacker].
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.err != nil {
		return nil, nil, a.err
	}
	return a.conn, bufio.NewReadWriter(a.in, bufio.NewWriter(a.conn)), nil
}
