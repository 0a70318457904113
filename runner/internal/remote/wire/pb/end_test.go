package pb

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/internal/remote/wire/pb/banana"
)

// Whoever ends a connection, calls and handlers on both sides end with it.
func TestConnectionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end        func(client, server *Broker)
		atClient   error
		atServer   error
		lostToCall error
	}{
		"the client closes": {func(client, _ *Broker) { client.Close() }, ErrClosed, ErrLost, ErrClosed},
		"the server closes": {func(_, server *Broker) { server.Close() }, ErrLost, ErrClosed, ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				client, server := pair(t, g, Options{Window: 1}, Options{})
				p, err := client.Root().Start(t.Context(), "x", Args{})
				if err != nil {
					t.Fatal(err)
				}
				waits := make(chan error)
				go func() { // for the window
					_, err := client.Root().Start(t.Context(), "y", Args{})
					waits <- err
				}()
				<-g.entered
				synctest.Wait()
				if client.Err() != nil || server.Err() != nil {
					t.Fatal("ended before its end")
				}
				c.end(client, server)
				<-client.Done()
				<-server.Done()
				if err := client.Wait(); !errors.Is(err, c.atClient) {
					t.Errorf("the client says %v", err)
				}
				if err := server.Wait(); !errors.Is(err, c.atServer) { // its handler has ended too
					t.Errorf("the server says %v", err)
				}
				if _, err := p.Wait(t.Context()); !errors.Is(err, c.lostToCall) {
					t.Errorf("the call ended with %v", err)
				}
				if err := <-waits; !errors.Is(err, c.lostToCall) {
					t.Errorf("the call that waited ended with %v", err)
				}
				if _, err := client.Root().Call(t.Context(), "z", Args{}); !errors.Is(err, c.lostToCall) {
					t.Errorf("a call after the end: %v", err)
				}
				if err := client.Flush(t.Context()); !errors.Is(err, c.lostToCall) {
					t.Errorf("flushing after the end: %v", err)
				}
				client.Close() // does nothing any more
			})
		})
	}
}

// Calls that wait in line are not made when the connection has ended.
func TestQueuedCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		client, server := pair(t, g, Options{}, Options{})
		for range 3 {
			if err := client.Root().Notify(t.Context(), "x", Args{}); err != nil {
				t.Fatal(err)
			}
		}
		<-g.entered
		synctest.Wait()
		client.Close()
		_ = server.Wait()
		if n := len(g.entered); n != 0 {
			t.Errorf("%d calls were made after the end", n)
		}
	})
}

// What was said before Flush arrives, though Close follows.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := withPeer(t, nil, Options{})
		if err := b.Root().Notify(t.Context(), "last words", Args{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nobody reading: %v", err)
		}
		go func() {
			if err := b.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			b.Close()
		}()
		p.want([]any{"message", 1, "root", "last words", 0, []any{"tuple"}, []any{"dictionary"}})
		if _, err := p.decoder.Decode(banana.Limits{}); err != io.EOF {
			t.Errorf("%v", err)
		}
	})
}

// A peer that does not read cannot keep us from ending.
func TestCloseWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := withPeer(t, nil, Options{})
		p, err := b.Root().Start(t.Context(), "x", Args{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.Close()
		if err := b.Wait(); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		if _, err := p.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// failingConn fails to write after the handshake.
type failingConn struct {
	net.Conn
	left int
}

var errBroken = errors.New("broken pipe")

func (c *failingConn) Write(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		client, _ := connect(t, &failingConn{near, 1}, far, echo, Options{}, Options{})
		if _, err := client.Root().Call(t.Context(), "x", Args{}); !errors.Is(err, ErrLost) || !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
	})
}

func TestHandshakeFails(t *testing.T) {
	list := func(words ...any) []byte { return appendExpr(nil, words) }
	for name, c := range map[string]struct {
		client bool
		says   []byte // nil: nothing
		want   error
	}{
		"server offers nothing":       {true, list(), ErrProtocol},
		"server offers another":       {true, list("none", "qb"), ErrProtocol},
		"server offers no list":       {true, banana.AppendPlain(nil, "pb"), ErrProtocol},
		"server speaks HTTP":          {true, []byte("HTTP/1.1 400 Bad Request\r\n\r\n\xff"), ErrProtocol},
		"server says nothing":         {true, nil, context.DeadlineExceeded},
		"client chooses another":      {false, banana.AppendPlain(nil, "none"), ErrProtocol},
		"client chooses a list":       {false, list("pb"), ErrProtocol},
		"client uses words too early": {false, banana.AppendString(nil, "login"), ErrProtocol},
		"client says nothing":         {false, nil, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					if c.says != nil {
						go io.Copy(io.Discard, near)
						_, _ = near.Write(c.says)
						return
					}
					_, _ = io.Copy(io.Discard, near)
				}()
				defer near.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var b *Broker
				var err error
				if c.client {
					b, err = Client(ctx, far, Options{})
				} else {
					b, err = Server(ctx, far, echo, Options{})
				}
				if b != nil || !errors.Is(err, c.want) {
					t.Errorf("%v, %v", b, err)
				}
				if _, err := far.Read(make([]byte, 1)); err != io.ErrClosedPipe {
					t.Errorf("the connection was not closed: %v", err)
				}
			})
		})
	}
	t.Run("connection ends", func(t *testing.T) {
		near, far := net.Pipe()
		near.Close()
		if _, err := Client(t.Context(), far, Options{}); !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
	})
	t.Run("client without use for the server's version", func(t *testing.T) {
		b, p := withPeer(t, echo, Options{})
		p.say("version", 5)
		p.ends()
		if err := b.Wait(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
	})
}
