package leasetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/remote/agent"
	"bothy/runner/internal/testrig"
	"bothy/runner/worker"
)

// sleeper is a command that says when it runs, and runs for long. Its processes
// ignore what a lost terminal would send.
const sleeper = `echo started; trap '' TERM; (setsid sleep 600 &) ; while :; do sleep 0.1; done`

func begin(t testing.TB, b worker.Build, cmd worker.Command, ctx context.Context) (<-chan ran, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	done := run(ctx, b, cmd, log)
	testrig.Until(t, "the command has not begun", func() bool { return strings.Contains(log.String(), "started\n") })
	return done, log
}

func ended(t testing.TB, dir string) {
	t.Helper()
	testrig.Until(t, "processes go on", func() bool { return len(testrig.Processes(t, mark(dir))) == 0 })
}

// isHeld waits until the worker is cut off.
func isHeld(t testing.TB, c worker.Holder) worker.Hold {
	t.Helper()
	var h worker.Hold
	testrig.Until(t, "not held", func() bool { h, _ = c.Hold(); return h.Set() })
	return h
}

// Another master knows nothing of the session: the worker ends what runs and begins
// anew; the build is lost, and what it wrote is kept.
func TestMasterStartsAnew(t *testing.T) {
	m := newMaster(t, time.Minute)
	p := newProxy(t, m.addr)
	bot := startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	done, log := begin(t, startBuild(t, c), sh(c, sleeper), within(t))
	p.shut()
	isHeld(t, c)
	next := newMaster(t, time.Minute)
	next.SetEpoch(2)
	p.lead(next.addr)
	again := next.attach(t)
	ended(t, bot.dir)
	if !strings.Contains(next.log.String(), "late worker refused") {
		t.Error("the new master did not say that it refused the session")
	}
	m.Close()
	r := await(t, "the build", done)
	if !errors.Is(r.err, worker.ErrLost) || log.String() != "started\n" {
		t.Errorf("%+v, log %q", r, log)
	}
	if r := await(t, "a command", run(within(t), startBuild(t, again), sh(again, "exit 4"), &logBuffer{})); r.err != nil || r.exit.Code != 4 {
		t.Errorf("under the new master: %+v", r)
	}
}

// A master that ends says so: the worker ends what runs at once.
func TestMasterEnds(t *testing.T) {
	m := newMaster(t, time.Hour)
	bot := startBot(t, m.addr, t.TempDir(), nil)
	c := m.attach(t)
	done, _ := begin(t, startBuild(t, c), sh(c, sleeper), within(t))
	m.Close()
	if r := await(t, "the build", done); !errors.Is(r.err, worker.ErrLost) {
		t.Errorf("%+v", r)
	}
	ended(t, bot.dir)
}

// With its lease the worker ends what runs, though nobody tells it; the master holds
// the build for longer than that.
func TestLeaseEnds(t *testing.T) {
	const lease = 2 * time.Second
	m := newMaster(t, lease)
	p := newProxy(t, m.addr)
	bot := startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	done, _ := begin(t, startBuild(t, c), sh(c, sleeper), within(t))
	p.shut()
	h := isHeld(t, c)
	if d := h.Until.Sub(h.Since); d < lease || d > lease+15*time.Second {
		t.Errorf("held for %v", d)
	}
	ended(t, bot.dir)
	if time.Since(h.Since) < lease/2 {
		t.Errorf("ended after %v", time.Since(h.Since))
	}
	if h, _ := c.Hold(); !h.Set() {
		t.Error("the master has given up before the worker could")
	}
	p.lead(m.addr) // the worker comes with a new session, which ends the old one
	if r := await(t, "the build", done); !errors.Is(r.err, worker.ErrLost) {
		t.Errorf("%+v", r)
	}
	m.attach(t)
}

// A worker that was suspended for longer than its lease ends what runs before it
// sends anything, and the master takes nothing of it.
func TestSuspended(t *testing.T) {
	const lease = 3 * time.Second
	m := newMaster(t, lease)
	dir := t.TempDir()
	cmd := startProcess(t, m.addr, dir)
	c := m.attach(t)
	b := startBuild(t, c)
	go_ := filepath.Join(dir, "go")
	done, log := begin(t, b, sh(c, `echo started; while [ ! -e `+go_+` ]; do sleep 0.05; done; echo late; touch `+go_+`.late; sleep 600`), within(t))
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(go_, nil, 0o600); err != nil { // its processes are not suspended
		t.Fatal(err)
	}
	testrig.Until(t, "the command stands still", func() bool { _, err := os.Stat(go_ + ".late"); return err == nil })
	h := isHeld(t, c)
	<-time.After(time.Until(h.Since.Add(lease)))
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ended(t, dir)
	if r := await(t, "the build", done); !errors.Is(r.err, worker.ErrLost) {
		t.Errorf("%+v", r)
	}
	if got := log.String(); got != "started\n" {
		t.Errorf("log %q: it was written to after the lease", got)
	}
	again := m.attach(t)
	if r := await(t, "a command", run(within(t), startBuild(t, again), sh(again, "exit 4"), &logBuffer{})); r.err != nil || r.exit.Code != 4 {
		t.Errorf("afterwards: %+v", r)
	}
}

// A build that is cancelled or killed while the worker is cut off is over at once;
// the worker ends it when it is back, and what else runs goes on.
func TestCancelWhileCut(t *testing.T) {
	m := newMaster(t, time.Minute)
	p := newProxy(t, m.addr)
	bot := startBot(t, p.addr, t.TempDir(), nil)
	c := m.attach(t)
	stays := startBuild(t, c)
	goOn := filepath.Join(bot.dir, "go")
	other, otherLog := begin(t, stays, sh(c, "echo started; while [ ! -e "+goOn+" ]; do sleep 0.05; done; echo two"), within(t))
	cancelled, killed := startBuild(t, c), startBuild(t, c)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	one, oneLog := begin(t, cancelled, sh(c, `echo started; while :; do echo more; sleep 0.01; done`), ctx)
	kill := make(chan struct{})
	cmd := sh(c, sleeper)
	cmd.Kill, cmd.SigtermTime = kill, time.Hour
	two, _ := begin(t, killed, cmd, within(t))
	p.shut()
	isHeld(t, c)
	cancel()
	close(kill)
	for what, done := range map[string]<-chan ran{"cancelled": one, "killed": two} {
		if r := await(t, what, done); !errors.Is(r.err, worker.ErrLost) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	before := oneLog.String()
	for _, b := range []worker.Build{cancelled, killed} {
		if _, err := b.End(within(t), worker.RetainDir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(killed.Dir()); err != nil {
		t.Errorf("the killed build's directory went while the worker was cut off: %v", err)
	}
	p.lead(m.addr)
	for _, b := range []worker.Build{cancelled, killed} {
		testrig.Until(t, "a directory is left", func() bool { _, err := os.Stat(b.Dir()); return errors.Is(err, os.ErrNotExist) })
	}
	if oneLog.String() != before {
		t.Error("a build that is over was written to")
	}
	testrig.Until(t, "late output was not refused", func() bool { return strings.Contains(m.log.String(), "late output refused") })
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := await(t, "the other build", other); r.err != nil || r.exit.Code != 0 || otherLog.String() != "started\ntwo\n" {
		t.Errorf("the other build: %+v, log %q", r, otherLog)
	}
	if _, err := stays.End(within(t), worker.DropDir); err != nil {
		t.Error(err)
	}
}

// While the connection is cut output goes to memory, to the disk, and then the
// command waits; when it stands again the log is whole, and the disk is given back.
func TestSpool(t *testing.T) {
	m := newMaster(t, time.Minute)
	p := newProxy(t, m.addr)
	const spool = 1 << 20
	bot := startBot(t, p.addr, t.TempDir(), func(o *agent.Options) { o.Spool = spool })
	c := m.attach(t)
	b := startBuild(t, c)
	goOn := filepath.Join(bot.dir, "go")
	const mb = 24 // more than window, spool, pipes and buffers
	log := &logBuffer{}
	done := run(within(t), b, sh(c, "echo started; while [ ! -e "+goOn+" ]; do sleep 0.05; done; "+
		`i=0; while [ $i -lt 24 ]; do head -c 1000000 /dev/zero | tr '\0' "a"; echo; echo $i >`+goOn+`.at; i=$((i+1)); done`), log)
	testrig.Until(t, "the command has not begun", func() bool { return log.String() == "started\n" })
	p.shut()
	isHeld(t, c)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := func() string {
		b, err := os.ReadFile(goOn + ".at")
		if err != nil {
			return ""
		}
		return string(b)
	}
	// It stands still when it has stood for a second: a slower machine is not told
	// apart, and the test is then only weaker.
	last, since := at(), time.Now()
	testrig.Until(t, "it does not stand still", func() bool {
		if now := at(); now != last {
			last, since = now, time.Now()
		}
		return last != "" && time.Since(since) > time.Second
	})
	if last == "23\n" {
		t.Errorf("all of its %d MB were taken while nobody had them", mb)
	}
	p.lead(m.addr)
	r := await(t, "the command", done)
	if r.err != nil || r.exit.Code != 0 {
		t.Errorf("%+v", r)
	}
	want := "started\n" + strings.Repeat(strings.Repeat("a", 1000000)+"\n", mb)
	if got := log.String(); got != want {
		t.Errorf("the log has %d bytes, want %d", len(got), len(want))
	}
	noneLeft(t, bot.dir)
}
