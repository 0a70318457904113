package fleettest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/testrig"
)

// idlers are connections of workers that do nothing but answer, over MessagePack
// as a buildbot-worker speaks it: ten thousand processes would not fit.
type idlers struct {
	ctx   context.Context
	group sync.WaitGroup
}

// newIdlers connects workers to a master, some at a time. They end with the test.
func newIdlers(t testing.TB, m *master, names []string) *idlers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in := &idlers{ctx: ctx}
	t.Cleanup(func() {
		cancel()
		in.group.Wait()
	})
	room := make(chan struct{}, 32)
	failed := make(chan error, len(names))
	for _, name := range names {
		room <- struct{}{}
		go func() {
			defer func() { <-room }()
			failed <- in.connect(fmt.Sprintf("ws://%s:%d/", m.host, m.msgpack), name)
		}()
	}
	for range names {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// connect connects one, and returns when it has told about itself.
func (in *idlers) connect(url, name string) error {
	login := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
	dialing, cancel := context.WithTimeout(in.ctx, testrig.Patience)
	defer cancel()
	var ws *websocket.Conn
	for {
		var err error
		ws, _, err = websocket.Dial(dialing, url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Basic " + login}}})
		if err == nil {
			break
		}
		select { // Buildbot's master resets what comes too fast
		case <-time.After(time.Second):
		case <-dialing.Done():
			return fmt.Errorf("connect %s: %w", name, err)
		}
	}
	ws.SetReadLimit(1 << 20)
	told := make(chan error, 1)
	in.group.Go(func() {
		defer ws.CloseNow()
		told <- in.serve(ws, told)
	})
	select {
	case err := <-told:
		return err
	case <-time.After(testrig.Patience):
		return fmt.Errorf("%s is not asked about itself", name)
	}
}

// serve answers everything; told gets an element once the worker has told about
// itself.
func (in *idlers) serve(ws *websocket.Conn, told chan<- error) error {
	for seq := int64(0); ; {
		_, b, err := ws.Read(in.ctx)
		if err != nil {
			return err
		}
		frame, err := msgpack.Read(b, msgpack.Limits{})
		if err != nil {
			return err
		}
		answer := &msgpack.Response{}
		switch frame.Message.(type) {
		case *msgpack.Response:
			continue
		case *msgpack.GetWorkerInfo:
			answer.Result = wire.Map{
				{Key: "system", Value: "posix"}, {Key: "basedir", Value: "/base"}, {Key: "version", Value: "idle"},
				{Key: "environ", Value: wire.Map{{Key: "PATH", Value: "/bin"}}}, {Key: "worker_commands", Value: wire.Map{}},
			}
		}
		answers := []msgpack.Frame{{Seq: frame.Seq, Message: answer}}
		if c, ok := frame.Message.(*msgpack.StartCommand); ok { // Buildbot's master lists the base directory
			items := []msgpack.Item{{Name: "files", Value: []any{}}, {Name: "rc", Value: int64(0)}}
			answers = append(answers, msgpack.Frame{Seq: seq, Message: &msgpack.Update{CommandID: c.CommandID, Items: items}},
				msgpack.Frame{Seq: seq + 1, Message: &msgpack.Complete{CommandID: c.CommandID}})
			seq += 2
		}
		for _, a := range answers {
			out, err := msgpack.Append(nil, a)
			if err == nil {
				err = ws.Write(in.ctx, websocket.MessageBinary, out)
			}
			if err != nil {
				return err
			}
		}
		if answer.Result != nil {
			select {
			case told <- nil:
			default:
			}
		}
	}
}
