package api

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
	"time"
)

// socketWriter is what a WebSocket's frames go through to its connection. An
// event is encoded once, as a whole frame, and the same bytes are sent to every
// listener; the library beside it sends only control frames.
type socketWriter struct {
	net.Conn

	mu sync.Mutex // one frame after the other
}

// Write is the library's: a control frame is one write, since it fits into the
// buffer above.
func (s *socketWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.SetWriteDeadline(time.Now().Add(wsWriteTime)); err != nil {
		return 0, err
	}
	return s.Conn.Write(p)
}

// send writes frames, with one system call if the connection can. It clears the
// list.
func (s *socketWriter) send(frames [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.SetWriteDeadline(time.Now().Add(wsWriteTime)); err != nil {
		return err
	}
	if len(frames) == 1 {
		_, err := s.Conn.Write(frames[0])
		frames[0] = nil
		return err
	}
	all := net.Buffers(frames)
	_, err := all.WriteTo(s.Conn)
	return err
}

// maxControl is the size of the largest control frame: RFC 6455, 5.5, with a
// header of two bytes.
const maxControl = 2 + 125

// upgrader hands a WebSocket's connection over with a socketWriter in it.
type upgrader struct {
	http.ResponseWriter
	to *socketWriter // after the connection was handed over
}

// Hijack implements [http.Hijacker].
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.to = &socketWriter{Conn: conn}
	buf.Writer = bufio.NewWriterSize(u.to, maxControl)
	return u.to, buf, nil
}

// mayHijack reports whether a connection can be taken from its server: HTTP/2
// has none to give.
func mayHijack(w http.ResponseWriter) bool {
	for {
		if _, ok := w.(http.Hijacker); ok {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}

// textFrame returns room for one unmasked text frame of RFC 6455, 5.2, with its
// header in it; the payload of n bytes is to be appended.
func textFrame(n int) []byte {
	const fin, text = 0x80, 1
	b := make([]byte, 0, n+10)
	switch {
	case n < 126:
		return append(b, fin|text, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, fin|text, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, fin|text, 127), uint64(n))
}
