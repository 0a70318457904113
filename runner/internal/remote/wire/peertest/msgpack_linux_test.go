package peertest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
)

const protocolMsgpack = "msgpack_experimental_v7"

// newline is what masters send as SetWorkerSettings.NewlineRE.
const newline = `(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)`

// testMaster is what the requests of a worker are about.
type testMaster struct {
	outcomes map[string]*outcome // by command; set before it is started
	down     []byte              // still to be read by the worker
	up       []byte
	closed   []string
}

func (m *testMaster) serve(message msgpack.Message) (any, error) {
	switch r := message.(type) {
	case *msgpack.Update:
		o := m.outcomes[r.CommandID]
		if o == nil {
			return nil, errors.New("unknown command")
		}
		for _, it := range r.Items {
			if it.Lines.Text == nil {
				o.values = append(o.values, wire.Field{Key: it.Name, Value: it.Value})
				continue
			}
			o.output[it.Name] += string(it.Lines.Text)
		}
	case *msgpack.Complete:
		var failure any
		if r.Failed {
			failure = r.Failure
		}
		m.outcomes[r.CommandID].ended <- failure
	case *msgpack.ReadFile:
		block := m.down[:min(int(r.Length), len(m.down))]
		m.down = m.down[len(block):]
		return block, nil
	case *msgpack.UploadWrite:
		m.up = append(m.up, r.Data...)
	case *msgpack.ReadFileClose, *msgpack.UploadClose:
		m.closed = append(m.closed, message.Op())
	default:
		return nil, errors.New("no such operation here: " + message.Op())
	}
	return nil, nil
}

// acceptMsgpack lets buildbot-worker log in.
func acceptMsgpack(t *testing.T) (*httptest.Server, chan *websocket.Conn) {
	t.Helper()
	conns := make(chan *websocket.Conn, 1)
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pw, ok := r.BasicAuth(); !ok || user != name || pw != password {
			t.Errorf("%q wants to log in, and its password is wrong", user)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- ws
		<-done
	}))
	t.Cleanup(func() {
		close(done)
		s.Close()
	})
	return s, conns
}

func TestRealWorkerOverMsgpack(t *testing.T) {
	ctx := patient(t)
	server, conns := acceptMsgpack(t)
	process := startWorker(t, protocolMsgpack, server.Listener.Addr())
	var ws *websocket.Conn
	select {
	case ws = <-conns:
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	content := bytes.Repeat([]byte("\x00\xff list message\n"), 20_000)
	m := &testMaster{outcomes: map[string]*outcome{}, down: content}
	for _, id := range []string{"shell", "down", "up", "long"} {
		m.outcomes[id] = newOutcome()
	}
	l := newLink(t, ctx, ws, m.serve)
	ask := func(request msgpack.Message) any {
		t.Helper()
		v, err := l.call(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ask(&msgpack.Print{Text: "attached"})
	process.logs("message from master: attached")
	info, err := wire.Dict(ask(&msgpack.GetWorkerInfo{}))
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := info.Get("version"); version == nil {
		t.Errorf("no version in %v", info)
	}
	ask(&msgpack.Keepalive{})
	ask(&msgpack.SetWorkerSettings{NewlineRE: newline, MaxLineLength: 1 << 30, BufferTimeout: 100 * time.Millisecond, BufferSize: 64 << 10})
	ask(&msgpack.InterruptCommand{CommandID: "unknown", Why: "no error"})

	file := filepath.Join(process.dir, "file")
	block := wire.Field{Key: "blocksize", Value: 16 << 10}
	for _, c := range []struct {
		id, command string
		args        wire.Map
		code        int64
	}{
		{"shell", "shell", shell(process.dir, "echo $GREETING; echo oops >&2; exit 3"), 3},
		{"down", "download_file", wire.Map{{Key: "path", Value: file}, block, {Key: "maxsize", Value: nil}, {Key: "mode", Value: nil}}, 0},
		{"up", "upload_file", wire.Map{{Key: "path", Value: file}, block, {Key: "maxsize", Value: nil}, {Key: "keepstamp", Value: false}}, 0},
		{"long", "shell", shell(process.dir, "head -c 1000000 /dev/zero | tr '\\0' x"), 0},
	} {
		ask(&msgpack.StartCommand{CommandID: c.id, Command: c.command, Args: c.args})
		m.outcomes[c.id].wait(t, ctx, c.code)
	}
	if o := m.outcomes["shell"].output; o["stdout"] != "hällo\n" || o["stderr"] != "oops\n" {
		t.Errorf("output %q", o)
	}
	if out := m.outcomes["long"].output["stdout"]; len(out) != 1_000_001 {
		t.Errorf("%d bytes of a long line", len(out))
	}
	if onDisk, err := os.ReadFile(file); err != nil || !bytes.Equal(onDisk, content) {
		t.Errorf("%d bytes arrived at the worker, %v", len(onDisk), err)
	}
	if !bytes.Equal(m.up, content) || strings.Join(m.closed, " ") != "update_read_file_close update_upload_file_close" {
		t.Errorf("%d bytes came back, closed %q", len(m.up), m.closed)
	}
	for _, request := range []msgpack.Message{
		&msgpack.StartCommand{CommandID: "x", Command: "dance"},
		&msgpack.StartCommand{CommandID: "y", Command: "rmfile"},
		&msgpack.Complete{CommandID: "z"},
	} {
		var refused *msgpack.RemoteError
		if v, err := l.call(ctx, request); !errors.As(err, &refused) {
			t.Errorf("%s: %v, %v", request.Op(), v, err)
		}
	}

	ask(&msgpack.Shutdown{})
	<-process.ended
	<-l.ended
}

func TestRealMasterOverMsgpack(t *testing.T) {
	ctx := patient(t)
	process, _, addr := startMaster(t)
	dial := func(user, pw string) (*websocket.Conn, int, error) {
		r, err := http.NewRequest(http.MethodGet, "ws://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, pw)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		ws, response, err := websocket.Dial(ctx, "ws://"+addr, &websocket.DialOptions{HTTPHeader: r.Header, HTTPClient: client})
		if response == nil {
			return ws, 0, err
		}
		return ws, response.StatusCode, err
	}
	for user, pw := range map[string]string{name: "wrong", "nobody": password} {
		if _, code, err := dial(user, pw); code != http.StatusUnauthorized {
			t.Errorf("%s with %q: %d, %v", user, pw, code, err)
		}
	}
	ws, _, err := dial(name, password)
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan *msgpack.StartCommand, 100)
	l := newLink(t, ctx, ws, func(request msgpack.Message) (any, error) {
		switch r := request.(type) {
		case *msgpack.GetWorkerInfo:
			return workerInfo("/w"), nil
		case *msgpack.StartCommand:
			started <- r
		case *msgpack.Print, *msgpack.SetWorkerSettings:
		default:
			return nil, errors.New("no such operation here: " + r.Op())
		}
		return nil, nil
	})
	// It looks for its directories, makes what is missing, then builds.
	says := map[string][]msgpack.Item{
		"listdir": {{Name: "files", Value: []any{"info"}}},
		"mkdir":   nil,
		"shell":   {{Name: msgpack.Stdout, Lines: msgpack.Lines{Text: []byte("hello\n"), Ends: []int{5}, Times: []float64{1.7e9}}}},
	}
	for len(says) > 0 {
		var c *msgpack.StartCommand
		select {
		case c = <-started:
		case <-l.ended:
			t.Fatal(l.err)
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
		items, ok := says[c.Command]
		if !ok {
			t.Fatalf("it wants %s", c.Command)
		}
		delete(says, c.Command)
		if c.Command == "shell" {
			argv, _ := c.Args.Get("command")
			if words, err := wire.Texts(argv); err != nil || strings.Join(words, " ") != "echo hello" || c.Builder != builder {
				t.Errorf("asked to run %v for %q", argv, c.Builder)
			}
		}
		items = append(items, msgpack.Item{Name: "rc", Value: 0}, msgpack.Item{Name: "elapsed", Value: 0.5})
		for _, m := range []msgpack.Message{&msgpack.Update{CommandID: c.CommandID, Items: items}, &msgpack.Complete{CommandID: c.CommandID}} {
			if v, err := l.call(ctx, m); v != nil || err != nil {
				t.Errorf("%s of %s: %v, %v", m.Op(), c.Command, v, err)
			}
		}
	}
	process.logs("bot attached")
	process.logs("step 'shell' complete: success")
	var refused *msgpack.RemoteError
	if v, err := l.call(ctx, &msgpack.Update{CommandID: "unknown"}); !errors.As(err, &refused) {
		t.Errorf("an update of an unknown command: %v, %v", v, err)
	}
}
