package pb

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"bothy/runner/internal/remote/wire/pb/banana"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns both ends of a connection; the client can call root. Both are
// closed after the test.
func pair(t testing.TB, root Handler, atClient, atServer Options) (client, server *Broker) {
	t.Helper()
	near, far := net.Pipe()
	return connect(t, near, far, root, atClient, atServer)
}

func connect(t testing.TB, near, far net.Conn, root Handler, atClient, atServer Options) (client, server *Broker) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		var err error
		server, err = Server(t.Context(), far, root, atServer)
		failed <- err
	}()
	client, err := Client(t.Context(), near, atClient)
	if err := errors.Join(err, <-failed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
		_ = client.Wait()
		_ = server.Wait()
	})
	return client, server
}

// peer is a peer that does what the test says, byte by byte.
type peer struct {
	t testing.TB
	net.Conn
	decoder *banana.Decoder
}

// withPeer returns a server, and a client of it that has done its handshake.
func withPeer(t testing.TB, root Handler, o Options) (*Broker, *peer) {
	t.Helper()
	near, far := net.Pipe()
	p := &peer{t: t, Conn: near, decoder: banana.NewDecoder(near)}
	served := make(chan *Broker, 1)
	go func() {
		b, err := Server(t.Context(), far, root, o)
		if err != nil {
			t.Error(err)
		}
		served <- b
	}()
	p.want([]any{"pb", "none"})
	p.decoder.UseVocabulary()
	if _, err := near.Write(appendVersion(banana.AppendPlain(nil, "pb"))); err != nil {
		t.Fatal(err)
	}
	p.want([]any{"version", int64(6)})
	b := <-served
	t.Cleanup(func() {
		near.Close()
		b.Close()
		_ = b.Wait()
	})
	return b, p
}

// read returns the next expression.
func (p *peer) read() any {
	p.t.Helper()
	v, err := p.decoder.Decode(banana.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// want reads the next expression, which must be this one.
func (p *peer) want(want any) {
	p.t.Helper()
	if got := p.read(); !equal(got, want) {
		p.t.Fatalf("got %q, want %q", got, want)
	}
}

// ends reads until the end of the connection.
func (p *peer) ends() { _, _ = io.Copy(io.Discard, p.Conn) }

// say sends an expression; it returns once all of it was read.
func (p *peer) say(expr ...any) {
	p.t.Helper()
	if _, err := p.Write(appendExpr(nil, expr)); err != nil {
		p.t.Fatal(err)
	}
}

// ask calls a method of the root.
func (p *peer) ask(id int, method string, args ...any) {
	p.t.Helper()
	p.say("message", id, "root", method, 1, append([]any{"tuple"}, args...), []any{"dictionary"})
}

func appendExpr(b []byte, expr any) []byte {
	switch e := expr.(type) {
	case int:
		return banana.AppendInt(b, int64(e))
	case int64:
		return banana.AppendInt(b, e)
	case float64:
		return banana.AppendFloat(b, e)
	case string:
		return banana.AppendString(b, e)
	case []any:
		b = banana.AppendList(b, len(e))
		for _, v := range e {
			b = appendExpr(b, v)
		}
		return b
	}
	panic("not an expression")
}

func equal(a, b any) bool { return string(appendExpr(nil, a)) == string(appendExpr(nil, b)) }

// echo answers with its first argument.
var echo = HandlerFunc(func(_ context.Context, _ string, args Args) (any, error) {
	v, _ := args.Get(0, "value")
	return v, nil
})

// keeper passes on what it is called with.
type keeper chan Args

func (k keeper) Call(ctx context.Context, _ string, args Args) (any, error) {
	select {
	case k <- args:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// gate is a handler that answers when the test lets it.
type gate struct {
	entered chan string   // gets the method
	open    chan struct{} // one answer for each element
}

func newGate() *gate { return &gate{entered: make(chan string, 1000), open: make(chan struct{})} }

func (g *gate) Call(ctx context.Context, method string, _ Args) (any, error) {
	g.entered <- method
	select {
	case <-g.open:
		return method, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
