package remote

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/internal/remote/wire/pb"
)

// At whatever stage a stranger stops, or goes on too slowly, it is dropped in its
// time, and nothing of it stays.
func TestStrangersStopHalfWay(t *testing.T) {
	silent := func(*testing.T, net.Conn) {}
	overTLS := func(then func(t *testing.T, c net.Conn)) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			if err := secure.HandshakeContext(within(t)); err != nil {
				t.Error(err)
				return
			}
			then(t, secure)
		}
	}
	say := func(text string) func(*testing.T, net.Conn) {
		return func(_ *testing.T, c net.Conn) { io.WriteString(c, text) }
	}
	slowly := func(text string) func(*testing.T, net.Conn) {
		return func(_ *testing.T, c net.Conn) {
			for i := range text {
				time.Sleep(SniffWait - time.Millisecond) // of the bubble
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return
				}
			}
		}
	}
	speaks := func(t *testing.T, c net.Conn) *pb.Broker {
		b, err := pb.Client(within(t), c, pb.Options{})
		if err != nil {
			t.Error(err)
			return nil
		}
		return b
	}
	shaken := func(t *testing.T, c net.Conn) { speaks(t, c) }
	challenged := func(t *testing.T, c net.Conn) {
		if b := speaks(t, c); b != nil {
			if _, err := b.Root().Call(within(t), "login", pb.Positional([]byte("bot"))); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		tls  bool
		do   func(t *testing.T, c net.Conn)
	}{
		{"sniff: silent", false, silent},
		{"sniff: a letter", false, say("G")},
		{"sniff: letter by letter", false, slowly("GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 100))},
		{"TLS: silent", true, silent},
		{"TLS: a header", true, say("\x16\x03\x01\x02\x00")},
		{"TLS: byte by byte", true, slowly("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500))},
		{"sniff over TLS: silent", true, overTLS(silent)},
		{"sniff over TLS: letter by letter", true, overTLS(slowly("GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 100)))},
		{"upgrade: letter by letter", false, slowly("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + strings.Repeat("QUFB", 200))},
		{"PB: no choice", false, func(_ *testing.T, c net.Conn) { io.CopyN(io.Discard, c, 9) }},
		{"PB: handshake", false, shaken},
		{"PB: challenge", false, challenged},
		{"PB over TLS: challenge", true, overTLS(challenged)},
		{"PB: byte by byte", false, func(t *testing.T, c net.Conn) {
			if err := shake(c); err != nil {
				t.Error(err)
			}
			slowly(strings.Repeat(string(call(1, "login", 10)), 20))(t, c)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMaster(t, func(o *Options) {
					if c.tls {
						cert, key := writeCert(t, t.TempDir(), "master")
						var err error
						if o.TLS, err = TLS(cert, key, ""); err != nil {
							t.Fatal(err)
						}
					}
				}, "bot")
				p := m.listenPipes()
				m.kind("bot")
				ours := &ends{Conn: p.dial(), ended: make(chan struct{})}
				began := time.Now()
				c.do(t, ours)
				go io.Copy(io.Discard, ours) // until it is dropped
				<-ours.ended
				if took := time.Since(began); took > LoginTime+time.Second {
					t.Errorf("dropped after %v", took)
				}
				ours.Close()
				synctest.Wait()
				if n := m.guardStrangers(); n != 0 || len(m.peers) != 0 {
					t.Errorf("%d strangers, %d peers are remembered", n, len(m.peers))
				}
			})
		})
	}
}

// ends tells when the other side has closed a connection.
type ends struct {
	net.Conn
	ended chan struct{}
}

func (e *ends) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err != nil {
		select {
		case <-e.ended:
		default:
			close(e.ended)
		}
	}
	return n, err
}
