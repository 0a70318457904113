package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/control"
	"bothy/runner/worker"
)

// seat is a terminal and what it was told.
type seat struct {
	r      *rig
	mu     sync.Mutex
	told   []control.Update
	refuse error // what telling it returns
	leave  context.CancelFunc
	done   chan error
}

// sit opens a session.
func (r *rig) sit(req control.RunRequest) *seat {
	ctx, leave := context.WithCancel(context.Background())
	r.t.Cleanup(leave)
	s := &seat{r: r, leave: leave, done: make(chan error, 1)}
	if req.Session == "" {
		req.Session = "s"
	}
	go func() {
		s.done <- r.e.RunSession(ctx, req, func(u control.Update) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			u.Data = slices.Clone(u.Data)
			s.told = append(s.told, u)
			return s.refuse
		})
	}()
	return s
}

func (s *seat) updates(kind control.UpdateKind) []control.Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.told), func(u control.Update) bool { return u.Kind != kind })
}

// results are "builder result" of what the terminal was told is finished, sorted.
func (s *seat) results() []string {
	var out []string
	for _, u := range s.updates(control.RequestOK) {
		out = append(out, fmt.Sprint(u.Builder, " ", u.Result))
	}
	slices.Sort(out)
	return out
}

// ids are the accepted requests.
func (s *seat) ids() []int64 {
	var out []int64
	for _, u := range s.updates(control.Accepted) {
		out = append(out, u.Request)
	}
	return out
}

// end waits for the session's end and returns the last update.
func (s *seat) end() control.Update {
	s.r.t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			s.r.t.Errorf("session: %v", err)
		}
	case <-time.After(30 * time.Hour):
		s.r.t.Fatal("the session does not end")
	}
	last := s.told[len(s.told)-1]
	if last.Kind != control.End {
		s.r.t.Errorf("the last update is %q", last.Kind)
	}
	return last
}

// threeBuilders share one remote worker.
func threeBuilders() *config.Config {
	conf := oneBuilder(step("work", "work"))
	for _, n := range []string{"c", "d"} {
		b := conf.Builders[0]
		b.Name = n
		conf.Builders = append(conf.Builders, b)
	}
	return conf
}

// TestSession: the terminal is told all of it, in order, output included.
func TestSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		texts := t.TempDir()
		r := newRig(t, oneBuilder(step("skip", "x", func(s *config.Step) { s.DoIf = "no" }), step("work", "work"), step("more", "true")),
			func(o *Options) { o.TextLogDir = texts })
		var env string
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			env = c.env("MINE") + c.env("BOTHY_TOKEN")
			for i := range 3 {
				if err := c.print("", fmt.Sprintf("line %d\n", i)); err != nil {
					return worker.Exit{}, err
				}
				if exit, err, ok := c.sleep(time.Minute); !ok {
					return exit, err
				}
			}
			return worker.Exit{}, nil
		})
		r.fleet.left["b"] = []worker.Process{{PID: 7, Name: "postgres"}}
		r.start()
		s := r.sit(control.RunRequest{Env: []string{"MINE=1", "BOTHY_TOKEN=secret"}, Props: map[string]string{"p": "v"}})
		last := s.end()
		if last.Result != build.Success || last.ExitCode != 0 {
			t.Errorf("end: %s, exit code %d", last.Result, last.ExitCode)
		}
		var kinds []control.UpdateKind
		var output string
		for _, u := range s.told {
			if u.Kind == control.Output {
				output += string(u.Data)
				continue
			}
			kinds = append(kinds, u.Kind)
		}
		want := []control.UpdateKind{
			control.Accepted, control.BuildNew, control.StepEnd, control.StepNew, control.StepEnd, control.StepNew, control.StepEnd,
			control.BuildEnd, control.RequestOK, control.End,
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("told %v, want %v", kinds, want)
		}
		if output != "$ work\nline 0\nline 1\nline 2\n$ true\n" {
			t.Errorf("output %q", output)
		}
		if env != "1" {
			t.Errorf("environment: %q", env)
		}
		b := s.updates(control.BuildEnd)[0]
		if b.LogPath != filepath.Join(texts, "b", "1.log") || !slices.Equal(b.Ended, []string{"postgres (7)"}) || b.Elapsed != 3*time.Minute {
			t.Errorf("build: %+v", b)
		}
		text, err := os.ReadFile(b.LogPath)
		if err != nil {
			t.Fatal(err)
		}
		settle()
		mustContain(t, string(text), "step 1 skip: skipped", "step 2 work: finished (3m0s)", "line 2", "build successful after 3m0s")
		r.on(func(l *loop) {
			if len(l.sessions)+len(l.subscribers)+len(l.requests) != 0 {
				t.Errorf("left: %d sessions, %d subscribers, %d requests", len(l.sessions), len(l.subscribers), len(l.requests))
			}
		})
	})
}

// TestSessionResults: exit codes of product.md, and what a failure does to what
// has not begun.
func TestSessionResults(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail string // the builder that does not come out well
		how  script
		keep bool
		code int
		why  string // of what was not started
		want []string
	}{
		{"success", "", nil, false, 0, "", []string{"b success", "c success", "d success"}},
		{"failure", "b", exits(1), false, 1, "failed", []string{"b failure", "c cancelled", "d cancelled"}},
		{"keep going", "b", exits(1), true, 1, "", []string{"b failure", "c success", "d success"}},
		{"late failure", "c", exits(1), false, 1, "failed", []string{"b success", "c failure", "d cancelled"}},
		{"exception", "c", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{}, errors.New("pipe") }, false, 3, "ended as exception",
			[]string{"b success", "c exception", "d cancelled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, threeBuilders())
				r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
					if exit, err, ok := c.sleep(time.Second); !ok {
						return exit, err
					}
					if c.build.spec.Builder == tt.fail {
						return tt.how(c)
					}
					return worker.Exit{}, nil
				})
				r.start()
				s := r.sit(control.RunRequest{KeepOn: tt.keep})
				if last := s.end(); last.ExitCode != tt.code {
					t.Errorf("exit code %d, want %d", last.ExitCode, tt.code)
				}
				mustEqual(t, "results", s.results(), tt.want)
				for _, u := range s.updates(control.RequestOK) {
					if u.Result == build.Cancelled {
						mustContain(t, u.Text, "not started, because "+tt.fail+" "+tt.why)
					}
				}
			})
		})
	}
}

// TestSessionCancel: Ctrl-C stops all of it, a second one at once.
func TestSessionCancel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, threeBuilders())
		r.fleet.on("work", sleeps(time.Hour))
		r.start()
		other := r.build("b")
		cancel(t, r, other, true)
		s := r.sit(control.RunRequest{})
		pass(time.Minute)
		began := time.Now()
		for _, now := range []bool{false, true} {
			if err := r.e.CancelSession(t.Context(), "s", control.Cancel{Reason: "interrupted", Now: now}); err != nil {
				t.Fatal(err)
			}
			if !now {
				pass(time.Second)
			}
		}
		// A follower of a log rests a little between looks.
		if last := s.end(); last.ExitCode != 130 || time.Since(began).Round(100*time.Millisecond) != time.Second {
			t.Errorf("exit code %d after %s", last.ExitCode, time.Since(began))
		}
		mustEqual(t, "results", s.results(), []string{"b cancelled", "c cancelled", "d cancelled"})
	})
}

// TestSessionGone: when the terminal goes, or cannot be told any more, its
// builds are cancelled; those of others are not.
func TestSessionGone(t *testing.T) {
	for _, how := range []string{"context", "send"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, threeBuilders())
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				s := r.sit(control.RunRequest{})
				settle()
				other := r.build("b")
				pass(time.Minute)
				if how == "context" {
					s.leave()
				} else {
					s.mu.Lock()
					s.refuse = errors.New("broken pipe")
					s.mu.Unlock()
					other = r.submit(Submission{Builder: "b", Priority: -1})[0]
					s.sendSomething()
				}
				err := <-s.done
				if how == "send" && (err == nil || !strings.Contains(err.Error(), "broken pipe")) {
					t.Errorf("session: %v", err)
				}
				pass(time.Minute)
				for _, id := range s.ids() {
					if row := r.row(id); row.Result != build.Cancelled || !strings.Contains(row.Text, goneText) {
						t.Errorf("request %d is %s: %s", id, row.Result, row.Text)
					}
				}
				if how == "send" && len(s.ids()) == 0 {
					t.Error("nothing was accepted")
				}
				r.want(other, build.Success)
			})
		})
	}
}

// sendSomething makes the engine tell the terminal something: the running
// command of its build writes a line.
func (s *seat) sendSomething() {
	s.r.on(func(l *loop) {
		for _, b := range l.builds {
			if b.req.row.Session != "" {
				l.publish(Event{Kind: RequestRetry, Request: b.req.row, Build: b.row})
			}
		}
	})
}

// TestSessionRefused: a session that cannot be served leaves nothing behind.
func TestSessionRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		r.start()
		for _, req := range []control.RunRequest{
			{Builders: []string{"nothing"}},
			{Builders: []string{"b", "nothing"}},
			{Props: map[string]string{strings.Repeat("x", 1000): "v"}},
			{Reattach: []int64{99}},
		} {
			if err := <-r.sit(req).done; err == nil {
				t.Errorf("%+v was served", req)
			}
		}
		settle()
		r.on(func(l *loop) {
			if len(l.sessions)+len(l.subscribers)+len(l.requests) != 0 {
				t.Errorf("left: %d sessions, %d subscribers, %d requests", len(l.sessions), len(l.subscribers), len(l.requests))
			}
		})
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if err := r.e.RunSession(ctx, control.RunRequest{Session: "s"}, func(control.Update) error { return nil }); err == nil {
			t.Error("a session without a terminal was served")
		}
		pass(time.Minute)
		r.on(func(l *loop) {
			if len(l.sessions)+len(l.subscribers)+len(l.requests) != 0 {
				t.Errorf("left: %d sessions, %d subscribers, %d requests", len(l.sessions), len(l.subscribers), len(l.requests))
			}
		})
	})
}

// TestSessionReturns: the requests of a terminal wait 10 s for it after a change
// of master; if it comes it goes on with all of them.
func TestSessionReturns(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		knows func(ids []int64) []int64 // what the terminal had heard of
		want  []string
	}{
		{"in time", 9 * time.Second, func(ids []int64) []int64 { return ids }, []string{"b success", "c success", "d success"}},
		{"it had heard of one", 9 * time.Second, func(ids []int64) []int64 { return ids[:1] }, []string{"b success", "c success", "d success"}},
		{"it had heard of none", 9 * time.Second, func([]int64) []int64 { return nil }, []string{"b success", "c success", "d success"}},
		{"too late", 11 * time.Second, func(ids []int64) []int64 { return ids }, []string{"b cancelled", "c cancelled", "d cancelled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, threeBuilders())
				r.fleet.on("work", sleeps(time.Hour))
				r.start()
				s := r.sit(control.RunRequest{})
				pass(time.Minute)
				ids := s.ids()
				slices.Sort(ids)
				r.crash(false)
				if err := <-s.done; !errors.Is(err, ErrStopped) {
					t.Errorf("session: %v", err)
				}
				r.start()
				pass(tt.after)
				for _, id := range ids {
					if row := r.row(id); tt.after < sessionReturn && (row.Result != build.None || row.Attempts > 1) {
						t.Errorf("request %d did not wait for its terminal: %s, attempt %d", id, row.Result, row.Attempts)
					}
				}
				s = r.sit(control.RunRequest{Reattach: tt.knows(ids)})
				s.end()
				mustEqual(t, "results", s.results(), tt.want)
				if _, err := r.store.Request(t.Context(), ids[2]+1); err == nil {
					t.Error("a terminal that came back asked again")
				}
			})
		})
	}
}

// TestSessionMissedTheEnd: what was finished while the terminal was away is told
// when it is back, and counts.
func TestSessionMissedTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		conf := threeBuilders()
		conf.Workers[0].MaxBuilds = 3
		r := newRig(t, conf)
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			if c.build.spec.Builder == "b" {
				return worker.Exit{Code: 1}, nil
			}
			exit, err, _ := c.sleep(time.Hour)
			return exit, err
		})
		r.start()
		s := r.sit(control.RunRequest{KeepOn: true})
		pass(time.Minute)
		ids := s.ids()
		r.crash(false)
		<-s.done
		r.start()
		s = r.sit(control.RunRequest{Reattach: ids, KeepOn: true})
		if last := s.end(); last.ExitCode != 1 || last.Result != build.Failure {
			t.Errorf("end: %s, exit code %d", last.Result, last.ExitCode)
		}
		mustEqual(t, "results", s.results(), []string{"b failure", "c success", "d success"})
	})
}

// TestForeground: without "bothy serve" only requests of terminals are started.
func TestForeground(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")), func(o *Options) { o.Foreground = true })
		r.start()
		k := r.build("b")
		if last := r.sit(control.RunRequest{}).end(); last.Result != build.Success {
			t.Errorf("end: %s", last.Result)
		}
		why, err := r.e.Why(t.Context(), k.ID)
		if err != nil || len(why) != 1 || !strings.Contains(why[0].Reason, "bothy serve") {
			t.Errorf("why: %v, %v", why, err)
		}
		r.stop(Drain)
		r.opt = func(*Options) {}
		r.start()
		r.want(&Ticket{k.ID, r.pending(k.ID)}, build.Success)
	})
}

// TestSessionCommand: an ad-hoc command is a build like any other, and survives
// a crash.
func TestSessionCommand(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "true")))
		var specs []worker.BuildSpec
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			specs = append(specs, c.build.spec)
			if !slices.Equal(c.Argv, []string{"work", "a b"}) || c.Timeout != 0 {
				t.Errorf("command %q, timeout %s", c.Argv, c.Timeout)
			}
			exit, err, _ := c.sleep(time.Hour)
			return exit, err
		})
		r.start()
		req := control.RunRequest{Argv: []string{"work", "a b"}, Dir: "/home/ana"}
		s := r.sit(req)
		pass(time.Minute)
		r.crash(false)
		<-s.done
		r.start()
		req.Reattach = s.ids()
		s = r.sit(req)
		s.end()
		mustEqual(t, "results", s.results(), []string{Command + " success"})
		mustContain(t, string(s.updates(control.Output)[0].Data), "$ work 'a b'")
		if len(specs) != 2 || specs[1].Source.Dir != "/home/ana" || specs[1].Source.Kind != worker.SourceTree {
			t.Errorf("specs: %+v", specs)
		}
	})
}

// TestExplain: a terminal is told what its request waits for after a second, and
// again only when that has changed.
func TestExplain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", sleeps(10*time.Minute))
		r.start()
		r.build("b")
		settle()
		s := r.sit(control.RunRequest{})
		pass(500 * time.Millisecond)
		if got := s.updates(control.Pending); len(got) != 0 {
			t.Errorf("told at once: %v", got)
		}
		pass(5 * time.Minute)
		back := r.fleet.kind("w").lose(true)
		pass(5 * time.Minute)
		back()
		s.end()
		var texts []string
		for _, u := range s.updates(control.Pending) {
			texts = append(texts, u.Text)
		}
		want := []string{"w: runs 1 of 1 builds", "w: not connected: connection reset", "w: runs 1 of 1 builds"}
		mustEqual(t, "reasons", texts, want)
	})
}

// TestSessionRetry: a lost build is told as such.
func TestSessionRetry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, oneBuilder(step("work", "work")))
		r.fleet.on("work", func(c *fakeCommand) (worker.Exit, error) {
			if c.env("BOTHY_ATTEMPT") == "1" {
				return loses(time.Minute)(c)
			}
			return worker.Exit{}, c.print("", "second\n")
		})
		r.start()
		s := r.sit(control.RunRequest{})
		s.end()
		notes := s.updates(control.Note)
		if len(notes) != 1 || !strings.Contains(notes[0].Text, "b runs again: retry: 'work' ") {
			t.Errorf("notes: %+v", notes)
		}
		var output string
		for _, u := range s.updates(control.Output) {
			output += fmt.Sprintf("%d:%s", u.Attempt, u.Data)
		}
		mustContain(t, output, "1:before the loss\n", "2:second\n")
		if ends := s.updates(control.BuildEnd); len(ends) != 2 || ends[0].Result != build.Retry || ends[1].Result != build.Success {
			t.Errorf("builds: %+v", ends)
		}
	})
}
