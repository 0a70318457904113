package fleettest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// withoutWorker is for scenarios in which no worker's process plays.
var withoutWorker = []pair{{"buildbot", "none"}, {"bothy", "none"}}

var scenarios = []scenario{
	{
		number: 1, name: "killed while it builds",
		plan: func(p *plan, name, dir string) {
			p.add(planWorker{Name: name + "-other"})
			p.add(planWorker{Name: name}, planBuilder{Workers: []string{name, name + "-other"}, Steps: []planStep{{Name: "hold", Run: hold(dir, "a")}}})
		},
		play: func(s *scene) {
			w := s.peer()
			s.connected(s.name, true)
			r := s.ask(s.name)
			s.written("a.begun")
			s.steer(s.name, "kill")
			s.note("build %s", s.ended(r, 1).result())
			w.ends()
			s.connected(s.name, false)
			s.note("the process ends; the request is complete: %v", s.request(r).Complete)
			s.write("a.go")
			startPeer(s.t, s.pair.worker, s.master, s.name+"-other")
			s.note("with another worker: %s", outcomes(s.done(r)))
		},
	}, {
		number: 2, name: "a second of the name, the first lives",
		better: "a buildbot-worker that is refused by Bothy stays, and comes in when the first has gone",
		plan: func(p *plan, name, dir string) {
			p.add(planWorker{Name: name, Lease: lease}, planBuilder{Steps: []planStep{{Name: "hold", Run: hold(dir, "a")}}})
		},
		play: func(s *scene) {
			first := s.peer()
			s.connected(s.name, true)
			r := s.ask(s.name)
			s.written("a.begun")
			second := s.peer()
			until(s.t, "the second is not refused", func() bool { return second.hasEnded() || s.refused() || second.refused() })
			s.note("the second is refused, ends: %v", second.hasEnded())
			s.write("a.go")
			s.note("the first builds: %s", outcomes(s.done(r)))
			if !second.hasEnded() {
				first.kill()
				s.done(s.ask(s.name)) // perhaps with the first, if the master has not noticed
				s.note("when that has gone, the second builds: %s", outcomes(s.done(s.ask(s.name))))
			}
		},
	}, {
		number: 3, name: "a second of the name, the first is frozen",
		plan: holdPlan,
		play: func(s *scene) {
			first := s.peer()
			s.connected(s.name, true)
			r := s.ask(s.name)
			s.written("a.begun")
			first.Signal(syscall.SIGSTOP)
			s.write("a.go")
			began := time.Now()
			second := s.peer()
			s.note("build %s", s.ended(r, 1).result())
			s.note("after 10 s: %v", time.Since(began) >= 10*time.Second)
			s.note("with the second: %s, which stays: %v", outcomes(s.done(r)), !second.hasEnded())
		},
	}, {
		number: 9, name: "paused while it builds, and the master restarts", alone: true,
		plan: holdPlan,
		play: func(s *scene) {
			s.peer()
			s.connected(s.name, true)
			one := s.ask(s.name)
			s.written("a.begun")
			s.steer(s.name, "pause")
			two := s.ask(s.name)
			s.write("a.go")
			s.note("the build ends: %s", outcomes(s.done(one)))
			s.crash()
			s.launch()
			s.connected(s.name, true)
			s.note("paused after the restart: %v; the next has builds: %d", s.worker(s.name).Paused, len(s.builds(two)))
			s.steer(s.name, "unpause")
			s.note("unpaused: %s", outcomes(s.done(two)))
		},
	}, {
		number: 10, name: "graceful when idle",
		plan: holdPlan,
		play: func(s *scene) {
			w := s.peer()
			s.connected(s.name, true)
			s.steer(s.name, "stop")
			w.ends()
			s.connected(s.name, false)
			s.note("the process ends, code %d; graceful: %v", w.Cmd.ProcessState.ExitCode(), s.worker(s.name).Graceful)
			s.peer()
			s.connected(s.name, true)
			until(s.t, "it stays graceful", func() bool { return !s.worker(s.name).Graceful })
			s.note("when it is back, graceful: false")
		},
	}, {
		number: 11, name: "graceful when busy",
		plan: holdPlan,
		play: func(s *scene) {
			w := s.peer()
			s.connected(s.name, true)
			one := s.ask(s.name)
			s.written("a.begun")
			s.steer(s.name, "stop")
			two := s.ask(s.name)
			s.note("the process ends before the build: %v", w.hasEnded())
			s.write("a.go")
			s.note("the build: %s", outcomes(s.done(one)))
			w.ends()
			s.note("the process ends, code %d; the next has builds: %d", w.Cmd.ProcessState.ExitCode(), len(s.builds(two)))
		},
	}, {
		number: 12, name: "graceful when idle, in the master's process",
		pairs:  []pair{{"buildbot", local}, {"bothy", local}},
		better: "the worker says that it has stopped, and start brings it back without a restart of the master",
		plan: func(p *plan, name, dir string) {
			p.add(planWorker{Name: name, Local: true}, planBuilder{Steps: []planStep{{Name: "true", Run: "true"}}})
		},
		play: func(s *scene) {
			s.connected(s.name, true)
			s.steer(s.name, "stop")
			if s.pair.master == "bothy" {
				s.connected(s.name, false)
			}
			r := s.ask(s.name)
			s.steer(s.name, "unpause")
			s.note("connected: %v; graceful: %v; a request has builds: %d", s.isConnected(s.name), s.worker(s.name).Graceful, len(s.builds(r)))
			if s.pair.master == "bothy" {
				s.steer(s.name, "start")
				s.note("start: %s", outcomes(s.done(r)))
			}
		},
	}, {
		number: 14, name: "never connects after the master's start", pairs: withoutWorker,
		plan: func(p *plan, name, _ string) {
			for i, timeout := range []float64{1, 3} { // the second shows that time has passed for the first
				p.add(planWorker{Name: fmt.Sprint(name, "-", i), Missing: timeout, Notify: fmt.Sprint(name, "-", i, "@example.com")},
					planBuilder{Steps: []planStep{{Name: "true", Run: "true"}}})
			}
		},
		play: func(s *scene) {
			for i := range 2 {
				who := fmt.Sprint(s.name, "-", i, "@example.com")
				until(s.t, who+" gets no mail", func() bool { return s.box.count(who) > 0 })
			}
			s.note("mails: %d", s.box.count(s.name+"-0@example.com"))
		},
	}, {
		number: 15, name: "away twice for longer than the timeout",
		plan: func(p *plan, name, _ string) {
			p.add(planWorker{Name: name, Missing: 2, Notify: name + "@example.com"}, planBuilder{Steps: []planStep{{Name: "true", Run: "true"}}})
		},
		play: func(s *scene) {
			reported := func() int {
				if s.pair.master == "bothy" { // it holds mails for a minute: others may go with them
					return s.missingMails(s.name)
				}
				return s.box.count(s.name + "@example.com")
			}
			until(s.t, "it is not missing at first", func() bool { return reported() > 0 })
			for range 2 {
				before := reported()
				w := s.peer()
				// Buildbot's master loses track of a worker that goes while it attaches.
				s.note("build %s", outcomes(s.done(s.ask(s.name))))
				w.kill()
				s.connected(s.name, false)
				until(s.t, "its loss is not reported", func() bool { return reported() > before })
				s.note("reported: %d", reported()-before)
			}
			until(s.t, "no mail arrives", func() bool { return s.box.count(s.name+"@example.com") > 0 })
		},
	}, {
		number: 21, name: "build stopped in step 1 of 3, step 3 runs always",
		plan: threeSteps,
		play: func(s *scene) {
			s.peer()
			s.connected(s.name, true)
			r := s.ask(s.name)
			s.written("a.begun")
			b := s.build(r, 1)
			if err := s.control(fmt.Sprintf("builds/%d", b.ID), "stop", "because"); err != nil {
				s.t.Error(err)
			}
			b = s.ended(r, 1)
			s.noteSteps(b)
			s.note("build %s, the text has the reason: %v", b.result(), strings.Contains(b.State, "because"))
		},
	}, {
		number: 22, name: "connection lost in step 1 of 3, step 3 runs always",
		plan: threeSteps,
		play: func(s *scene) {
			w := s.peer()
			s.connected(s.name, true)
			r := s.ask(s.name)
			s.written("a.begun")
			w.kill()
			b := s.ended(r, 1)
			s.noteSteps(b)
			s.write("a.go")
			s.peer()
			s.note("build %s; on its return: %s", b.result(), outcomes(s.done(r)))
		},
	}, {
		number: 23, name: "a command is silent for too long",
		better: "the step's text says that it timed out; Buildbot's master of version 3.7 does not say it, later ones do",
		plan: func(p *plan, name, dir string) {
			p.add(planWorker{Name: name}, planBuilder{Steps: []planStep{{
				Name: "silent", Timeout: 2, Run: fmt.Sprintf("trap 'touch %s/term' TERM; echo begun; while :; do sleep 0.1; done", dir),
			}}})
		},
		play: func(s *scene) {
			s.peer()
			s.connected(s.name, true)
			b := s.done(s.ask(s.name))
			_, err := os.Stat(s.file("term"))
			s.note("build %s; the text says that it timed out: %v; asked to end before: %v", outcomes(b), strings.Contains(s.steps(b[0])[0].State, "timed out"), err == nil)
			s.note("output is kept: %v", strings.Contains(s.log(s.steps(b[0])[0]), "obegun\n"))
		},
	}, {
		number: 24, name: "sigterm_time, and the command ignores TERM",
		plan: func(p *plan, name, dir string) {
			p.add(planWorker{Name: name}, planBuilder{Steps: []planStep{{
				Name: "deaf", Timeout: 1, Sigterm: 3,
				Run: fmt.Sprintf("trap 'touch %[1]s/term' TERM; echo begun; while :; do touch %[1]s/alive; sleep 0.1; done", dir),
			}}})
		},
		play: func(s *scene) {
			s.peer()
			s.connected(s.name, true)
			b := s.done(s.ask(s.name))
			term, err1 := os.Stat(s.file("term"))
			alive, err2 := os.Stat(s.file("alive"))
			if err1 != nil || err2 != nil {
				s.t.Fatal(err1, err2)
			}
			s.note("build %s; it lived on after TERM for most of the time: %v", outcomes(b), alive.ModTime().Sub(term.ModTime()) > 1500*time.Millisecond)
		},
	},
}

// lease is that of workers that are killed: between two Bothys a worker is lost
// when it is over.
const lease = 10

// holdPlan is one worker with one builder whose step waits for leave.
func holdPlan(p *plan, name, dir string) {
	p.add(planWorker{Name: name}, planBuilder{Steps: []planStep{{Name: "hold", Run: hold(dir, "a")}}})
}

func threeSteps(p *plan, name, dir string) {
	p.add(planWorker{Name: name, Lease: lease}, planBuilder{Steps: []planStep{
		{Name: "one", Run: hold(dir, "a")}, {Name: "two", Run: "true"}, {Name: "three", Run: "true", Always: true},
	}})
}

// outcomes are the results of a request's builds.
func outcomes(builds []buildRow) string {
	var all []string
	for _, b := range builds {
		all = append(all, b.result())
	}
	return strings.Join(all, ", ")
}

// refused reports whether the master has refused a second worker of the name.
func (s *scene) refused() bool {
	for l := range strings.Lines(s.master.said()) {
		if strings.Contains(l, "a worker of this name is connected") && strings.Contains(l, "worker="+s.name+" ") {
			return true
		}
	}
	return false
}

// refused reports whether the worker says that it was refused.
func (p *peer) refused() bool { return strings.Contains(p.said(), "not attached; name and password") }
