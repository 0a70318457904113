package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/control"
)

// notes are what the terminal was told beside updates on builds.
func (s *seat) notes() string {
	var all []string
	for _, u := range s.updates(control.Note) {
		all = append(all, u.Text)
	}
	return strings.Join(all, "\n")
}

// TestInterruptOnAFullDisk: the terminal is told at once that nothing can be
// recorded, and a person need not wait for space: an interrupt ends the session
// after a few tries, a second one with the next. The next master finds builds
// that were interrupted.
func TestInterruptOnAFullDisk(t *testing.T) {
	for _, c := range []struct {
		name     string
		full     time.Duration // before the interrupt
		cancel   []control.Cancel
		atLeast  time.Duration // for a disk that is free again soon
		atMost   time.Duration
		leaveFor bool // the terminal goes away instead
	}{
		{"once, just full", 0, []control.Cancel{{Reason: "interrupted"}}, submitPatience - commitRetry, submitPatience + 2*commitRetry, false},
		{"once, long since full", time.Hour, []control.Cancel{{Reason: "interrupted"}}, 0, 2 * commitRetry, false},
		{"twice, just full", 0, []control.Cancel{{Reason: "interrupted"}, {Now: true, Reason: "interrupted"}}, 0, 2 * commitRetry, false},
		{"gone", time.Hour, nil, 0, 2 * commitRetry, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, oneBuilder(step("work", "work")))
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				s := r.sit(control.RunRequest{Builders: []string{"b", "b"}})
				pass(time.Minute)

				r.disk.fail(errNoDisk)
				r.on(func(l *loop) { l.noteAlive() }) // something to record
				settle()
				mustContain(t, s.notes(), "nothing can be recorded: ", errNoDisk.Error(), "Ctrl-C")
				pass(c.full)
				select {
				case err := <-s.done:
					t.Fatalf("the session ended although nobody asked for it: %v", err)
				default:
				}
				began := time.Now()
				for _, how := range c.cancel {
					if err := r.e.CancelSession(t.Context(), "s", how); err != nil {
						t.Fatal(err)
					}
				}
				if c.leaveFor {
					s.leave()
				}
				last := s.end()
				if last.ExitCode != 3 || !strings.Contains(last.Text, errNoDisk.Error()) {
					t.Errorf("the end: %+v", last)
				}
				if took := time.Since(began); took < c.atLeast || took > c.atMost {
					t.Errorf("it ended after %s, want %s to %s", took, c.atLeast, c.atMost)
				}
				if got := s.results(); len(got) > 0 {
					t.Errorf("told as finished, which is not on disk: %v", got)
				}
				ids := s.ids()
				r.stop(Drain) // as bothy run does then; it must not wait for the disk
				r.disk.fail(nil)
				r.start()
				pass(2 * sessionReturn)
				for _, id := range ids {
					if row := r.row(id); row.Result != build.Cancelled || row.Text != goneText {
						t.Errorf("request %d: %v, %s", id, row.Result, row.Text)
					}
				}
			})
		})
	}
}

// TestInterruptBeforeTheDiskIsFull: what an interrupt has begun to end does not
// wait for ever when its end cannot be recorded.
func TestInterruptBeforeTheDiskIsFull(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work"), step("tidy", "tidy", always)))
		r.fleet.on("work", sleeps(time.Hour))
		r.fleet.on("tidy", sleeps(30*time.Second))
		r.start()
		s := r.sit(control.RunRequest{Builders: []string{"b"}})
		pass(time.Minute)
		if err := r.e.CancelSession(t.Context(), "s", control.Cancel{Reason: "interrupted"}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		r.disk.fail(errNoDisk)
		r.on(func(l *loop) { l.noteAlive() })
		began := time.Now()
		if last := s.end(); last.ExitCode != 3 {
			t.Errorf("the end: %+v", last)
		}
		if took := time.Since(began); took > submitPatience+2*commitRetry {
			t.Errorf("it ended after %s", took)
		}
	})
}

// TestInterruptAndSpaceAgain: a disk that is free again before the terminal gave
// up costs nothing: the end is on record, and told as such.
func TestInterruptAndSpaceAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		s := r.sit(control.RunRequest{Builders: []string{"b"}})
		pass(time.Minute)
		r.disk.fail(errNoDisk)
		r.on(func(l *loop) { l.noteAlive() })
		settle()
		if err := r.e.CancelSession(t.Context(), "s", control.Cancel{Reason: "interrupted"}); err != nil {
			t.Fatal(err)
		}
		pass(commitRetry + commitRetry/2)
		r.disk.fail(nil)
		last := s.end()
		if last.ExitCode != 3 || last.Text != "" {
			t.Errorf("the end: %+v", last)
		}
		if got := s.results(); !slices.Equal(got, []string{"b exception"}) {
			t.Errorf("told: %v", got)
		}
		settle()
		if row := r.row(s.ids()[0]); row.Result != build.Exception {
			t.Errorf("on record: %v, %s", row.Result, row.Text)
		}
	})
}

// TestTerminalComesToAFullDisk: it is refused with the reason, also when the disk
// fills up under its request.
func TestTerminalComesToAFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true"))).start()
		r.disk.fail(errNoDisk)
		for i := range 2 { // the first finds out
			began := time.Now()
			s := r.sit(control.RunRequest{Builders: []string{"b"}})
			select {
			case err := <-s.done:
				if err == nil || !strings.Contains(err.Error(), errNoDisk.Error()) {
					t.Errorf("refused with %v", err)
				}
			case <-time.After(time.Hour):
				t.Fatal("it is neither refused nor accepted")
			}
			if took := time.Since(began); took > submitPatience+2*openRetry {
				t.Errorf("terminal %d is refused after %s", i, took)
			}
		}
		s := r.sit(control.RunRequest{Builders: []string{"b"}})
		pass(commitRetry)
		r.disk.fail(nil) // in time
		if last := s.end(); last.ExitCode != 0 {
			t.Errorf("the end: %+v", last)
		}
	})
}
