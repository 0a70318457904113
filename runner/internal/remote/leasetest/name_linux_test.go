package leasetest

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
	"bothy/runner/worker"
)

// The worker's own reconnect takes the place of its half-open connection at once;
// nobody waits for that to answer.
func TestHalfOpenIsReplaced(t *testing.T) {
	m := newMaster(t, 40*time.Second) // silence shows after 10 s
	dead, live := newProxy(t, m.addr), newProxy(t, m.addr)
	front := newProxy(t, dead.addr)
	startBot(t, front.addr, t.TempDir(), nil)
	c := m.attach(t)
	done, log := begin(t, startBuild(t, c), sh(c, "echo started; read x </dev/null; sleep 1; echo two"), within(t))
	dead.stall() // the master hears nothing more, and no end
	front.lead(live.addr)
	front.cut()
	r := await(t, "the command", done)
	if r.err != nil || r.exit.Code != 0 || log.String() != "started\ntwo\n" {
		t.Errorf("%+v, log %q", r, log)
	}
	if live.connections() == 0 {
		t.Error("it did not come back")
	}
}

// Another worker of the name is refused while the first one lives, and while what
// that runs is held; it gets in when nothing runs there.
func TestStranger(t *testing.T) {
	m := newMaster(t, time.Minute)
	p := newProxy(t, m.addr)
	first := startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	goOn := first.dir + "/go"
	b := startBuild(t, c)
	done, _ := begin(t, b, sh(c, "echo started; while [ ! -e "+goOn+" ]; do sleep 0.05; done"), within(t))
	stranger := startBot(t, m.addr, t.TempDir(), nil)
	testrig.Until(t, "not refused", func() bool { return strings.Contains(m.log.String(), "is connected and answers") })
	p.shut()
	isHeld(t, c)
	testrig.Until(t, "not refused", func() bool { return strings.Contains(m.log.String(), "what it runs is held for it") })
	stranger.kill()
	p.lead(m.addr)
	testrig.Until(t, "not back", func() bool { h, _ := c.Hold(); return !h.Set() })
	if r := await(t, "touch", run(within(t), startBuild(t, c), sh(c, "touch "+goOn), &logBuffer{})); r.err != nil {
		t.Fatalf("%+v", r)
	}
	if r := await(t, "the command", done); r.err != nil || r.exit.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// A worker that was killed and started again where it was: nothing of it runs, so
// the master need not wait for the lease.
func TestStartedAgain(t *testing.T) {
	m := newMaster(t, time.Hour)
	dir := t.TempDir()
	cmd := startProcess(t, m.addr, dir)
	c := m.attach(t)
	done, _ := begin(t, startBuild(t, c), sh(c, sleeper), within(t))
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	isHeld(t, c)
	select {
	case r := <-done:
		t.Fatalf("not held: %+v", r)
	default:
	}
	startProcess(t, m.addr, dir)
	if r := await(t, "the build", done); !errors.Is(r.err, worker.ErrLost) {
		t.Errorf("%+v", r)
	}
	ended(t, dir)
	m.attach(t)
}
