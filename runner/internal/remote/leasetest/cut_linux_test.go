package leasetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
	"bothy/runner/worker"
)

func TestBuildOutlivesACut(t *testing.T) {
	m := newMaster(t, 20*time.Second)
	p := newProxy(t, m.addr)
	startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	b := startBuild(t, c)
	log := &logBuffer{}
	done := run(within(t), b, sh(c, `echo one; read x <go || while [ ! -e go ]; do sleep 0.05; done; printf 'two\377\nno end'; exit 3`), log)
	testrig.Until(t, "no output", func() bool { return log.String() == "one\n" })
	p.shut()
	testrig.Until(t, "not held", func() bool { h, _ := c.Hold(); return h.Set() })
	if err := c.Ping(within(t)); err == nil {
		t.Error("it answers while it is cut off")
	}
	p.lead(m.addr)
	testrig.Until(t, "still held", func() bool { h, _ := c.Hold(); return !h.Set() })
	if r := await(t, "touch", run(within(t), startBuild(t, c), sh(c, "touch "+b.Dir()+"/go"), &logBuffer{})); r.err != nil || r.exit.Code != 0 {
		t.Fatalf("%+v", r)
	}
	r := await(t, "the command", done)
	if r.err != nil || r.exit.Code != 3 {
		t.Errorf("%+v", r)
	}
	if got := log.String(); got != "one\ntwo\xff\nno end" {
		t.Errorf("log %q", got)
	}
	if n := p.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// Cuts at random moments under load: the logs are whole, to the byte.
func TestRandomCuts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := newMaster(t, 60*time.Second)
	p := newProxy(t, m.addr)
	startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rnd.IntN(250)) * time.Millisecond):
			}
			switch rnd.IntN(4) {
			case 0: // nothing comes for a while, then all of it
				p.stall()
				<-time.After(time.Duration(rnd.IntN(200)) * time.Millisecond)
				p.mend()
			case 1: // nothing comes, and then the end
				p.stall()
				<-time.After(time.Duration(rnd.IntN(200)) * time.Millisecond)
				p.cut()
				p.mend()
			default:
				p.cut()
			}
		}
	})
	var builds sync.WaitGroup
	for i := range 3 {
		b := startBuild(t, c)
		builds.Go(func() {
			for k := range 3 {
				sum, want := sha256.New(), sha256.New()
				n := 40000 + 1000*i + k
				for line := range n {
					fmt.Fprintf(want, "%d %d %d abcdefghijklmnopqrstuvwxyz\n", i, k, line)
				}
				line := fmt.Sprintf(`n=0; while [ $n -lt %d ]; do echo "%d %d $n abcdefghijklmnopqrstuvwxyz"; n=$((n+1)); done; exit %d`, n, i, k, k+1)
				exit, err := b.Run(within(t), sh(c, line), writer{sum})
				if err != nil || exit.Code != k+1 {
					t.Errorf("%+v, %v", exit, err)
				}
				if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
					t.Errorf("build %d, command %d: its log is not what was written", i, k)
				}
			}
			if _, err := b.End(within(t), worker.DropDir); err != nil {
				t.Error(err)
			}
		})
	}
	builds.Wait()
	cancel()
	cutting.Wait()
	t.Logf("%d connections", p.connections())
}
