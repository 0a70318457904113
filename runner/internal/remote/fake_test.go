package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
)

// pipes is a port that is connected to by [pipes.dial].
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	wrap   func(net.Conn) net.Conn // of who dials; nil: as it is
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	if p.wrap != nil {
		return p.wrap(ours)
	}
	return ours
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements [net.Listener].
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// listenPipes makes the master accept what is dialled.
func (m *master) listenPipes() *pipes {
	p := newPipes()
	m.t.Cleanup(func() { m.Close() })
	go m.Serve(p)
	return p
}

// fakeWorker speaks MessagePack as a worker does, and does as it is told.
type fakeWorker struct {
	t    testing.TB
	ws   *websocket.Conn
	conn net.Conn
	// react is asked about each message; false: it is not answered. Nil: all are.
	react func(msgpack.Frame) bool

	mu     sync.Mutex
	frozen bool
	heard  []msgpack.Message
	seq    int64
	ended  chan struct{}
	err    error // of reading
}

// dialFake connects a worker; nil and the status if it is refused.
func dialFake(t testing.TB, p *pipes, name, password string, react func(msgpack.Frame) bool) (*fakeWorker, int) {
	t.Helper()
	f := &fakeWorker{t: t, react: react, ended: make(chan struct{})}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		f.conn = p.dial()
		return f.conn, nil
	}}}
	var response *http.Response
	var err error
	f.ws, response, err = websocket.Dial(context.Background(), "ws://master/", &websocket.DialOptions{
		HTTPClient: client,
		HTTPHeader: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}},
	})
	if err != nil {
		if response == nil {
			t.Fatalf("dial: %v", err)
		}
		return nil, response.StatusCode
	}
	f.ws.SetReadLimit(1 << 20)
	go f.read()
	t.Cleanup(func() {
		f.conn.Close()
		<-f.ended
	})
	return f, http.StatusSwitchingProtocols
}

func (f *fakeWorker) read() {
	defer close(f.ended)
	defer f.ws.CloseNow()
	for {
		_, b, err := f.ws.Read(context.Background())
		if err != nil {
			f.err = err
			return
		}
		frame, err := msgpack.Read(b, msgpack.Limits{})
		if err != nil {
			f.t.Errorf("the master sent %q: %v", b, err)
			return
		}
		f.mu.Lock()
		f.heard = append(f.heard, frame.Message)
		frozen := f.frozen
		f.mu.Unlock()
		if _, ok := frame.Message.(*msgpack.Response); ok || frozen || f.react != nil && !f.react(frame) {
			continue
		}
		r := &msgpack.Response{}
		if _, ok := frame.Message.(*msgpack.GetWorkerInfo); ok {
			r.Result = fakeInfo
		}
		go f.send(msgpack.Frame{Seq: frame.Seq, Message: r}) // a pipe has no buffer
	}
}

var fakeInfo = wire.Map{
	{Key: "system", Value: "posix"}, {Key: "basedir", Value: "/base"}, {Key: "version", Value: "fake"},
	{Key: "environ", Value: wire.Map{{Key: "PATH", Value: "/bin"}}},
}

func (f *fakeWorker) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

// count returns how many messages of a kind have come.
func (f *fakeWorker) count(op string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.heard {
		if m.Op() == op {
			n++
		}
	}
	return n
}

// commands returns the commands that were started.
func (f *fakeWorker) commands() (all []*msgpack.StartCommand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.heard {
		if s, ok := m.(*msgpack.StartCommand); ok {
			all = append(all, s)
		}
	}
	return all
}

func (f *fakeWorker) send(frame msgpack.Frame) error {
	b, err := msgpack.Append(nil, frame)
	if err != nil {
		f.t.Error(err)
		return err
	}
	return f.ws.Write(context.Background(), websocket.MessageBinary, b)
}

// request sends a request of the worker's.
func (f *fakeWorker) request(m msgpack.Message) error {
	f.mu.Lock()
	seq := f.seq
	f.seq++
	f.mu.Unlock()
	return f.send(msgpack.Frame{Seq: seq, Message: m})
}

// complete ends a command with an exit code.
func (f *fakeWorker) complete(id string, rc int64, more ...msgpack.Item) {
	items := append(more, msgpack.Item{Name: "rc", Value: rc})
	if err := errors.Join(f.request(&msgpack.Update{CommandID: id, Items: items}), f.request(&msgpack.Complete{CommandID: id})); err != nil {
		f.t.Log("complete: ", err)
	}
}

// obliging completes every command but shell at once.
func obliging(f **fakeWorker) func(msgpack.Frame) bool {
	return func(frame msgpack.Frame) bool {
		if s, ok := frame.Message.(*msgpack.StartCommand); ok && s.Command != "shell" {
			if s.Command == "listdir" {
				go (*f).complete(s.CommandID, 0, msgpack.Item{Name: "files", Value: []any{}})
			} else {
				go (*f).complete(s.CommandID, 0)
			}
		}
		return true
	}
}

// lines is an item of output.
func lines(name, text string) msgpack.Item {
	return msgpack.Item{Name: name, Lines: msgpack.Lines{Text: []byte(text)}}
}
