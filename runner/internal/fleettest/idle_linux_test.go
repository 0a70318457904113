package fleettest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/testrig"
)

// idler is the connection of a worker that does nothing but answer: ten thousand
// processes would not fit.
type idler struct {
	ctx  context.Context
	name string
	ws   *websocket.Conn
	// packets is true for one that speaks as "bothy worker" does, and false as
	// buildbot-worker does over MessagePack.
	packets bool
	sent    uint64 // packets with data
	asked   int64  // requests
}

// pingEvery is what "bothy worker" does with a lease of two minutes.
const pingEvery = 15 * time.Second

// startIdlers connects workers to a master, some at a time. They end with the test.
func startIdlers(t testing.TB, m *master, names []string, packets bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	room := make(chan struct{}, 32)
	failed := make(chan error, len(names))
	for _, name := range names {
		room <- struct{}{}
		group.Go(func() {
			w := &idler{ctx: ctx, name: name, packets: packets}
			told := make(chan struct{})
			group.Go(func() {
				defer func() { <-room }()
				select {
				case <-told:
					failed <- nil
				case <-time.After(testrig.Patience):
					failed <- fmt.Errorf("%s is not asked about itself", name)
				}
			})
			err := w.connect(fmt.Sprintf("ws://%s:%d/", m.host, m.msgpack))
			if err == nil {
				defer w.ws.CloseNow()
				err = w.serve(told)
			}
			if ctx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	for range names {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// connect logs in. Buildbot's master deals with one login at a time, and drops who
// has to wait for too long: they come again.
func (w *idler) connect(url string) (err error) {
	ctx, cancel := context.WithTimeout(w.ctx, testrig.Patience)
	defer cancel()
	header := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(w.name+":"+password))}}
	if w.packets {
		header.Set(bothy.Header, bothy.Version)
	}
	for w.ws == nil {
		w.ws, _, err = websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header})
		if err == nil {
			break
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("connect: %w", err)
		}
	}
	w.ws.SetReadLimit(1 << 20)
	if !w.packets {
		return nil
	}
	if err := w.send(&bothy.Hello{Place: w.name}); err != nil {
		return err
	}
	_, b, err := w.ws.Read(ctx)
	if err != nil {
		return err
	}
	p, err := bothy.Read(b)
	if err != nil {
		return err
	}
	if _, welcome := p.(*bothy.Welcome); !welcome {
		return fmt.Errorf("no welcome but %T", p)
	}
	go w.ping()
	return nil
}

func (w *idler) ping() {
	for id := uint64(1); ; id++ {
		select {
		case <-time.After(time.Until(lasting.NextPing(time.Now(), pingEvery))):
		case <-w.ctx.Done():
			return
		}
		if w.send(bothy.Ping{ID: id}) != nil {
			return
		}
	}
}

func (w *idler) send(p bothy.Packet) error {
	return w.ws.Write(w.ctx, websocket.MessageBinary, bothy.Append(nil, p))
}

// read returns the master's next message.
func (w *idler) read() (msgpack.Frame, error) {
	for {
		_, b, err := w.ws.Read(w.ctx)
		if err != nil {
			return msgpack.Frame{}, err
		}
		if !w.packets {
			return msgpack.Read(b, msgpack.Limits{})
		}
		p, err := bothy.Read(b)
		if err != nil {
			return msgpack.Frame{}, err
		}
		switch p := p.(type) {
		case bothy.Ping:
			err = w.send(bothy.Pong(p))
		case bothy.Data:
			frame, _, err := bothy.ReadPayload(p.Payload)
			if err == nil {
				err = w.send(bothy.Ack{Done: p.Seq})
			}
			if err != nil {
				return msgpack.Frame{}, err
			}
			return msgpack.Read(frame, msgpack.Limits{})
		case bothy.Bye:
			err = errors.New(p.Reason)
		}
		if err != nil {
			return msgpack.Frame{}, err
		}
	}
}

func (w *idler) write(f msgpack.Frame) error {
	var b []byte
	if w.packets {
		w.sent++
		b = append(bothy.AppendData(nil, w.sent, 0, false), bothy.Frame)
	}
	b, err := msgpack.Append(b, f)
	if err != nil {
		return err
	}
	return w.ws.Write(w.ctx, websocket.MessageBinary, b)
}

// serve answers everything; told is closed once the worker has told about itself.
func (w *idler) serve(told chan<- struct{}) error {
	for {
		f, err := w.read()
		if err != nil {
			return err
		}
		answers := []msgpack.Frame{{Seq: f.Seq, Message: &msgpack.Response{}}}
		switch m := f.Message.(type) {
		case *msgpack.Response:
			continue
		case *msgpack.GetWorkerInfo:
			answers[0].Message = &msgpack.Response{Result: wire.Map{
				{Key: "system", Value: "posix"}, {Key: "basedir", Value: "/base"}, {Key: "version", Value: "idle"},
				{Key: "environ", Value: wire.Map{{Key: "PATH", Value: "/bin"}}}, {Key: "worker_commands", Value: wire.Map{}},
			}}
			if told != nil {
				close(told)
				told = nil
			}
		case *msgpack.StartCommand: // Buildbot's master lists the base directory
			items := []msgpack.Item{{Name: "files", Value: []any{}}, {Name: "rc", Value: int64(0)}}
			answers = append(answers, msgpack.Frame{Seq: w.asked, Message: &msgpack.Update{CommandID: m.CommandID, Items: items}},
				msgpack.Frame{Seq: w.asked + 1, Message: &msgpack.Complete{CommandID: m.CommandID}})
			w.asked += 2
		}
		for _, a := range answers {
			if err := w.write(a); err != nil {
				return err
			}
		}
	}
}
