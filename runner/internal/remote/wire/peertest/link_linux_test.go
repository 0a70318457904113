package peertest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire/msgpack"
)

// link is one end of a WebSocket that carries messages.
type link struct {
	ws      *websocket.Conn
	session *msgpack.Session
	serve   func(msgpack.Message) (any, error)
	ended   chan struct{}
	err     error // once ended
}

// newLink answers the peer's requests with serve, in their order.
func newLink(t *testing.T, ctx context.Context, ws *websocket.Conn, serve func(msgpack.Message) (any, error)) *link {
	ws.SetReadLimit(msgpack.DefaultBytes)
	l := &link{ws: ws, session: msgpack.NewSession(100), serve: serve, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		l.err = l.read(ctx)
		l.session.Close(l.err)
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow() // it may have ended
		<-l.ended
	})
	return l
}

func (l *link) read(ctx context.Context) error {
	for {
		kind, frame, err := l.ws.Read(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return fmt.Errorf("a message of type %v", kind)
		}
		f, err := msgpack.Read(frame, msgpack.Limits{})
		var wrong *msgpack.MessageError
		switch response, ok := f.Message.(*msgpack.Response); {
		case errors.As(err, &wrong):
			err = l.write(ctx, wrong.Seq, msgpack.Failed(wrong.Error()))
		case err != nil:
		case ok:
			err = l.session.Deliver(f.Seq, response)
		default:
			answer := &msgpack.Response{}
			var failure error
			if answer.Result, failure = l.serve(f.Message); failure != nil {
				answer = msgpack.Failed(failure.Error())
			}
			err = l.write(ctx, f.Seq, answer)
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) write(ctx context.Context, seq int64, m msgpack.Message) error {
	frame, err := msgpack.Append(nil, msgpack.Frame{Seq: seq, Message: m})
	if err != nil {
		return err
	}
	return l.ws.Write(ctx, websocket.MessageBinary, frame)
}

// call sends a request and returns its result.
func (l *link) call(ctx context.Context, m msgpack.Message) (any, error) {
	p, err := l.session.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.write(ctx, p.Seq(), m); err != nil {
		p.Drop()
		return nil, err
	}
	response, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return response.Value()
}
