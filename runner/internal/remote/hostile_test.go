package remote

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/remote/wire/pb"
	"bothy/runner/worker"
)

// A worker that does not keep to the protocol loses its connection, at most.
func TestHostileWorker(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(f *fakeWorker, id string) error
		lost bool
	}{
		{"not MessagePack", func(f *fakeWorker, _ string) error { return f.raw([]byte{0xc1}) }, true},
		{"a list of 4 billion", func(f *fakeWorker, _ string) error { return f.raw([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}) }, true},
		{"an answer to nothing", func(f *fakeWorker, _ string) error {
			return f.send(msgpack.Frame{Seq: 4711, Message: &msgpack.Response{}})
		}, true},
		{"a frame beyond the limit", func(f *fakeWorker, _ string) error { return f.raw(make([]byte, msgpack.DefaultBytes+1)) }, true},
		{"a text frame", func(f *fakeWorker, _ string) error {
			return f.ws.Write(context.Background(), websocket.MessageText, []byte("hello"))
		}, false},
		{"an unknown command", func(f *fakeWorker, _ string) error { return f.request(&msgpack.Complete{CommandID: "4711"}) }, false},
		{"an upload nobody asked for", func(f *fakeWorker, id string) error {
			return f.request(&msgpack.UploadWrite{CommandID: id, Data: []byte("x")})
		}, false},
		{"a download nobody asked for", func(f *fakeWorker, id string) error {
			return f.request(&msgpack.ReadFile{CommandID: id, Length: 1 << 40})
		}, false},
		{"a master's message", func(f *fakeWorker, _ string) error { return f.request(&msgpack.Shutdown{}) }, false},
		{"many values", func(f *fakeWorker, id string) error {
			var items []msgpack.Item
			for i := range 1000 {
				items = append(items, msgpack.Item{Name: strings.Repeat("v", i+1), Value: int64(i)})
			}
			return f.request(&msgpack.Update{CommandID: id, Items: items})
		}, false},
		{"a goodbye", func(f *fakeWorker, _ string) error { return f.ws.Close(websocket.StatusNormalClosure, "") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMaster(t, nil, "bot")
			p := m.listenPipes()
			k := m.kind("bot")
			f := fake(t, p)
			conn := attach(t, k)
			b := startBuild(t, conn, "test", nil)
			type result struct {
				exit worker.Exit
				err  error
			}
			finished := make(chan result, 1)
			go func() {
				exit, err := b.Run(within(t), sh(b, "x"), newOutput())
				finished <- result{exit, err}
			}()
			var id string
			until(t, "the command", func() bool {
				all := f.commands()
				id = all[len(all)-1].CommandID
				return all[len(all)-1].Command == "shell"
			})
			if err := c.do(f, id); err != nil && !c.lost {
				t.Error(err)
			}
			if c.lost {
				<-conn.Done()
				if r := <-finished; !errors.Is(r.err, worker.ErrLost) {
					t.Errorf("%+v", r)
				}
				return
			}
			f.complete(id, 5)
			if r := <-finished; r.err != nil || r.exit.Code != 5 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// raw sends a frame as it is.
func (f *fakeWorker) raw(b []byte) error {
	return f.ws.Write(context.Background(), websocket.MessageBinary, b)
}

// What a worker says about itself may make it useless, never us.
func TestHostileFacts(t *testing.T) {
	good := func(change ...wire.Field) wire.Map { return append(append(wire.Map{}, fakeInfo...), change...) }
	for name, m := range map[string]wire.Map{
		"empty":               nil,
		"no system":           {{Key: "basedir", Value: "/base"}},
		"no basedir":          {{Key: "system", Value: "posix"}},
		"a relative basedir":  good(wire.Field{Key: "basedir", Value: "base"}),
		"a basedir of bytes":  good(wire.Field{Key: "basedir", Value: []byte{0xff}}),
		"a Windows basedir":   good(wire.Field{Key: "basedir", Value: `C:\base`}),
		"a system of numbers": good(wire.Field{Key: "system", Value: int64(1)}),
	} {
		if f, err := readFacts(m); err == nil {
			t.Errorf("%s: taken: %v", name, f)
		}
	}
	many := good(wire.Field{Key: "admin", Value: strings.Repeat("ü", maxFact) + "\n"}, wire.Field{Key: "environ", Value: "none"})
	for i := range 10 * maxFacts {
		many = append(many, wire.Field{Key: "k" + strings.Repeat("x", i%60) + string(rune('a'+i/60)), Value: []any{"list"}}, wire.Field{Key: big.NewInt(int64(i)).String(), Value: int64(i)})
	}
	f, err := readFacts(many)
	if err != nil || len(f.info) > maxFacts+len(osKeys) || len(f.info["admin"].(string)) > maxFact {
		t.Errorf("%v; %d facts, %d bytes of one", err, len(f.info), len(f.info["admin"].(string)))
	}
	for _, key := range osKeys {
		if v, ok := f.info[key]; v != nil || !ok {
			t.Errorf("%s: %v, %v", key, v, ok)
		}
	}
}

// pbStranger connects over Perspective Broker and may call the root.
func pbStranger(t *testing.T, p *pipes) *pb.Broker {
	t.Helper()
	b, err := pb.Client(within(t), p.dial(), pb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		_ = b.Wait() // it was closed
	})
	return b
}

func TestHostilePB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaster(t, nil, "bot")
		p := m.listenPipes()
		k := m.kind("bot")
		b := pbStranger(t, p)
		for i, call := range []pb.Args{pb.Positional(), pb.Positional(int64(1)), pb.Positional([]byte{0xff})} {
			if _, err := b.Root().Call(within(t), "login", call); err == nil {
				t.Errorf("login %d was taken", i)
			}
		}
		if _, err := b.Root().Call(within(t), "shutdown", pb.Args{}); err == nil {
			t.Error("a stranger can call the root")
		}
		// No more challenges on this connection, and it ends.
		if _, err := b.Root().Call(within(t), "login", pb.Positional("bot")); err == nil {
			t.Error("a challenge too many")
		}
		began := time.Now()
		<-b.Done()
		if took := time.Since(began); took > LoginTime {
			t.Errorf("dropped after %v", took)
		}

		for _, wrong := range []pb.Args{
			pb.Positional(), pb.Positional(bytes.Repeat([]byte("x"), 16)),
			pb.Positional([]byte("x"), pb.NewObject(nil)), pb.Positional("text", "text"), pb.Positional(bytes.Repeat([]byte("x"), 4096), int64(1)),
		} {
			b := pbStranger(t, p)
			v, err := b.Root().Call(within(t), "login", pb.Positional([]byte("bot")))
			if err != nil {
				t.Fatal(err)
			}
			ref := v.(wire.Tuple)[1].(*pb.Ref)
			for range 2 { // a challenge counts once
				if _, err := ref.Call(within(t), "respond", wrong); err == nil {
					t.Errorf("respond %v was taken", wrong)
				}
			}
			b.Close()
		}
		// Too large for a stranger.
		b = pbStranger(t, p)
		if _, err := b.Root().Call(within(t), "login", pb.Positional(strings.Repeat("x", 64<<10))); err == nil {
			t.Error("a long name was taken")
		}
		<-b.Done()
		if k.current() != nil {
			t.Error("somebody is connected")
		}
	})
}

func TestStrangersAreCounted(t *testing.T) {
	var g guard
	addr := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	var in []*stranger
	dropped := map[*stranger]bool{}
	admit := func(from netip.Prefix) bool {
		var s *stranger
		if s = g.admit(from, func() { dropped[s] = true }); s != nil {
			in = append(in, s)
		}
		return s != nil
	}
	leave := func() {
		for _, s := range in {
			g.leave(s)
		}
		in = nil
		clear(dropped)
	}
	for i := range maxPerAddress + 10 {
		if got := admit(addr(0)); got != (i < maxPerAddress) {
			t.Fatalf("stranger %d of an address: %v", i, got)
		}
	}
	leave()
	for i := range maxStrangers + 10 {
		if got := admit(addr(i)); got != (i < maxStrangers) {
			t.Fatalf("stranger %d: %v", i, got)
		}
	}
	if len(dropped) != 0 {
		t.Errorf("%d were dropped whose address has no more than others", len(dropped))
	}
	leave()
	// Some addresses that take all places make room for others, the oldest first.
	for i := range maxStrangers {
		admit(addr(i % 5))
	}
	oldest := in[0]
	for i := range 100 {
		if !admit(addr(100 + i)) {
			t.Fatalf("address %d is kept out by others that have %d", i, maxStrangers/5)
		}
	}
	if len(dropped) != 100 || !dropped[oldest] || g.strangers != maxStrangers {
		t.Errorf("%d were dropped, the oldest: %v; %d strangers", len(dropped), dropped[oldest], g.strangers)
	}
	leave()
	if len(g.addresses) != 0 || g.strangers != 0 {
		t.Errorf("%d addresses, %d strangers", len(g.addresses), g.strangers)
	}
	// Many addresses that fail do not fill the memory, and do not keep others out.
	for i := range maxAddresses + 500 {
		if !admit(addr(i)) {
			t.Fatalf("address %d is kept out", i)
		}
		g.failed(addr(i))
		g.answered(addr(i))
		leave()
	}
	if n := len(g.addresses); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
	for in, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1/32", "[::ffff:192.0.2.1]:5": "192.0.2.1/32",
		"[2001:db8::1:2:3:4]:5": "2001:db8::/64", "[fe80::1%eth0]:5": "fe80::/64", "pipe": "invalid Prefix",
	} {
		if got := origin(in).String(); got != want {
			t.Errorf("origin(%q) = %s, want %s", in, got, want)
		}
	}
}

// Idle connections and strangers are cheap, and what a stranger sends is not kept.
func TestMemoryOfStrangers(t *testing.T) {
	m := newMaster(t, nil, "bot").listen()
	m.kind("bot")
	before := heap()
	var conns []net.Conn
	for range maxPerAddress {
		c, err := net.Dial("tcp", m.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	var wrote int64
	for i, c := range conns {
		// A request that never ends, as fast as it is taken.
		_ = c.SetDeadline(time.Now().Add(LoginTime))
		head := "GET / HTTP/1.1\r\nA: "
		if i%2 == 0 {
			head = "\x01\x80garbage"
		}
		n, _ := io.Copy(c, io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, 1<<20))) // until it is dropped
		wrote += n
	}
	if grew := heap() - before; grew > 16<<20 {
		t.Errorf("%d bytes of strangers made the heap grow by %d", wrote, grew)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func heap() int64 {
	runtime.GC()
	runtime.GC() // what is pooled goes with the second
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// writeCert makes a certificate for 127.0.0.1 that signs itself.
func writeCert(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCert(t, dir, "master")
	clientCert, clientKey := writeCert(t, dir, "worker")
	roots := x509.NewCertPool()
	text, err := os.ReadFile(cert)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		ca     string
		client *tls.Config // nil: clear text
		ok     bool
	}{
		{"TLS", "", &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, true},
		{"clear text", "", nil, false},
		{"with a certificate", clientCert, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: []tls.Certificate{pair}}, true},
		{"without the certificate that is asked for", clientCert, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, false},
	} {
		for _, speaks := range []protocol{protocolMsgpack, protocolPB} {
			if c.client == nil && speaks == protocolPB {
				continue // it waits for the master, and the master for it
			}
			t.Run(c.name+" "+string(speaks), func(t *testing.T) {
				m := newMaster(t, func(o *Options) {
					if o.TLS, err = TLS(cert, key, c.ca); err != nil {
						t.Fatal(err)
					}
				}, "bot").listen()
				m.kind("bot")
				conn, err := net.Dial("tcp", m.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if c.client != nil {
					conn = tls.Client(conn, c.client)
				}
				if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				want := "\x02\x80\x02\x82pb" // the dialects
				if speaks == protocolMsgpack {
					want = "HTTP/1.1 401"
					if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil && c.ok {
						t.Fatal(err)
					}
				} else if c.client != nil {
					_ = conn.(*tls.Conn).HandshakeContext(within(t)) // what is wrong shows below
				}
				got := make([]byte, len(want))
				_, err = io.ReadFull(conn, got)
				if (err == nil && string(got) == want) != c.ok {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}
