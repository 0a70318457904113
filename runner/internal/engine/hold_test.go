package engine

import (
	"sync"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// fakeHold is whether a connection is cut.
type fakeHold struct {
	mu      sync.Mutex
	now     worker.Hold
	changed chan struct{}
}

// Hold implements [worker.Holder].
func (c *fakeConn) Hold() (worker.Hold, <-chan struct{}) {
	h := &c.hold
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.now, h.changed
}

// holds cuts the present connection for that long at most; 0: it stands again.
func (k *fakeKind) holds(d time.Duration) {
	k.fleet.mu.Lock()
	h := &k.conn.hold
	k.fleet.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = worker.Hold{}
	if d > 0 {
		h.now = worker.Hold{Since: time.Now(), Until: time.Now().Add(d), Reason: "connection reset"}
	}
	if h.changed != nil {
		close(h.changed)
	}
	h.changed = make(chan struct{})
}

// TestHeldWorker: while a worker is cut off its builds go on, nothing new begins,
// and everybody is told why; then it is as before.
func TestHeldWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w"), withPost(p))
		r.fleet.on("work", sleeps(10*time.Minute))
		r.start()
		first := r.build("b")
		pass(time.Minute)
		cut := time.Now()
		r.fleet.kind("w").holds(2 * time.Minute)
		until := cut.Add(2 * time.Minute).Format(time.TimeOnly)
		v := r.w()
		if v.State.Connected() || v.State.Link != worker.LinkHeld || len(v.Builds) != 1 || !v.LastSeen.Equal(cut) || v.State.Missing() {
			t.Errorf("%+v", v)
		}
		second := r.build("b")
		pass(time.Second)
		if why := r.why(second); why != "connection lost, builds held until "+until {
			t.Errorf("why: %q", why)
		}
		r.fleet.kind("w").holds(0)
		if v := r.w(); !v.State.Connected() || v.State.Loss.Phase != worker.LossNone || v.State.Quarantine.Phase != worker.QuarantineNone {
			t.Errorf("%+v", v.State)
		}
		r.want(first, build.Success)
		r.want(second, build.Success)
		if n := len(r.builds(first.ID)); n != 1 {
			t.Errorf("it took %d builds", n)
		}

		// It does not come back: the loss is counted from the cut.
		pass(time.Minute)
		cut = time.Now()
		r.fleet.kind("w").holds(2 * time.Minute)
		pass(2 * time.Minute)
		r.fleet.kind("w").lose(true)
		v = r.w()
		if v.State.Link != worker.LinkAway || !v.LastSeen.Equal(cut) || !v.State.Loss.Since.Equal(cut) {
			t.Errorf("%+v, cut at %v", v, cut)
		}
		pass(58*time.Minute - time.Second)
		if len(r.mails()) != 0 {
			t.Error("reported too early")
		}
		pass(2 * time.Second)
		if !r.w().State.Missing() || len(r.mails()) == 0 {
			t.Error("not reported an hour after the cut")
		}
	})
}

// TestKillHeldWorker: what is asked of a worker that is cut off does not wait for it.
func TestKillHeldWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, watchedWorkers("w"))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		k := r.build("b")
		pass(time.Second)
		r.fleet.kind("w").holds(2 * time.Minute)
		settle()
		began := time.Now()
		r.control(worker.Kill)
		if d := time.Since(began); d > time.Second {
			t.Errorf("the kill took %v", d)
		}
		pass(time.Second)
		if all := r.builds(k.ID); len(all) == 0 || all[0].Result != build.Retry {
			t.Errorf("%+v", all)
		}
	})
}
