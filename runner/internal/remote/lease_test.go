package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/lasting"
	"bothy/runner/internal/remote/wire/bothy"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

// fakeBothy is a worker of Bothy's that runs no commands.
type fakeBothy struct {
	t      testing.TB
	p      *pipes
	tools  *lasting.Tools
	place  string
	stream *lasting.Stream
	token  bothy.Token
	ended  chan struct{}

	mu   sync.Mutex
	conn net.Conn
	wait sync.WaitGroup
	last string // id of the last command
}

func newFakeBothy(t testing.TB, p *pipes, place string) *fakeBothy {
	t.Helper()
	tools, err := lasting.NewTools()
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeBothy{t: t, p: p, tools: tools, place: place, ended: make(chan struct{})}
	f.stream = lasting.New(lasting.Options{
		Deliver: f.deliver, Ended: func(error) { close(f.ended) }, Tools: tools, Dead: DeadAfter,
		PingEvery: func() time.Duration { return 15 * time.Second },
	})
	t.Cleanup(func() {
		f.stream.Close(errors.New("the test is over"), false)
		<-f.ended
		f.cut()
	})
	return f
}

// socket connects, to where the first packet is expected.
func (f *fakeBothy) socket() *lasting.Socket {
	f.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.conn = f.p.dial()
		return f.conn, nil
	}}}
	ws, resp, err := websocket.Dial(context.Background(), "ws://master/", &websocket.DialOptions{
		HTTPClient: client,
		HTTPHeader: http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("bot:s3cret"))}, bothy.Header: {bothy.Version},
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if got := resp.Header.Get(bothy.Header); got != bothy.Version {
		f.t.Fatalf("the master's header is %q", got)
	}
	return lasting.NewSocket(ws, f.conn, f.tools, DeadAfter)
}

// connect makes a connection, and returns the master's answer to the hello.
func (f *fakeBothy) connect() bothy.Packet {
	f.t.Helper()
	sock := f.socket()
	if err := send(sock, &bothy.Hello{Token: f.token, Received: f.stream.Received(), Place: f.place}); err != nil {
		f.t.Fatal(err)
	}
	b, err := sock.Read()
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := bothy.Read(b)
	if err != nil {
		f.t.Fatal(err)
	}
	if w, ok := answer.(*bothy.Welcome); ok {
		f.token = w.Token
		f.wait.Go(func() { _ = f.stream.Serve(sock, w.Received) }) // cut
		synctest.Wait()
	} else {
		sock.Close()
	}
	return answer
}

// cut cuts the connection and waits until it has ended here.
func (f *fakeBothy) cut() {
	f.mu.Lock()
	if f.conn != nil {
		f.conn.Close()
	}
	f.mu.Unlock()
	f.wait.Wait()
}

func (f *fakeBothy) send(frame msgpack.Frame) {
	b, err := msgpack.Append([]byte{bothy.Frame}, frame)
	if err == nil {
		err = f.stream.Send(context.Background(), b, false)
	}
	if err != nil && !errors.Is(err, lasting.ErrOver) {
		f.t.Error(err)
	}
}

func (f *fakeBothy) deliver(msg []byte) {
	b, _, err := bothy.ReadPayload(msg)
	if err != nil {
		f.t.Error(err)
		return
	}
	frame, err := msgpack.Read(b, msgpack.Limits{})
	if err != nil {
		f.t.Error(err)
		return
	}
	r := &msgpack.Response{}
	switch m := frame.Message.(type) {
	case *msgpack.Response:
		return
	case *msgpack.GetWorkerInfo:
		r.Result = fakeInfo
	case *msgpack.StartCommand:
		f.mu.Lock()
		f.last = m.CommandID
		f.mu.Unlock()
		if m.Command != "shell" {
			defer f.complete(m.CommandID)
		}
	}
	f.send(msgpack.Frame{Seq: frame.Seq, Message: r})
}

// complete ends a command with success.
func (f *fakeBothy) complete(id string) {
	items := []msgpack.Item{{Name: "files", Value: []any{}}, {Name: "rc", Value: int64(0)}}
	f.send(msgpack.Frame{Seq: 1000, Message: &msgpack.Update{CommandID: id, Items: items}})
	f.send(msgpack.Frame{Seq: 1001, Message: &msgpack.Complete{CommandID: id}})
}

func (f *fakeBothy) write(id, text string) {
	if err := f.stream.Send(context.Background(), append(bothy.AppendOutput(nil, bothy.Output{Command: id, Stream: 'o'}), text...), true); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeBothy) command() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// The master waits for a worker that is cut off for its lease and what ending takes,
// from the last ping it answered; then the build is lost, and whoever comes late is
// refused.
func TestLeaseIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := newFakeBothy(t, p, "here")
		w, ok := f.connect().(*bothy.Welcome)
		if !ok || w.Resumed || w.Lease != 2*time.Minute || w.Window <= 0 || !w.Token.Set() {
			t.Fatalf("%+v", w)
		}
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		out := newOutput()
		done := make(chan error, 1)
		go func() {
			_, err := b.Run(t.Context(), sh(b, "sleep 1"), out)
			done <- err
		}()
		synctest.Wait()
		id := f.command()
		if !strings.HasPrefix(id, b.spec.Token.String()+"-") {
			t.Errorf("command %q is not of attempt %v", id, b.spec.Token)
		}
		f.write(id, "before\n")
		time.Sleep(100 * time.Second) // pings at 15, 30 … 90
		began := time.Now().Add(-10 * time.Second)
		f.cut()
		synctest.Wait()
		h, changed := c.Hold()
		if want := 2*time.Minute + leaseGrace + leaseMargin; h.Until.Sub(began) != want {
			t.Errorf("held for %v after the last ping, want %v", h.Until.Sub(began), want)
		}
		if c.Err() != nil {
			t.Errorf("lost at once: %v", c.Err())
		}
		time.Sleep(time.Until(h.Until) - time.Millisecond)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("the build has ended before its time: %v", err)
		case <-changed:
			t.Error("not held any more")
		default:
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if err := <-done; !errors.Is(err, worker.ErrLost) || !errors.Is(err, errLease) {
			t.Errorf("the build: %v", err)
		}
		if !errors.Is(c.Err(), errLease) {
			t.Errorf("the connection: %v", c.Err())
		}
		if got := out.text(worker.Stdout); got != "before\n" {
			t.Errorf("log %q", got)
		}
		f.write(id, "late\n")
		if a, ok := f.connect().(*bothy.Refusal); !ok {
			t.Errorf("whoever comes late is answered %+v", a)
		}
		if got := out.text(worker.Stdout); got != "before\n" {
			t.Errorf("log %q", got)
		}
		if !strings.Contains(m.log.String(), "late worker refused") {
			t.Error("the log does not tell of the late worker")
		}
	})
}

// What is asked of a worker that is cut off waits for it, and is done once.
func TestCommandsWaitForTheWorker(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := newFakeBothy(t, p, "here")
		f.connect()
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		f.cut()
		synctest.Wait()
		began := time.Now()
		if err := c.Ping(t.Context()); !errors.Is(err, lasting.ErrCut) {
			t.Errorf("ping: %v", err)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("the ping took %v", d)
		}
		done := make(chan error, 1)
		go func() {
			_, err := b.Run(t.Context(), sh(b, "true"), newOutput())
			done <- err
		}()
		time.Sleep(time.Minute)
		w, ok := f.connect().(*bothy.Welcome)
		if !ok || !w.Resumed {
			t.Fatalf("%+v", w)
		}
		f.complete(f.command())
		if err := <-done; err != nil {
			t.Error(err)
		}
		if h, _ := c.Hold(); h.Set() {
			t.Errorf("held: %+v", h)
		}
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(24 * time.Hour) // nothing is counted any more
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

// Who has the name while a worker is cut off: its session, at once; the same base
// directory, where nothing of the session can run; another when no build runs.
func TestNameWhileCut(t *testing.T) {
	for name, c := range map[string]struct {
		place  string
		build  bool
		refuse bool
	}{
		"the same place":           {"here", true, false},
		"another place":            {"there", true, true},
		"no place":                 {"", true, true},
		"another place, no builds": {"there", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *master, p *pipes) {
				k := m.kind("bot")
				f := newFakeBothy(t, p, "here")
				f.connect()
				conn := attach(t, k)
				if c.build {
					startBuild(t, conn, "test", nil)
				}
				f.cut()
				synctest.Wait()
				began := time.Now()
				other := newFakeBothy(t, p, c.place)
				other.connect()
				synctest.Wait()
				if d := time.Since(began); d > time.Second {
					t.Errorf("decided after %v", d)
				}
				if c.refuse {
					<-other.stream.Done()
					if err := other.stream.Err(); !errors.Is(err, lasting.ErrBye) || !strings.Contains(err.Error(), "held for it") {
						t.Errorf("the other: %v", err)
					}
					if w, ok := f.connect().(*bothy.Welcome); !ok || !w.Resumed || conn.Err() != nil {
						t.Errorf("the first: %+v, %v", w, conn.Err())
					}
					return
				}
				if !errors.Is(conn.Err(), worker.ErrLost) {
					t.Errorf("the first: %v", conn.Err())
				}
				if attach(t, k).Err() != nil {
					t.Error("the other has no connection")
				}
			})
		})
	}
}

// A master knows Buildbot's worker by its asking for no session, and one that asks
// and then says something else is dropped.
func TestHostileHello(t *testing.T) {
	for name, c := range map[string]struct {
		packets [][]byte
	}{
		"no packet":         {[][]byte{{0xff}}},
		"empty":             {[][]byte{{}}},
		"another packet":    {[][]byte{bothy.Append(nil, bothy.Ping{ID: 1})}},
		"two old tokens":    {[][]byte{bothy.Append(nil, &bothy.Hello{Token: bothy.Token{1}}), bothy.Append(nil, &bothy.Hello{Token: bothy.Token{2}})}},
		"a huge message":    {[][]byte{append(bothy.Append(nil, &bothy.Hello{}), make([]byte, 17<<20)...)}},
		"nothing, for long": {nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *master, p *pipes) {
				m.kind("bot")
				f := newFakeBothy(t, p, "here")
				sock := f.socket()
				read := make(chan error, 1)
				go func() {
					for {
						b, err := sock.Read()
						if err == nil {
							if _, ok := mustRead(b).(*bothy.Refusal); ok {
								continue
							}
							err = errors.New("answered")
						}
						read <- err
						return
					}
				}()
				for _, packet := range c.packets {
					if err := sock.Write([][]byte{packet}); err != nil {
						break
					}
				}
				began := time.Now()
				if err := <-read; err.Error() == "answered" {
					t.Error("the master goes on")
				}
				if d := time.Since(began); d > LoginTime {
					t.Errorf("dropped after %v", d)
				}
				sock.Close()
			})
		})
	}
}

func mustRead(b []byte) bothy.Packet {
	p, err := bothy.Read(b)
	if err != nil {
		return nil
	}
	return p
}
