package engine

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/mail"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// reported is a configuration with one mail report.
func reported(rep config.Report) *config.Config {
	c := oneBuilder(step("compile", "compile"), step("tidy", "true", always))
	rep.Kind = config.ReportMail
	c.Reports = []config.Report{rep}
	return c
}

// TestBuildMails: by the modes of the report, from the transaction of the
// build's end, to the recipients and, if wanted, to interested users.
func TestBuildMails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, reported(config.Report{
			To: []string{"team@example.com"}, SendToInterestedUsers: true, AddLogs: true,
			Mode: []config.ReportMode{config.ModeProblem, config.ModeChange, config.ModeException},
		}), withPost(p))
		r.fleet.on("compile", func(c *fakeCommand) (worker.Exit, error) {
			if err := c.print("", "cc: one\ncc: two\n"); err != nil {
				return worker.Exit{}, err
			}
			return worker.Exit{Code: 1}, nil
		})
		r.start()
		owner := build.Properties{"owner": {Value: "Ann <ann@example.com>", Source: "test"}, "owners": {Value: []any{"nobody"}, Source: "test"}}
		r.want(r.build("b"), build.Failure) // the first: neither a problem nor a change
		r.want(r.build("b"), build.Failure)
		pass(time.Second)
		if n := len(p.letters()); n != 0 {
			t.Errorf("%d mails", n)
		}
		r.fleet.on("compile", nil)
		r.want(r.build("b"), build.Success) // a change
		pass(time.Second)
		r.crash(false)
		r.start()
		r.fleet.on("compile", func(c *fakeCommand) (worker.Exit, error) {
			if err := c.print("", "cc: one\ncc: two\n"); err != nil {
				return worker.Exit{}, err
			}
			return worker.Exit{Code: 1}, nil
		})
		r.want(r.submit(Submission{Builder: "b", Properties: owner, Reason: "because"})[0], build.Failure) // a problem
		pass(time.Minute)
		ls := p.letters()
		mustEqual(t, "mails", sorted(ls), []string{
			"Ann <ann@example.com>: [Bothy] b build 4: failure", "team@example.com: [Bothy] b build 3: success", "team@example.com: [Bothy] b build 4: failure",
		})
		slices.SortFunc(ls, func(a, b letter) int { return strings.Compare(a.to+a.subject, b.to+b.subject) })
		mustContain(t, ls[2].body, "failure (before: success)", "compile", "cc: two", "1-compile-stdio.txt", "because", "http://127.0.0.1:8010/builders/b/builds/4")
		if len(p.faults) > 0 {
			t.Error(p.faults)
		}
	})
}

// TestBuildMailSubject: the configured one, with properties.
func TestBuildMailSubject(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, reported(config.Report{
			To: []string{"team@example.com"}, Mode: []config.ReportMode{config.ModeAll}, Subject: "%(prop:buildername)s %(kw:result)s",
		}), withPost(p))
		r.start()
		r.want(r.build("b"), build.Success)
		pass(time.Second)
		mustEqual(t, "mails", subjects(p.letters()), []string{"team@example.com: b success"})
	})
}

// TestNoBuildMails: of builds that run again, of those of a terminal, and of no
// more than a bound at a time.
func TestNoBuildMails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := reported(config.Report{To: []string{"team@example.com"}, Mode: []config.ReportMode{config.ModeAll}})
		r := newRig(t, conf, withPost(p))
		r.fleet.on("compile", func(c *fakeCommand) (worker.Exit, error) {
			if c.env("BOTHY_ATTEMPT") == "1" {
				return loses(time.Second)(c)
			}
			return worker.Exit{}, nil
		})
		r.start()
		r.want(r.build("b"), build.Success)
		r.on(func(l *loop) { l.sessions["s"] = &session{} })
		r.want(r.submit(Submission{Builder: "b", Session: "s"})[0], build.Success)
		pass(time.Second)
		mustEqual(t, "mails", subjects(p.letters()), []string{"team@example.com: [Bothy] b build 2: success"})
		r.on(func(l *loop) {
			for i := range maxOpenMails {
				l.outbox.mails[int64(1<<40+i)] = &outMail{away: true}
			}
		})
		r.want(r.build("b"), build.Success)
		r.on(func(l *loop) {
			if n := len(l.outbox.mails); n != maxOpenMails {
				t.Errorf("%d mails wait", n)
			}
			clear(l.outbox.mails)
		})
	})
}

// FuzzPayload: whatever the outbox holds, a mail is made of it or it is refused.
func FuzzPayload(f *testing.F) {
	for _, v := range []any{
		buildMail{Build: mail.Build{Builder: "b", Number: 1, Result: "failure", Duration: time.Hour}, Subject: "x", Logs: true},
		mail.Worker{Name: "w", LastSeen: time.Unix(1, 0), Waiting: 3, Admin: "ana\r\nBcc: x"},
		[]int{1}, nil,
	} {
		data, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"build":{"Number":1e99}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c mail.Content
		if w, err := payload[mail.Worker](store.Mail{Payload: data}); err == nil {
			c = mail.WorkersMissing("T", time.Unix(1e9, 0).UTC(), []mail.Worker{w, w})
		} else if b, err := payload[buildMail](store.Mail{Payload: data}); err == nil {
			c = mail.BuildFinished("T", b.Build)
		} else {
			return
		}
		m := mail.Message{From: "a@b.example", To: []string{"c@d.example"}, MessageID: mail.NewMessageID("a@b.example"), Date: time.Unix(1e9, 0), Content: c}
		if _, err := m.Bytes(); err != nil {
			t.Error(err)
		}
	})
}
