package lasting

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"bothy/runner/internal/remote/wire/bothy"
)

// Over a way of 8 MB/s messages are compressed once it was found to be slow, those
// that get smaller; over a fast one none is.
func TestCompression(t *testing.T) {
	for name, c := range map[string]struct {
		pause time.Duration // for a packet
		msg   func(i int) []byte
		zips  bool
	}{
		"slow":       {8 * time.Millisecond, func(int) []byte { return bytes.Repeat([]byte("log line\n"), 8<<10) }, true},
		"fast":       {0, func(int) []byte { return bytes.Repeat([]byte("log line\n"), 8<<10) }, false},
		"as it is":   {8 * time.Millisecond, random, false},
		"too little": {8 * time.Millisecond, func(int) []byte { return []byte("abababababab") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newSide(t, func(o *Options) { o.Zstd, o.Window = true, 1<<20 })
				b := newSide(t, nil)
				ea, eb := pipe()
				var plain, zipped int
				ea.sent = func(packet []byte) {
					time.Sleep(c.pause)
					if p, err := bothy.Read(packet); err == nil {
						if d, ok := p.(bothy.Data); ok && d.Zipped {
							zipped++
						} else if ok {
							plain++
						}
					}
				}
				cut := join(a, b, ea, eb)
				const n = 400
				for i := range n {
					if err := a.Send(t.Context(), c.msg(i), true); err != nil {
						t.Fatal(err)
					}
				}
				for i, got := range b.await(t, n) {
					if !bytes.Equal(got, c.msg(i)) {
						t.Fatalf("message %d differs", i)
					}
				}
				cut()
				if plain+zipped != n || (zipped > n/2) != c.zips || !c.zips && zipped > 0 {
					t.Errorf("%d compressed, %d not", zipped, plain)
				}
			})
		})
	}
}

func random(seed int) []byte {
	b := make([]byte, 64<<10)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b) // it never fails
	return b
}

// What would be larger than a message can be is not unpacked.
func TestUnpackIsBounded(t *testing.T) {
	tools, err := NewTools()
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, bothy.MaxPayload+1), nil)
	if _, err := tools.unpack(bothy.Data{Seq: 1, Zipped: true, Payload: bomb}); err == nil {
		t.Errorf("%d bytes became more than %d", len(bomb), bothy.MaxPayload)
	}
	if _, err := tools.unpack(bothy.Data{Seq: 1, Zipped: true, Payload: []byte("no zstd")}); err == nil {
		t.Error("unpacked what is not packed")
	}
	msg := random(1)
	got, err := tools.unpack(bothy.Data{Zipped: true, Payload: tools.zip(nil, msg)})
	if err != nil || !bytes.Equal(got, msg) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A peer that sends more than there is room for loses the session.
func TestBacklogIsBounded(t *testing.T) {
	a := newSide(t, func(o *Options) { o.Backlog = 1 << 10 })
	a.hold = make(chan struct{})
	ea, eb := pipe()
	served := make(chan error, 1)
	go func() { served <- a.Serve(ea, 0) }()
	for seq := uint64(1); ; seq++ {
		packet := append(bothy.AppendData(nil, seq, 0, false), make([]byte, 100)...)
		if err := eb.Write([][]byte{packet}); err != nil {
			break
		}
	}
	if err := <-served; !errors.Is(err, errTooMuch) {
		t.Error(err)
	}
	close(a.hold)
}

// Whatever bytes come, the stream ends the connection, or the session, or goes on.
func FuzzTake(f *testing.F) {
	for _, p := range []bothy.Packet{
		bothy.Data{Seq: 1, Payload: []byte("x")}, bothy.Data{Seq: 2, Done: 1, Payload: []byte("x")}, bothy.Ack{Done: 1},
		bothy.Ping{ID: 3}, bothy.Pong{ID: 1}, bothy.Bye{Reason: "r"}, &bothy.Hello{}, &bothy.Welcome{}, &bothy.Refusal{},
	} {
		f.Add(bothy.Append(nil, p))
	}
	f.Add([]byte{4, 1, 1, 0, 0x28, 0xb5, 0x2f, 0xfd, 4, 0, 9, 0, 0, 'x', 0, 0, 0, 0})
	tools, err := NewTools()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		ended := make(chan error, 1)
		s := New(Options{Deliver: func([]byte) {}, Ended: func(err error) { ended <- err }, Tools: tools, Dead: time.Minute})
		ea, eb := pipe()
		served := make(chan error, 1)
		go func() { served <- s.Serve(ea, 0) }()
		if err := s.Send(t.Context(), []byte("m"), true); err != nil {
			t.Fatal(err)
		}
		_ = eb.Write([][]byte{packet, packet}) // it may be cut meanwhile
		s.Close(errors.New("over"), false)
		eb.Close()
		<-served
		<-ended
	})
}
