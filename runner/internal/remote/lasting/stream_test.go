package lasting

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// numbered is message n of a sender, with contents that compress or do not.
func numbered(rnd *rand.Rand, n int) []byte {
	msg := binary.BigEndian.AppendUint32(nil, uint32(n))
	size := rnd.IntN(40 << 10)
	if rnd.IntN(2) == 0 {
		return append(msg, bytes.Repeat([]byte{'a' + byte(n%26)}, size)...)
	}
	for range size / 8 {
		msg = binary.BigEndian.AppendUint64(msg, rnd.Uint64())
	}
	return msg
}

// Messages of both sides arrive once, in order and whole, however often and when
// the connection is cut.
func TestCuts(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		slow := func(o *Options) {
			o.Window = 64 << 10
			o.Zstd = seed%2 == 0
		}
		a := newSide(t, func(o *Options) {
			slow(o)
			if seed%3 == 0 {
				o.Spool = testSpool(t, 256<<10)
			}
		})
		b := newSide(t, slow)
		a.out.rate.slow, b.out.rate.slow = true, true
		const n = 400
		var want [2][][]byte
		var wg sync.WaitGroup
		for i, s := range []*side{a, b} {
			mine := rand.New(rand.NewPCG(seed, uint64(i)+7))
			for k := range n {
				want[i] = append(want[i], numbered(mine, k))
			}
			wg.Go(func() {
				for k, msg := range want[i] {
					if err := s.Send(t.Context(), slices.Clone(msg), k%5 != 0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		over := make(chan struct{})
		go func() {
			a.await(t, n)
			b.await(t, n)
			close(over)
		}()
		cuts := 0
		for done := false; !done; cuts++ {
			cut := connect(a, b)
			select {
			case <-over:
				done = true
			case <-time.After(time.Duration(rnd.IntN(3000)) * time.Microsecond):
			}
			cut()
		}
		wg.Wait()
		for i, s := range []*side{b, a} {
			got := s.messages()
			if len(got) != n {
				t.Fatalf("seed %d: %d messages of %d", seed, len(got), n)
			}
			for k := range got {
				if !bytes.Equal(got[k], want[i][k]) {
					t.Fatalf("seed %d: message %d differs", seed, k)
				}
			}
		}
		t.Logf("seed %d: %d connections", seed, cuts)
	}
}

// Bulk waits for room: first in memory, while the connection is cut on disk, then
// not at all. Answers do not wait.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		spool, err := NewSpool(dir, 8<<10, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := newSide(t, func(o *Options) { o.Window, o.Spool = 4<<10, spool })
		b := newSide(t, nil)
		short, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := 0
		for ; ; n++ {
			if err := a.Send(short, make([]byte, 1<<10), true); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
		}
		if n != 12 {
			t.Errorf("%d KiB were taken, want 4 in memory and 8 on disk", n)
		}
		if spool.Held() != 8<<10 {
			t.Errorf("%d bytes on disk", spool.Held())
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("the spool has a name: %v, %v", left, err)
		}
		if err := a.Send(t.Context(), []byte("answer"), false); err != nil {
			t.Fatal(err)
		}
		cut := connect(a, b)
		defer cut()
		if got := b.await(t, n+1); string(got[n]) != "answer" {
			t.Errorf("the last message has %d bytes", len(got[n]))
		}
		synctest.Wait()
		time.Sleep(time.Second) // of the bubble: acknowledged
		synctest.Wait()
		if spool.Held() != 0 {
			t.Errorf("%d bytes on disk", spool.Held())
		}
	})
}

// A receiver that does not deal with messages holds the sender, and nothing goes to
// disk but when nothing was acknowledged for a while; pings are answered meanwhile.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSide(t, func(o *Options) {
			o.Window, o.PingEvery = 4<<10, func() time.Duration { return 10 * time.Second }
		})
		b := newSide(t, nil)
		b.hold = make(chan struct{})
		cut := connect(a, b)
		defer cut()
		sent := 0
		short, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for a.Send(short, make([]byte, 1<<10), true) == nil {
			sent++
		}
		if sent != 4 {
			t.Errorf("%d KiB were taken, want the window's 4", sent)
		}
		if err := a.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		close(b.hold)
		b.await(t, sent)
		synctest.Wait()
		if err := a.Send(t.Context(), make([]byte, 4<<10), true); err != nil {
			t.Error(err)
		}
		b.await(t, sent+1)
	})
}

// The peer is pinged; that the last answered ping is known by when it was sent; and
// a peer that says nothing is dropped.
func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSide(t, func(o *Options) { o.PingEvery = func() time.Duration { return 15 * time.Second } })
		b := newSide(t, nil)
		began := time.Now()
		ea, eb := pipe()
		join(a, b, ea, eb)
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if got := a.Confirmed(); got != 90*time.Second {
			t.Errorf("confirmed: %v", got)
		}
		if got := b.Heard().Sub(began); got != 90*time.Second {
			t.Errorf("heard: %v", got)
		}
		eb.deaf.Store(true)
		time.Sleep(60 * time.Second)
		synctest.Wait()
		since, why, cut := a.Cut()
		if !cut || since.Sub(began) < 120*time.Second {
			t.Errorf("cut: %v, since %v", cut, since.Sub(began))
		}
		_, other, cut := b.Cut()
		if !cut {
			t.Error("b has a connection")
		}
		if !errors.Is(why, ErrSilent) && !errors.Is(other, ErrSilent) { // who notices first ends it for the other
			t.Errorf("cut by %v, %v", why, other)
		}
		if got := a.Confirmed(); got != 90*time.Second {
			t.Errorf("confirmed: %v", got)
		}
		if err := a.Ping(t.Context()); !errors.Is(err, ErrCut) {
			t.Errorf("ping: %v", err)
		}
	})
}

// The end of a session reaches the peer, after what was sent before.
func TestBye(t *testing.T) {
	a, b := newSide(t, nil), newSide(t, nil)
	cut := connect(a, b)
	defer cut()
	if err := a.Send(t.Context(), []byte("last"), true); err != nil {
		t.Fatal(err)
	}
	b.await(t, 1)
	a.Close(errors.New("enough"), true)
	err := <-b.ended
	b.ended <- err
	if !errors.Is(err, ErrBye) || !errors.Is(err, ErrOver) || !bytes.Contains([]byte(err.Error()), []byte("enough")) {
		t.Error(err)
	}
	for _, s := range []*side{a, b} {
		<-s.Done()
		if err := s.Send(t.Context(), []byte("x"), true); !errors.Is(err, ErrOver) {
			t.Error(err)
		}
		ea, _ := pipe()
		if err := s.Serve(ea, 0); !errors.Is(err, ErrOver) {
			t.Error(err)
		}
	}
}

// A peer whose numbers make no sense loses its connection or the session.
func TestNonsense(t *testing.T) {
	for name, has := range map[string]uint64{"never sent": 5} {
		t.Run(name, func(t *testing.T) {
			a := newSide(t, nil)
			ea, _ := pipe()
			if err := a.Serve(ea, has); !errors.Is(err, errResume) {
				t.Error(err)
			}
		})
	}
	for name, c := range map[string]struct {
		packet []byte
		want   error
	}{
		"gap":           {[]byte{4, 0, 2, 0, 'x'}, errGap},
		"unsent":        {[]byte{5, 1}, errAck},
		"hello":         {append([]byte{1}, make([]byte, 20)...), errBad},
		"broken frame":  {[]byte{4, 1, 1, 0, 'x'}, nil},
		"unknown":       {[]byte{77}, nil},
		"empty message": {[]byte{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSide(t, nil)
			ea, eb := pipe()
			served := make(chan error)
			go func() { served <- a.Serve(ea, 0) }()
			if err := eb.Write([][]byte{c.packet}); err != nil {
				t.Fatal(err)
			}
			if err := <-served; c.want != nil && !errors.Is(err, c.want) || errors.Is(err, errPipe) {
				t.Error(err)
			}
		})
	}
}
