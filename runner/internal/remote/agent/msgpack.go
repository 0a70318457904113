package agent

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
)

const (
	// maxInFlight is how many requests may wait for their answers. Most are updates
	// of up to 64 KiB.
	maxInFlight = 64
	// leaveAfter is how long no command may have run until a worker that is to
	// leave does: between two steps a master takes a moment.
	leaveAfter = 3 * time.Second
)

// msgpackSession is a connection over MessagePack, or a session that outlives it.
type msgpackSession struct {
	a        *Agent
	ws       *websocket.Conn // nil: a session
	stream   *lasting.Stream // nil: a connection
	head     []byte          // goes before each frame
	out      func(frame []byte) error
	requests *msgpack.Session
	commands *session
	log      *slog.Logger
	attached atomic.Bool
	shutdown chan struct{} // receives when the master wants the worker to end
}

// serveMsgpack serves a connection, which it closes.
func (a *Agent) serveMsgpack(ctx, dialing context.Context, conn net.Conn, password string) (attached bool, err error) {
	corked := a.tools.Cork(conn)
	ws, lasts, err := a.upgrade(dialing, corked, password)
	if err != nil {
		conn.Close() // err tells why
		return false, err
	}
	if lasts {
		return a.serveLeased(ctx, dialing, ws, corked)
	}
	defer ws.CloseNow()
	a.drop(errors.New("the master keeps no sessions"))
	commands, err := a.newSession(ctx, settings{
		size: defaultSize, timeout: defaultTimeout, maxLine: defaultMaxLine, cursor: true, endLines: true,
	})
	if err != nil {
		return false, err
	}
	s := &msgpackSession{
		a: a, ws: ws, requests: msgpack.NewSession(maxInFlight), commands: commands, log: a.o.Logger,
		shutdown: make(chan struct{}, 1),
	}
	s.out = func(frame []byte) error { return ws.Write(commands.ctx, websocket.MessageBinary, frame) }
	read := make(chan error, 1)
	go func() {
		err := s.read()
		s.requests.Close(err)
		read <- err
	}()
	err = s.wait(ctx, read)
	s.requests.Close(err)
	commands.close(err)
	ws.CloseNow()
	return s.attached.Load(), err
}

// upgrade makes a WebSocket of the connection. lasts: the master keeps sessions.
func (a *Agent) upgrade(ctx context.Context, conn net.Conn, password string) (ws *websocket.Conn, lasts bool, err error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	login := base64.StdEncoding.EncodeToString([]byte(a.o.Name + ":" + password))
	ws, resp, err := websocket.Dial(ctx, "ws://"+a.o.Master.Addr+a.o.Master.Path, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     &http.Transport{DialContext: dial},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader: http.Header{
			"Authorization": {"Basic " + login},
			"User-Agent":    {"bothy/" + a.o.Version},
			bothy.Header:    {bothy.Version},
		},
	})
	switch {
	case err == nil:
		ws.SetReadLimit(msgpack.DefaultBytes)
		return ws, resp.Header.Get(bothy.Header) == bothy.Version, nil
	case resp != nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
		return nil, false, fmt.Errorf("%w: unknown name or wrong password", ErrRefused)
	}
	return nil, false, fmt.Errorf("WebSocket with the master: %w", err)
}

// wait returns when the connection has ended, or is to end.
func (s *msgpackSession) wait(ctx context.Context, read <-chan error) error {
	leaving := s.a.leaving
	var again <-chan time.Time
	check := make(chan struct{}, 1)
	for {
		select {
		case err := <-read:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.shutdown:
			wait(ctx, goodbye)
			return errShutdown
		case <-leaving:
			leaving = nil
			s.log.Info("the worker is to end when nothing runs any more")
			check <- struct{}{}
			continue
		case <-check:
		case <-s.commands.changed:
		case <-again:
		}
		again = nil
		if leaving != nil {
			continue
		}
		n, idle := s.commands.busy()
		if n > 0 {
			continue // changed will tell
		}
		quiet := time.Since(idle)
		if quiet >= leaveAfter {
			return errLeft
		}
		again = time.After(leaveAfter - quiet)
	}
}

// read reads until the connection ends.
func (s *msgpackSession) read() error {
	for {
		kind, frame, err := s.ws.Read(s.commands.ctx)
		if err != nil {
			return s.parted(err)
		}
		if kind != websocket.MessageBinary {
			continue // as buildbot-worker
		}
		if err := s.receive(frame); err != nil {
			return err
		}
	}
}

// parted says why a connection ended.
func (s *msgpackSession) parted(err error) error {
	if !s.attached.Load() && websocket.CloseStatus(err) != -1 {
		// It closes the connection when there is another one of the name.
		return fmt.Errorf("%w: it closes the connection, as for a name that is connected already: %w", ErrRefused, err)
	}
	return fmt.Errorf("connection lost: %w", err)
}

// receive deals with one message. An error ends the connection.
func (s *msgpackSession) receive(frame []byte) error {
	f, err := msgpack.Read(frame, msgpack.Limits{})
	if wrong := (*msgpack.MessageError)(nil); errors.As(err, &wrong) {
		if wrong.Op == (&msgpack.Response{}).Op() {
			return err
		}
		return s.respond(wrong.Seq, nil, wrong.Err)
	}
	if err != nil {
		return err
	}
	var result any
	switch m := f.Message.(type) {
	case *msgpack.Response:
		return s.requests.Deliver(f.Seq, m)
	case *msgpack.Print:
		s.log.Info("message from master: " + m.Text)
	case *msgpack.Keepalive:
	case *msgpack.GetWorkerInfo:
		s.attached.Store(true)
		result = s.a.info(s.commands.places.conn.Info())
	case *msgpack.SetWorkerSettings:
		o := settingsOf(m)
		o.raw = s.stream != nil
		s.commands.set(o)
	case *msgpack.StartCommand:
		var to master = msgpackMaster{s, m.CommandID}
		if m.Command == "upload_directory" || m.Command == "uploadDirectory" {
			to = msgpackDirectory{msgpackMaster{s, m.CommandID}}
		}
		_, err = s.commands.start(m.CommandID, m.Command, m.Args, to)
	case *msgpack.InterruptCommand:
		s.commands.interrupt(m.CommandID, m.Why)
	case *msgpack.Shutdown:
		s.log.Info("the master wants the worker to end")
		select {
		case s.shutdown <- struct{}{}:
		default:
		}
	default:
		err = fmt.Errorf("%s is not for a worker", f.Message.Op())
	}
	return s.respond(f.Seq, result, err)
}

// settingsOf returns how a master wants output gathered. The regular expression of
// Buildbot's masters is the only one that means more than "\n" here.
func settingsOf(m *msgpack.SetWorkerSettings) settings {
	return settings{
		size: int(min(max(m.BufferSize, 1), maxBuffer)), timeout: m.BufferTimeout,
		maxLine: int(min(max(m.MaxLineLength, 0), maxLineBytes)), cursor: m.NewlineRE == cursorLines, endLines: true,
	}
}

func (s *msgpackSession) respond(seq int64, result any, err error) error {
	r := &msgpack.Response{Result: result}
	if err != nil {
		r = msgpack.Failed(string(validText([]byte(err.Error()))))
	}
	return s.write(msgpack.Frame{Seq: seq, Message: r})
}

func (s *msgpackSession) write(f msgpack.Frame) error {
	b, err := msgpack.Append(slices.Clip(s.head), f)
	if err != nil {
		return err
	}
	return s.out(b)
}

// ask sends a request and does not wait for its answer.
func (s *msgpackSession) ask(ctx context.Context, m msgpack.Message) (*msgpack.Pending, error) {
	p, err := s.requests.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.write(msgpack.Frame{Seq: p.Seq(), Message: m}); err != nil {
		p.Drop()
		return nil, err
	}
	return p, nil
}

// call sends a request and waits for what it is answered with.
func (s *msgpackSession) call(ctx context.Context, m msgpack.Message) (any, error) {
	p, err := s.ask(ctx, m)
	if err != nil {
		return nil, err
	}
	r, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return r.Value()
}
