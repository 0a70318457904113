package remote

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/internal/remote/wire/pb/banana"
	"bothy/runner/internal/remote/wire/pb/jelly"
)

// FuzzStranger says anything to a master, which must drop the peer in time.
func FuzzStranger(f *testing.F) {
	for _, s := range []string{
		"", "G", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01",
		"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic Ym90OnMzY3JldA==\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\x80aaaa",
	} {
		f.Add([]byte(s), false)
	}
	hello := banana.AppendInt(banana.AppendPlain(banana.AppendList(banana.AppendPlain(nil, "pb"), 2), "version"), 6)
	f.Add(hello, true)
	f.Fuzz(func(t *testing.T, data []byte, wait bool) {
		synctest.Test(t, func(t *testing.T) {
			m := newMaster(t, nil, "bot")
			p := m.listenPipes()
			m.kind("bot")
			conn := p.dial()
			go io.Copy(io.Discard, conn)
			if wait { // until the master has taken it for the other protocol
				synctest.Wait()
				<-timeout(t, 2*SniffWait).Done()
			}
			conn.Write(data) // it may be dropped meanwhile
			synctest.Wait()
			<-timeout(t, LoginTime+AttachTime).Done()
			conn.Close()
			synctest.Wait()
			if m.guard.strangers != 0 || len(m.peers) != 0 {
				t.Errorf("%d strangers and %d peers after %q", m.guard.strangers, len(m.peers), data)
			}
		})
	})
}

// FuzzEvents has a worker report anything about a running command.
func FuzzEvents(f *testing.F) {
	add := func(msgs ...msgpack.Message) {
		var all []byte
		for i, m := range msgs {
			b, err := msgpack.Append(nil, msgpack.Frame{Seq: int64(i), Message: m})
			if err != nil {
				f.Fatal(err)
			}
			all = append(append(all, byte(len(b)>>8), byte(len(b))), b...)
		}
		f.Add(all)
	}
	add(&msgpack.Update{CommandID: "1", Items: []msgpack.Item{lines("stdout", "a\n"), lines("header", timedOut+"1"+noOutput+"\n"), {Name: "rc", Value: int64(1)}}}, &msgpack.Complete{CommandID: "1"})
	add(&msgpack.Complete{CommandID: "1", Failed: true, Failure: "x"})
	add(&msgpack.ReadFile{CommandID: "1", Length: -1}, &msgpack.UploadWrite{CommandID: "1", Data: []byte("x")}, &msgpack.Response{}, &msgpack.Print{Text: "x"})
	add(&msgpack.Update{CommandID: "1", Items: []msgpack.Item{{Name: "rc", Value: "x"}, {Name: "failure_reason", Value: wire.Map{}}}}, &msgpack.Complete{CommandID: "1"})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &command{id: "1", in: newInbox()}
		k := &msgpackLink{session: msgpack.NewSession(1), ended: make(chan struct{}), commands: map[string]*command{"1": c}}
		defer c.in.close()
		// What is sent goes nowhere: only what is received matters here.
		k.out = func([]byte) error { return nil }
		r := &reading{sink: newOutput(), maxLines: 3}
		x := &execution{c: &Conn{link: k}, cmd: c, o: order{take: r.take, serve: func(a *ask) (any, error) { return []byte{}, nil }}}
		x.interrupting = make(chan struct{}) // none is sent
		x.out.values = map[string]any{}
		for len(data) >= 2 {
			n := min(int(data[0])<<8|int(data[1]), len(data)-2)
			frame := data[2 : 2+n]
			data = data[2+n:]
			if err := k.receive(frame); err != nil {
				return
			}
			if x.drain(-1) {
				_, _ = x.out.rc()
				return
			}
			if c.in.bytes != 0 {
				t.Fatalf("%d bytes are still counted", c.in.bytes)
			}
		}
	})
}

// FuzzPBUpdate reads anything that a worker may call an update.
func FuzzPBUpdate(f *testing.F) {
	for _, v := range []any{
		[]any{[]any{wire.Map{{Key: "stdout", Value: "x"}}, int64(0)}},
		[]any{[]any{wire.Map{{Key: "log", Value: wire.Tuple{"name", "text"}}, {Key: "rc", Value: int64(1)}}, int64(0)}},
		[]any{[]any{}}, nil,
	} {
		b, err := jelly.Append(nil, v, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := banana.NewDecoder(bytes.NewReader(data))
		d.UseVocabulary()
		expr, err := d.Decode(banana.Limits{Bytes: 1 << 16, Values: 1 << 10})
		if err != nil {
			return
		}
		v, err := jelly.Read(expr, nil)
		if err != nil {
			return
		}
		ev, err := pbUpdate(v)
		if err != nil {
			return
		}
		for _, it := range ev.items {
			if ev.size < len(it.text) {
				t.Errorf("%d bytes of text count as %d", len(it.text), ev.size)
			}
		}
	})
}

// FuzzNames makes directories of any builder's name.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "test", "Test", ".", "..", "a/b", `a\b`, "con", "aux.txt", "info", strings.Repeat("x", 100), "ü", "a+b", "\xff", "0:", `\x`, "c:x"} {
		f.Add(s, "other")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		dir := dirName(a)
		if dir == "" || len(dir) > maxDirName || strings.ContainsAny(dir, `/\:*?"<>|% `) || !utf8.ValidString(dir) || strings.Trim(dir, ".") != dir || strings.ToLower(dir) != dir {
			t.Errorf("dirName(%q) = %q", a, dir)
		}
		if a != b && dir == dirName(b) {
			t.Errorf("%q and %q have the directory %q", a, b, dir)
		}
		for _, p := range []paths{{}, {nt: true}} {
			base := map[bool]string{false: "/base", true: `C:\base`}[p.nt]
			if joined := p.join(base, a); !p.isAbs(joined) {
				t.Errorf("%q below %s is %q", a, base, joined)
			}
		}
	})
}
