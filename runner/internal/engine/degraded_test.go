package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// TestDiskFull: what runs ends EXCEPTION because of the disk, new requests are
// refused with the reason, nothing is told before it is on disk, nothing is
// lost, and all goes on by itself when there is room again.
func TestDiskFull(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := oneBuilder(step("work", "work"), step("tidy", "true", always))
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		events := r.watch()
		running, pending := r.build("b"), r.build("b")
		pass(time.Minute)
		before := len(events())

		r.disk.fail(errNoDisk)
		submitted := make(chan error, 1)
		var late []*Ticket
		go func() { // on its way when the disk fills up
			var err error
			late, err = r.e.Submit(context.Background(), Submission{Builder: "b"})
			submitted <- err
		}()
		pass(time.Minute)
		if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}); !errors.Is(err, ErrDegraded) || !errors.Is(err, errNoDisk) {
			t.Errorf("submit: %v", err)
		}
		if err := r.e.Healthy(t.Context()); !errors.Is(err, ErrDegraded) || !strings.Contains(err.Error(), errNoDisk.Error()) {
			t.Errorf("healthy: %v", err)
		}
		why, err := r.e.Why(t.Context(), pending.ID)
		if err != nil || len(why) != 1 || !strings.Contains(why[0].Reason, errNoDisk.Error()) {
			t.Errorf("why: %v, %v", why, err)
		}
		if got := kinds(events()[before:]); !slices.Equal(got, []EventKind{Degraded}) {
			t.Errorf("told while nothing could be recorded: %v", got)
		}
		for what, k := range map[string]<-chan struct{}{"the running request": running.Done(), "the pending request": pending.Done()} {
			select {
			case <-k:
				t.Errorf("%s was finished before that was on disk", what)
			default:
			}
		}
		select {
		case err := <-submitted:
			t.Errorf("submit was answered before it was on disk: %v", err)
		default:
		}
		if len(r.fleet.order()) != 1 {
			t.Errorf("builds were started: %v", r.fleet.order())
		}

		r.disk.fail(nil)
		req, b := r.want(running, build.Exception)
		if b.Cause != string(build.CauseDisk) {
			t.Errorf("cause %q", b.Cause)
		}
		mustContain(t, req.Text, "cannot record", errNoDisk.Error())
		mustEqual(t, "steps", r.steps(b.ID), []string{"work cancelled"})
		if err := <-submitted; err != nil {
			t.Fatal(err)
		}
		r.want(pending, build.Success)
		r.want(late[0], build.Success)
		if err := r.e.Healthy(t.Context()); err != nil {
			t.Errorf("healthy: %v", err)
		}
		r.want(r.build("b"), build.Success)
	})
}

// TestDiskFullTries: once a second, and the first success is enough.
func TestDiskFullTries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		tries := 0
		r.open()
		commit := r.e.commit
		r.e.commit = func(b *store.Batch) error {
			tries++
			if tries <= 10 {
				return errNoDisk
			}
			return commit(b)
		}
		go r.e.Run()
		r.running = true
		began := time.Now()
		k := r.build("b")
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("%d tries took %s", tries, d)
		}
		r.wait(k) // its build began before that was on disk, and may have been ended
	})
}

// ballast frees the disk of a rig, and is put back when there is room for it.
type ballast struct {
	r     *rig
	mu    sync.Mutex
	room  error // what Restore says
	freed int
}

func (b *ballast) Free() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.freed++
	b.r.disk.fail(nil)
	return nil
}

func (b *ballast) Restore() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room
}

func (b *ballast) set(room error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room = room
}

func (b *ballast) times() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.freed
}

// TestStopWhileDegraded: the end does not wait for the disk; what could not be
// recorded is done again by the next master.
func TestStopWhileDegraded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		k := r.build("b")
		pass(time.Minute)
		r.disk.fail(errNoDisk)
		submitted := make(chan error, 1)
		go func() {
			_, err := r.e.Submit(context.Background(), Submission{Builder: "b"})
			submitted <- err
		}()
		pass(time.Minute)
		r.stop(AtOnce)
		if err := <-submitted; !errors.Is(err, ErrStopped) {
			t.Errorf("submit: %v", err)
		}
		r.start()
		settle()
		if row := r.row(k.ID); row.Retries != 1 || row.Attempts != 2 {
			t.Errorf("%d retries, %d attempts", row.Retries, row.Attempts)
		}
	})
}

// TestRefusedRows: a row that the store will not take keeps nothing else back.
func TestRefusedRows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		req, _ := r.want(r.build("b"), build.Success)
		r.on(func(l *loop) {
			row := req
			row.Result = build.Failure
			l.batch.PutRequest(&row)
		})
		k := r.build("b")
		r.want(k, build.Success)
		if row := r.row(req.ID); row.Result != build.Success {
			t.Error("a finished request was changed")
		}
		if err := r.e.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLogsCannotBeKept: a log that cannot be finished holds back its build's
// end, like a commit that fails.
func TestLogsCannotBeKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Minute))
		r.start()
		k := r.build("b")
		pass(time.Second)
		if err := r.logs.Close(); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}); !errors.Is(err, ErrDegraded) || !errors.Is(err, logs.ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		select {
		case <-k.Done():
			t.Error("a build was finished without its log")
		default:
		}
		r.stop(AtOnce)
		r.start()
		_, b := r.want(&Ticket{k.ID, r.pending(k.ID)}, build.Success)
		if b.Attempt != 2 {
			t.Errorf("attempt %d", b.Attempt)
		}
	})
}

// TestBallast: it makes room for endings when the disk is full. New work waits
// until it has its place again.
func TestBallast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := &ballast{}
		r := newRig(t, oneBuilder(step("work", "work")), func(o *Options) { o.Ballast = b })
		b.r = r
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		settle()
		r.disk.fail(errors.New("another error"))
		go r.e.Submit(context.Background(), Submission{Builder: "b"})
		pass(time.Minute)
		if b.times() != 0 {
			t.Error("freed although the disk is not full")
		}
		r.disk.fail(nil)
		pass(time.Hour)

		tickets := r.submit(Submission{Builder: "b"}, Submission{Builder: "b"})
		settle()
		b.set(errors.New("20 MiB are free, 32 are wanted"))
		r.disk.fail(logsFull())
		if err := r.e.Cancel(t.Context(), tickets[1].ID, "not needed", false); err != nil {
			t.Fatal(err) // recorded where the ballast was
		}
		r.want(tickets[1], build.Cancelled)
		if _, last := r.want(tickets[0], build.Exception); last.Cause != string(build.CauseDisk) {
			t.Errorf("cause %q", last.Cause)
		}
		pass(time.Hour)
		if _, err := r.e.Submit(t.Context(), Submission{Builder: "b"}); !errors.Is(err, ErrDegraded) || !strings.Contains(err.Error(), "20 MiB") {
			t.Errorf("submit while there is no ballast: %v", err)
		}
		if n := b.times(); n != 1 {
			t.Errorf("freed %d times", n)
		}
		b.set(nil)
		pass(2 * time.Second)
		r.want(r.build("b"), build.Success)
	})
}

// TestSinkFullDisk: output that cannot be kept ends the build, because of the disk.
func TestSinkFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "x")))
		r.fleet.on("x", func(*fakeCommand) (worker.Exit, error) {
			return worker.Exit{Code: -1, Stopped: worker.SinkFailed, SinkErr: logsFull()}, nil
		})
		r.start()
		if _, b := r.want(r.build("b"), build.Exception); b.Cause != string(build.CauseDisk) {
			t.Errorf("cause %q", b.Cause)
		}
	})
}
