package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/remote/wire/pb"
	"bothy/runner/internal/remote/wire/pb/banana"
)

// call is a call of the root, as it goes over the wire.
func call(id int, method string, size int) []byte {
	b := banana.AppendInt(banana.AppendString(banana.AppendList(nil, 7), "message"), int64(id))
	b = banana.AppendInt(banana.AppendString(banana.AppendString(b, "root"), method), 1)
	b = banana.AppendString(banana.AppendString(banana.AppendList(b, 2), "tuple"), strings.Repeat("x", size))
	return banana.AppendString(banana.AppendList(b, 1), "dictionary")
}

// shake does a worker's part of the handshake.
func shake(c net.Conn) error {
	offer := make([]byte, len("\x02\x80\x02\x82pb\x04\x82none"))
	if _, err := io.ReadFull(c, offer); err != nil {
		return err
	}
	_, err := c.Write(banana.AppendInt(banana.AppendString(banana.AppendList(banana.AppendPlain(nil, "pb"), 2), "version"), 6))
	return err
}

// A stranger that asks and asks, and does not listen, is not kept in memory, and
// not for longer than others.
func TestStrangersDoNotListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaster(t, nil, "bot")
		p := m.listenPipes()
		m.kind("bot")
		const peers = 64
		before := heap()
		began := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		var wrote, slowest int64
		flood := call(1, strings.Repeat("m", 3<<10), 3<<10) // the answer repeats the name
		for range peers {
			c := p.dial()
			wg.Go(func() {
				defer c.Close()
				if err := shake(c); err != nil {
					t.Error(err)
					return
				}
				var n int64
				for range 10_000 {
					k, err := c.Write(flood)
					if n += int64(k); err != nil {
						break
					}
				}
				mu.Lock()
				defer mu.Unlock()
				wrote += n
				slowest = max(slowest, int64(time.Since(began)))
			})
		}
		time.Sleep(LoginTime / 2) // of the bubble
		grew := heap() - before
		wg.Wait()
		// Each keeps some KiB for itself, besides what it says.
		if limit := int64(peers * 128 << 10); grew > limit {
			t.Errorf("%d bytes of strangers made the heap grow by %d, more than %d", wrote, grew, limit)
		}
		if time.Duration(slowest) > LoginTime+time.Second {
			t.Errorf("dropped after %v", time.Duration(slowest))
		}
	})
}

// Thousands who only connect cost little, and keep no worker out.
func TestThousandsSayNothing(t *testing.T) {
	m := newMaster(t, nil, "bot").listen()
	m.kind("bot")
	_, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		t.Fatal(err)
	}
	const silent = 5000
	before := heap()
	refused := 0
	for i := range silent {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%16))}}
		c, err := d.DialContext(within(t), "tcp", "127.0.0.1:"+port)
		if err != nil {
			refused++
			continue
		}
		defer c.Close()
	}
	grew := heap() - before
	if n := m.guardStrangers(); n > maxStrangers {
		t.Errorf("%d strangers", n)
	}
	// About a goroutine, a timer and what is known of the socket each.
	if limit := int64(maxStrangers*24<<10 + silent<<10); grew > limit {
		t.Errorf("%d connections made the heap grow by %d, more than %d (%d refused)", silent, grew, limit, refused)
	}
	ws, err := dialWorker(t, m.addr, "bot", "s3cret", websocket.CompressionDisabled)
	if err != nil {
		t.Fatalf("a worker is kept out: %v", err)
	}
	ws.CloseNow()
}

func (m *master) guardStrangers() int {
	m.guard.mu.Lock()
	defer m.guard.mu.Unlock()
	return m.guard.strangers
}

func dialWorker(t *testing.T, addr, name, password string, mode websocket.CompressionMode) (*websocket.Conn, error) {
	t.Helper()
	h := http.Header{}
	r := &http.Request{Header: h}
	r.SetBasicAuth(name, password)
	ws, _, err := websocket.Dial(within(t), "ws://"+addr+"/", &websocket.DialOptions{HTTPHeader: h, CompressionMode: mode})
	return ws, err
}

// Compression is not offered to those who ask for it, so that no message is larger
// than what was sent; and who uses it all the same is dropped.
func TestNoCompressedBombs(t *testing.T) {
	m := newMaster(t, nil, "bot").listen()
	m.kind("bot")
	ws, err := dialWorker(t, m.addr, "bot", "s3cret", websocket.CompressionContextTakeover)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()

	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\nAuthorization: Basic Ym90OnMzY3JldA==\r\n\r\n")
	var head bytes.Buffer
	for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
		if _, err := io.CopyN(&head, conn, 1); err != nil {
			t.Fatalf("%q: %v", head.String(), err)
		}
	}
	if !strings.HasPrefix(head.String(), "HTTP/1.1 101 ") || strings.Contains(strings.ToLower(head.String()), "deflate") {
		t.Fatalf("the answer is %q", head.String())
	}
	// A binary frame with RSV1: "compressed".
	if _, err := conn.Write([]byte{0xc2, 0x80, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection does not end: %v", err)
	}
}

// The same of one that speaks MessagePack: it is dropped when it has not read for
// as long as one that is dead.
func TestMsgpackWorkerDoesNotListen(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		slow := &deaf{open: make(chan struct{})}
		p.wrap = func(c net.Conn) net.Conn { slow.Conn = c; return slow }
		f, _ := dialFake(t, p, "bot", "s3cret", nil)
		c := attach(t, k)
		before := heap()
		began := time.Now()
		slow.shut()
		text := strings.Repeat("x", 64<<10)
		for range 4000 { // 256 MiB
			if f.request(&msgpack.Update{CommandID: "4711", Items: []msgpack.Item{lines("stdout", text)}}) != nil {
				break
			}
		}
		<-c.Done()
		if took := time.Since(began); took > DeadAfter+PulseInterval {
			t.Errorf("dropped after %v", took)
		}
		if grew := heap() - before; grew > 16<<20 {
			t.Errorf("the heap grew by %d", grew)
		}
		close(slow.open)
		<-f.ended
	})
}

// A worker that asks without end, and does not listen, makes the master wait for
// it, not keep what it says.
func TestWorkerDoesNotListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaster(t, nil, "bot")
		k := m.kind("bot")
		p := m.listenPipes()
		conn := p.dial()
		slow := &deaf{Conn: conn, open: make(chan struct{})}
		b, err := pb.Client(within(t), slow, pb.Options{Window: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		avatar, err := pb.Login(within(t), b, "bot", "s3cret", pb.NewObject(&fakeBot{t: t, broker: b, builders: map[string]*pb.Object{}}))
		if err != nil {
			t.Fatal(err)
		}
		attach(t, k)
		before := heap()
		slow.shut()
		sent := 0
		big := strings.Repeat("x", 64<<10)
		for ; sent < 4000; sent++ { // 256 MiB
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := avatar.Notify(ctx, "keepalive", pb.Positional(big))
			p, err2 := avatar.Start(ctx, big[:1000], pb.Args{})
			cancel()
			if err != nil || err2 != nil {
				break
			}
			p.Abandon()
		}
		if grew := heap() - before; grew > 4*pbBacklog {
			t.Errorf("the heap grew by %d", grew)
		}
		close(slow.open)
		b.Close()
		_ = b.Wait() // it was closed
	})
}

// deaf is a connection that reads no more once it is shut, until it is open.
type deaf struct {
	net.Conn
	open   chan struct{}
	mu     sync.Mutex
	closed bool
}

func (d *deaf) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

func (d *deaf) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		<-d.open
		return 0, net.ErrClosed
	}
	return n, err
}
