package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
)

const (
	// maxInFlight is how many requests of ours may wait for their answer.
	maxInFlight = 256
	// flushInterval is how old output gets at a worker before it is sent.
	flushInterval = 100 * time.Millisecond
	// flushSize is how much of it is sent at once. Buildbot: 65536.
	flushSize = 64 << 10
	// maxLine is the length of the longest line: buildbot-worker loses data of
	// longer ones, so there must be none.
	maxLine = 1 << 30
	// noNewline is a Python regular expression that matches nothing, and fails
	// fast: output arrives as it was written, and "\r" is the log's matter.
	noNewline = `\x00(?!)`
	// partTime is how long a goodbye may take.
	partTime = time.Second
)

// msgpackLink is a [link] over a WebSocket, or over a session that outlives it.
type msgpackLink struct {
	ws      *websocket.Conn // nil: a session
	conn    net.Conn        // nil: a session
	head    []byte          // goes before each frame
	out     func(frame []byte) error
	hangUp  func(why error, polite bool) // ends what is below, and sees to parted; once
	session *msgpack.Session
	heard   atomic.Uint64
	unread  atomic.Bool
	ended   chan struct{}
	parted  chan struct{} // closed when the goodbye is over too

	mu       sync.Mutex
	why      error
	commands map[string]*command
}

func newMsgpackLink(ws *websocket.Conn, conn net.Conn) *msgpackLink {
	k := &msgpackLink{
		ws: ws, conn: conn, out: func(frame []byte) error {
			ctx, cancel := context.WithTimeout(context.Background(), DeadAfter)
			defer cancel()
			return ws.Write(ctx, websocket.MessageBinary, frame)
		},
		session: msgpack.NewSession(maxInFlight),
		ended:   make(chan struct{}), parted: make(chan struct{}), commands: map[string]*command{},
	}
	k.hangUp = k.cut
	return k
}

func (k *msgpackLink) protocol() protocol    { return protocolMsgpack }
func (k *msgpackLink) done() <-chan struct{} { return k.ended }
func (k *msgpackLink) sign() (uint64, bool)  { return k.heard.Load(), k.unread.Load() }

func (k *msgpackLink) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.why
}

func (k *msgpackLink) close(why error, polite bool) {
	k.mu.Lock()
	if k.why != nil {
		k.mu.Unlock()
		return
	}
	k.why = why
	close(k.ended)
	k.mu.Unlock()
	k.session.Close(why)
	k.hangUp(why, polite)
}

// cut ends the connection.
func (k *msgpackLink) cut(why error, polite bool) {
	if !polite {
		k.conn.Close()
		close(k.parted)
		return
	}
	go func() {
		defer close(k.parted)
		cut := time.AfterFunc(partTime, func() { k.conn.Close() })
		defer cut.Stop()
		_ = k.ws.Close(websocket.StatusPolicyViolation, shortReason(why)) // it ends either way
	}()
}

// shortReason fits a close frame, which has room for 123 bytes.
func shortReason(err error) string {
	s := err.Error()
	for i := range s {
		if i > 120 {
			return s[:i]
		}
	}
	return s
}

// read reads until the connection ends.
func (k *msgpackLink) read() {
	defer k.ws.CloseNow()
	for {
		typ, frame, err := k.ws.Read(context.Background())
		if err != nil {
			k.close(fmt.Errorf("connection lost: %w", err), false)
			return
		}
		k.heard.Add(1)
		if typ != websocket.MessageBinary {
			continue // as Buildbot's do
		}
		if err := k.receive(frame); err != nil {
			k.close(err, true)
			return
		}
	}
}

// receive deals with one message. An error ends the connection.
func (k *msgpackLink) receive(frame []byte) error {
	f, err := msgpack.Read(frame, msgpack.Limits{})
	if wrong := (*msgpack.MessageError)(nil); errors.As(err, &wrong) {
		if wrong.Op == (&msgpack.Response{}).Op() {
			return err
		}
		return k.respond(wrong.Seq, nil, wrong.Err)
	}
	if err != nil {
		return err
	}
	switch m := f.Message.(type) {
	case *msgpack.Response:
		return k.session.Deliver(f.Seq, m)
	case *msgpack.Update:
		return k.report(f.Seq, m.CommandID, event{items: items(m), size: len(frame)})
	case *msgpack.Complete:
		ev := event{ended: true, size: len(frame)}
		if m.Failed {
			ev.fault = "failed: " + m.Failure
		}
		return k.report(f.Seq, m.CommandID, ev)
	case *msgpack.UploadWrite:
		return k.ask(f.Seq, m.CommandID, ask{op: askWrite, data: m.Data}, len(frame))
	case *msgpack.UploadDirectoryWrite:
		return k.ask(f.Seq, m.CommandID, ask{op: askWrite, data: m.Data}, len(frame))
	case *msgpack.ReadFile:
		return k.ask(f.Seq, m.CommandID, ask{op: askRead, n: m.Length}, len(frame))
	case *msgpack.UploadClose:
		return k.ask(f.Seq, m.CommandID, ask{op: askEnd}, len(frame))
	case *msgpack.UploadDirectoryUnpack:
		return k.ask(f.Seq, m.CommandID, ask{op: askEnd}, len(frame))
	case *msgpack.ReadFileClose:
		return k.ask(f.Seq, m.CommandID, ask{op: askEnd}, len(frame))
	case *msgpack.UploadUtime:
		return k.ask(f.Seq, m.CommandID, ask{op: askEnd}, len(frame))
	}
	return k.respond(f.Seq, nil, fmt.Errorf("%s is not for a master", f.Message.Op()))
}

// items turns an update's into ours. They alias the frame.
func items(m *msgpack.Update) []item {
	out := make([]item, len(m.Items))
	for i, it := range m.Items {
		out[i] = item{name: it.Name, log: it.Log, value: it.Value}
		switch it.Name {
		case msgpack.Stdout, msgpack.Stderr, msgpack.Header, msgpack.Log:
			if out[i].text = it.Lines.Text; out[i].text == nil {
				out[i].text = []byte{}
			}
		}
	}
	return out
}

var errNoCommand = errors.New(`unknown "command_id"`)

func (k *msgpackLink) command(id string) *command {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.commands[id]
}

// report hands an event on and answers: in this order, so that who sends too much
// waits.
func (k *msgpackLink) report(seq int64, id string, ev event) error {
	c := k.command(id)
	if c == nil {
		return k.respond(seq, nil, errNoCommand)
	}
	k.put(c, ev)
	return k.respond(seq, nil, nil)
}

func (k *msgpackLink) put(c *command, ev event) {
	k.unread.Store(true)
	c.in.put(ev, k.ended)
	k.unread.Store(false)
}

// ask hands on what a transfer asks; who deals with it answers.
func (k *msgpackLink) ask(seq int64, id string, a ask, size int) error {
	c := k.command(id)
	if c == nil {
		return k.respond(seq, nil, errNoCommand)
	}
	a.reply = func(result any) { _ = k.respond(seq, result, nil) } // what fails here ends the link
	k.put(c, event{ask: &a, size: size})
	return nil
}

// respond answers a request.
func (k *msgpackLink) respond(seq int64, result any, err error) error {
	r := &msgpack.Response{Result: result}
	if err != nil {
		r = msgpack.Failed(err.Error())
	}
	return k.write(msgpack.Frame{Seq: seq, Message: r})
}

// write sends one message. A peer that does not read for [DeadAfter] is lost.
func (k *msgpackLink) write(f msgpack.Frame) error {
	b, err := msgpack.Append(slices.Clip(k.head), f)
	if err != nil {
		return err
	}
	if err := k.out(b); err != nil {
		k.close(fmt.Errorf("connection lost: %w", err), false)
		return err
	}
	return nil
}

// begin sends a request.
func (k *msgpackLink) begin(ctx context.Context, m msgpack.Message) (*msgpack.Pending, error) {
	p, err := k.session.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := k.write(msgpack.Frame{Seq: p.Seq(), Message: m}); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

// call sends a request and returns what it is answered with.
func (k *msgpackLink) call(ctx context.Context, m msgpack.Message) (any, error) {
	p, err := k.begin(ctx, m)
	if err != nil {
		return nil, err
	}
	r, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return r.Value()
}

func (k *msgpackLink) tell(ctx context.Context, m msgpack.Message) error {
	_, err := k.call(ctx, m)
	return err
}

func (k *msgpackLink) info(ctx context.Context) (wire.Map, error) {
	v, err := k.call(ctx, &msgpack.GetWorkerInfo{})
	if err != nil {
		return nil, err
	}
	return wire.Dict(v)
}

func (k *msgpackLink) settle(ctx context.Context) error {
	return k.tell(ctx, &msgpack.SetWorkerSettings{
		NewlineRE: noNewline, MaxLineLength: maxLine, BufferTimeout: flushInterval, BufferSize: flushSize,
	})
}

// announce does nothing: workers know nothing of builders here.
func (k *msgpackLink) announce(context.Context, string, string) error { return nil }

func (k *msgpackLink) start(ctx context.Context, c *command, args wire.Map) <-chan error {
	k.mu.Lock()
	k.commands[c.id] = c // events may come before the answer
	k.mu.Unlock()
	started := make(chan error, 1)
	p, err := k.begin(ctx, &msgpack.StartCommand{CommandID: c.id, Builder: c.lane, Command: c.name, Args: args})
	if err != nil {
		started <- err
		return started
	}
	go func() {
		r, err := p.Wait(context.Background()) // the link's end ends it
		if err == nil {
			_, err = r.Value()
		}
		started <- err
	}()
	return started
}

func (k *msgpackLink) interrupt(ctx context.Context, c *command, why string) error {
	return k.tell(ctx, &msgpack.InterruptCommand{CommandID: c.id, Builder: c.lane, Why: why})
}

func (k *msgpackLink) forget(c *command) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.commands, c.id)
}

func (k *msgpackLink) print(ctx context.Context, text string) error {
	return k.tell(ctx, &msgpack.Print{Text: text})
}

func (k *msgpackLink) keepalive(ctx context.Context) error {
	return k.tell(ctx, &msgpack.Keepalive{})
}

func (k *msgpackLink) shutdown(ctx context.Context) error {
	return k.tell(ctx, &msgpack.Shutdown{})
}
