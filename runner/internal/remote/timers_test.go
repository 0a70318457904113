package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/remote/wire/msgpack"
	"bothy/runner/worker"
)

// bubble runs a test with a master over pipes, in a bubble of its own time.
func bubble(t *testing.T, test func(t *testing.T, m *master, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		m := newMaster(t, nil, "bot")
		test(t, m, m.listenPipes())
	})
}

// fake connects a fake worker that obliges.
func fake(t *testing.T, p *pipes) *fakeWorker {
	t.Helper()
	var f *fakeWorker
	f, status := dialFake(t, p, "bot", "s3cret", func(fr msgpack.Frame) bool { return obliging(&f)(fr) })
	if f == nil {
		t.Fatalf("refused: %d", status)
	}
	return f
}

func TestKeepalive(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		conf := config.Worker{Name: "bot", Remote: config.RemoteWorker{KeepaliveInterval: time.Hour}}
		kind, err := m.Worker(conf)
		if err != nil {
			t.Fatal(err)
		}
		f := fake(t, p)
		c := attach(t, kind.(*Worker))
		passed := time.Duration(0)
		for _, step := range []struct {
			set  time.Duration // new interval; 0: as it was
			wait time.Duration
			want int
		}{
			{0, time.Hour - time.Second, 0}, {0, 2 * time.Second, 1}, {0, 10 * time.Hour, 11},
			{config.Off, 10 * time.Hour, 11}, {time.Minute, time.Minute + time.Second, 12}, {0, time.Hour, 72},
		} {
			if step.set != 0 {
				conf.Remote.KeepaliveInterval = step.set
				m.Update([]config.Worker{conf})
			}
			time.Sleep(step.wait)
			synctest.Wait()
			passed += step.wait
			if got := f.count("keepalive"); got != step.want {
				t.Errorf("after %v: %d keepalives, want %d", passed, got, step.want)
			}
		}
		// Nobody ends a connection that is idle and does not answer: the kernel would.
		f.freeze()
		time.Sleep(10 * time.Hour)
		if c.Err() != nil {
			t.Error(c.Err())
		}
	})
}

func TestArbitration(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		first := fake(t, p)
		c := attach(t, k)
		began := time.Now()
		second := fake(t, p)
		<-second.ended
		if c.Err() != nil || time.Since(began) > time.Second {
			t.Errorf("the first that answers: %v; the second was refused after %v", c.Err(), time.Since(began))
		}
		if !strings.Contains(second.err.Error(), "connected and answers") {
			t.Errorf("the second was told %v", second.err)
		}

		first.freeze()
		began = time.Now()
		fake(t, p)
		next := attach(t, k)
		if waited := time.Since(began); waited < PingTimeout || waited > PingTimeout+time.Second {
			t.Errorf("replaced after %v", waited)
		}
		if !errors.Is(c.Err(), worker.ErrLost) || next.Err() != nil {
			t.Errorf("the first: %v, the third: %v", c.Err(), next.Err())
		}

		// A newcomer that leaves while it waits leaves no trace.
		fake(t, p).conn.Close()
		synctest.Wait()
		if k.current() != next || len(k.deciding) != 0 {
			t.Error("the connection is another, or nobody can come any more")
		}
	})
}

// Of many that come under one name at the same time, few wait for the decision.
func TestCrowdOfOneName(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		first := fake(t, p)
		attach(t, k)
		first.freeze()
		var crowd []*fakeWorker
		for range 3 * maxClaims {
			crowd = append(crowd, fake(t, p))
		}
		synctest.Wait()
		waiting := 0
		for _, f := range crowd {
			select {
			case <-f.ended:
			default:
				waiting++
			}
		}
		if waiting != maxClaims {
			t.Errorf("%d wait", waiting)
		}
		attach(t, k)
		time.Sleep(time.Minute)
		if n := k.claims.Load(); n != 0 || k.current() == nil {
			t.Errorf("%d wait still", n)
		}
	})
}

func TestLostConnectionInReady(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := fake(t, p)
		synctest.Wait()
		f.conn.Close() // before anybody asked for it
		synctest.Wait()
		got := make(chan *Conn)
		go func() {
			c, _ := k.Attach(t.Context())
			got <- c.(*Conn)
		}()
		synctest.Wait()
		fake(t, p)
		if c := <-got; c.Err() != nil {
			t.Errorf("attached a lost connection: %v", c.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := k.Attach(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("attached twice: %v", err)
		}
	})
}

func TestPulse(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := fake(t, p)
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.count("print"); n < 300 || n > 400 || c.Err() != nil {
			t.Errorf("%d pings in an hour; %v", n, c.Err())
		}
		end(t, b, worker.DropDir)
		time.Sleep(2 * PulseInterval)
		synctest.Wait()
		idle := f.count("print")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := f.count("print"); n != idle {
			t.Errorf("%d pings while nothing was built", n-idle)
		}

		b = startBuild(t, c, "test", nil)
		failed := make(chan error, 1)
		go func() {
			_, err := b.Run(t.Context(), sh(b, "sleep"), newOutput())
			failed <- err
		}()
		synctest.Wait()
		f.freeze()
		began := time.Now()
		err := <-failed
		if took := time.Since(began); !errors.Is(err, worker.ErrLost) || took > DeadAfter {
			t.Errorf("dead peer noticed after %v: %v", took, err)
		}
	})
}

// A log that cannot be written as fast as the worker sends slows the worker down,
// and does not make it count as dead.
func TestBackPressure(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := fake(t, p)
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		slow := make(chan struct{})
		type result struct {
			exit worker.Exit
			err  error
		}
		finished := make(chan result, 1)
		received := 0
		go func() {
			exit, err := b.Run(t.Context(), sh(b, "yes"), sinkBytes(func(p []byte) { <-slow; received += len(p) }))
			finished <- result{exit, err}
		}()
		synctest.Wait()
		id := f.commands()[len(f.commands())-1].CommandID
		chunk := strings.Repeat("y\n", 32<<10)
		const chunks = 200 // 12.5 MiB
		sent := 0
		go func() {
			for range chunks {
				if f.request(&msgpack.Update{CommandID: id, Items: []msgpack.Item{lines("stdout", chunk)}}) != nil {
					return
				}
				sent += len(chunk)
			}
			f.complete(id, 0)
		}()
		synctest.Wait()
		time.Sleep(10 * DeadAfter)
		synctest.Wait()
		if c.Err() != nil {
			t.Errorf("it counts as dead: %v", c.Err())
		}
		if sent > outputBytes+2*len(chunk) {
			t.Errorf("%d bytes were taken that nobody has written", sent)
		}
		close(slow)
		if r := <-finished; r.err != nil || r.exit.Code != 0 || received != chunks*len(chunk) {
			t.Errorf("%+v, %v, %d bytes", r.exit, r.err, received)
		}
	})
}

type sinkBytes func([]byte)

func (f sinkBytes) Output(_ string, _ worker.Stream, p []byte) error { f(p); return nil }

func TestGiveUp(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f := fake(t, p)
		c := attach(t, k)
		b := startBuild(t, c, "test", nil)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		cmd := sh(b, "sleep")
		cmd.SigtermTime = 20 * time.Second
		go func() {
			_, err := b.Run(ctx, cmd, newOutput())
			failed <- err
		}()
		synctest.Wait()
		cancel()
		began := time.Now()
		err := <-failed
		if took := time.Since(began); !errors.Is(err, worker.ErrLost) || took < cmd.SigtermTime || took > cmd.SigtermTime+30*time.Second {
			t.Errorf("given up after %v: %v", took, err)
		}
		if n := f.count("interrupt_command"); n != 1 || c.Err() == nil {
			t.Errorf("%d interrupts, connection: %v", n, c.Err())
		}
	})
}

func TestSilentAfterLogin(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		f, _ := dialFake(t, p, "bot", "s3cret", func(msgpack.Frame) bool { return false })
		began := time.Now()
		<-f.ended
		if took := time.Since(began); took > AttachTime+time.Second {
			t.Errorf("dropped after %v", took)
		}
		fake(t, p)
		attach(t, k)
	})
}

// A peer that does not read is given up, and nobody waits for it longer.
func TestPeerDoesNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, m *master, p *pipes) {
		k := m.kind("bot")
		hold := make(chan struct{})
		armed := false
		f, _ := dialFake(t, p, "bot", "s3cret", func(fr msgpack.Frame) bool {
			if armed {
				<-hold
			}
			return true
		})
		c := attach(t, k)
		armed = true
		_ = c.Ping(timeout(t, time.Second))
		_ = c.Ping(timeout(t, time.Second))
		began := time.Now()
		if err := c.Ping(timeout(t, time.Hour)); !errors.Is(err, worker.ErrLost) || time.Since(began) > DeadAfter+time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(hold)
		<-f.ended
	})
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
