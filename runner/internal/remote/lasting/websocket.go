package lasting

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire/bothy"
)

// Socket is a [Conn] over a WebSocket.
type Socket struct {
	ws    *websocket.Conn
	conn  net.Conn
	tools *Tools
	limit time.Duration
	buf   *buffer
	small [128]byte
}

// NewSocket returns a Conn that writes within limit or fails. conn is the
// connection that ws writes to; packets are gathered if it is [Corked].
func NewSocket(ws *websocket.Conn, conn net.Conn, tools *Tools, limit time.Duration) *Socket {
	ws.SetReadLimit(bothy.MaxPacket)
	return &Socket{ws: ws, conn: conn, tools: tools, limit: limit}
}

// Read implements [Conn].
func (s *Socket) Read() ([]byte, error) {
	if s.buf != nil {
		s.tools.give(s.buf)
		s.buf = nil
	}
	for {
		kind, r, err := s.ws.Reader(context.Background())
		if err != nil {
			return nil, fmt.Errorf("connection lost: %w", err)
		}
		n, err := io.ReadFull(r, s.small[:])
		b := s.small[:n]
		if err == nil {
			s.buf = s.tools.get()
			s.buf.b = append(s.buf.b[:0], b...)
			s.buf.b, err = readOn(s.buf.b, r)
			b = s.buf.b
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("connection lost: %w", err)
		}
		if kind == websocket.MessageBinary {
			return b, nil
		}
	}
}

// readOn reads to the end of r, whose error it returns, [io.EOF] as a rule.
func readOn(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(len(b), 32<<10))...)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err != nil {
			return b, err
		}
	}
}

// Write implements [Conn].
func (s *Socket) Write(packets [][]byte) (err error) {
	// A deadline costs less than a context, and there are many small writes.
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.limit)); err != nil {
		return fmt.Errorf("connection lost: %w", err)
	}
	corked, _ := s.conn.(*Corked)
	if corked != nil {
		corked.cork()
	}
	for _, p := range packets {
		if err = s.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
			break
		}
	}
	if corked != nil {
		if flushed := corked.uncork(); err == nil {
			err = flushed
		}
	}
	if err != nil {
		return fmt.Errorf("connection lost: %w", err)
	}
	return nil
}

// Close implements [Conn].
func (s *Socket) Close() error { return s.ws.CloseNow() }

// Corked is a connection that can gather what is written: a WebSocket's client
// writes 4 KiB at a time.
type Corked struct {
	net.Conn
	tools *Tools

	mu     sync.Mutex
	corked bool
	buf    *buffer
}

// Cork returns a connection that gathers what a [Socket] writes.
func (t *Tools) Cork(conn net.Conn) *Corked { return &Corked{Conn: conn, tools: t} }

// Write implements [net.Conn].
func (c *Corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.Conn.Write(p)
	}
	c.buf.b = append(c.buf.b, p...)
	if len(c.buf.b) >= batchSize {
		return len(p), c.flush()
	}
	return len(p), nil
}

func (c *Corked) flush() error {
	_, err := c.Conn.Write(c.buf.b)
	c.buf.b = c.buf.b[:0]
	return err
}

func (c *Corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
	c.buf = c.tools.get()
	c.buf.b = c.buf.b[:0]
}

func (c *Corked) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flush()
	c.corked = false
	c.tools.give(c.buf)
	c.buf = nil
	return err
}
