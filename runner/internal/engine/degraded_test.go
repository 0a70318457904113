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
	"bothy/runner/config"
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
		began := time.Now() // one is on its way when the disk fills up
		if _, err := r.e.Submit(context.Background(), Submission{Builder: "b"}); !errors.Is(err, ErrDegraded) || !errors.Is(err, errNoDisk) {
			t.Errorf("submit: %v", err)
		}
		if d := time.Since(began); d != submitPatience {
			t.Errorf("it was refused after %s", d)
		}
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
		r.want(pending, build.Success)
		settle()
		if row := r.row(3); row.Result != build.Cancelled || row.Attempts != 0 {
			t.Errorf("the request that was refused: %+v", row)
		}
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
		if err := r.e.ControlWorker(t.Context(), "w", worker.Pause, "", ""); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("%d tries took %s", tries, d)
		}
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
		if err := <-submitted; !errors.Is(err, ErrDegraded) {
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

// TestSubmitWithTheBallast: what was on its way when the disk filled up is
// accepted if the room that the ballast leaves is enough.
func TestSubmitWithTheBallast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := &ballast{}
		r := newRig(t, oneBuilder(step("work", "true")), func(o *Options) { o.Ballast = b })
		b.r = r
		r.start()
		settle()
		r.control(worker.Pause)
		b.set(errors.New("20 MiB are free, 32 are wanted"))
		r.disk.fail(logsFull())
		k := r.build("b")
		if row := r.row(k.ID); row.State != store.Pending {
			t.Errorf("%+v", row)
		}
		pass(time.Hour)
		b.set(nil)
		pass(2 * time.Second)
		r.control(worker.Unpause)
		r.want(k, build.Success)
	})
}

// TestDiskFullBeforeTheBallast: a disk that never had room for the ballast is
// not waited for until it has.
func TestDiskFullBeforeTheBallast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := &ballast{room: errors.New("20 MiB are free, 32 are wanted")}
		r := newRig(t, oneBuilder(step("work", "true")), func(o *Options) { o.Ballast = b })
		b.r = r
		r.start()
		settle()
		r.disk.fail(logsFull())
		k := r.build("b")
		r.wait(k)
		pass(2 * time.Second)
		if err := r.e.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		r.want(r.build("b"), build.Success)
	})
}

// TestBallastFirst: it is there before anything is accepted.
func TestBallastFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := &ballast{}
		r := newRig(t, oneBuilder(step("work", "true")), func(o *Options) { o.Ballast = b })
		b.r = r
		r.start()
		r.on(func(l *loop) {
			if !l.ballasted {
				t.Error("there is no ballast")
			}
		})
	})
}

// TestOthersOnTheMachine: a need that fits the machine, but not beside what
// another runner has of it, waits for room and not for the whole machine.
func TestOthersOnTheMachine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := onMachine(work("b", "work", func(b *config.Builder) { b.CPUs = 3 }))
		conf.Workers[0].MaxBuilds = 4
		r := newRig(t, conf)
		r.fleet.on("work", sleeps(time.Hour))
		r.host.set(func(h *fakeHost) { h.taken, h.takenNeed = 1, worker.Need{CPUs: 2} })
		r.start()
		k := r.build("b")
		pass(time.Minute)
		if why := r.why(k); !strings.Contains(why, "local has 2 CPUs and") {
			t.Errorf("why: %q", why)
		}
		r.host.set(func(h *fakeHost) { h.takenNeed.CPUs = 1 }) // still there
		r.want(k, build.Success)
	})
}
