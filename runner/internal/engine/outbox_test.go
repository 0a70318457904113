package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/mail"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// post is a relay in a test, over the lives of the master.
type post struct {
	mu     sync.Mutex
	answer func(try int, to string) mail.Outcome // nil: accepted
	data   func(to string)                       // called when the text of a message goes over the wire
	tries  int
	sent   []letter // accepted or uncertain
	faults []string
}

// letter is a message as it was handed over.
type letter struct {
	at          time.Time
	to, subject string
	id, body    string
}

func (p *post) Send(ctx context.Context, from string, to []string, msg []byte, o mail.SendOptions) ([]mail.Outcome, error) {
	p.mu.Lock()
	p.tries++
	try, answer := p.tries, p.answer
	p.mu.Unlock()
	out := mail.Outcome{Recipient: to[0], Status: mail.Accepted, Code: 250}
	if answer != nil {
		out = answer(try, to[0])
		out.Recipient = to[0]
	}
	if out.Status == mail.Accepted || out.Status == mail.Uncertain {
		if err := o.BeforeData(to); err != nil {
			return []mail.Outcome{{Recipient: to[0], Status: mail.Temporary, Text: err.Error()}}, err
		}
		if p.data != nil {
			p.data(to[0])
		}
		if ctx.Err() != nil {
			return []mail.Outcome{{Recipient: to[0], Status: mail.Uncertain, Text: ctx.Err().Error()}}, ctx.Err()
		}
		p.keep(from, to, msg)
	}
	return []mail.Outcome{out}, nil
}

func (p *post) keep(from string, to []string, msg []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := netmail.ReadMessage(strings.NewReader(string(msg)))
	if err != nil {
		p.faults = append(p.faults, err.Error())
		return
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		p.faults = append(p.faults, err.Error())
	}
	addressed, err := m.Header.AddressList("To")
	wanted, werr := netmail.ParseAddress(to[0])
	if err := errors.Join(err, werr); err != nil || len(addressed) != 1 || *addressed[0] != *wanted || len(to) != 1 || from != "bothy@localhost" {
		p.faults = append(p.faults, fmt.Sprintf("from %s to %v: %v", from, to, m.Header))
	}
	p.sent = append(p.sent, letter{time.Now(), to[0], m.Header.Get("Subject"), m.Header.Get("Message-Id"), strings.ReplaceAll(string(body), "=\r\n", "")})
}

func (p *post) letters() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func (p *post) set(answer func(int, string) mail.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// refuses answers everything the same.
func refuses(s mail.Status, code int, text string) func(int, string) mail.Outcome {
	return func(int, string) mail.Outcome { return mail.Outcome{Status: s, Code: code, Text: text} }
}

// withPost gives the engine a relay.
func withPost(p *post) func(*Options) {
	return func(o *Options) {
		o.Prepare = func(context.Context, *config.Config) (Prepared, error) {
			return Prepared{Mailer: func(context.Context) (Mailer, error) { return p, nil }}, nil
		}
	}
}

// watched makes remote workers whose loss is told after an hour.
func watchedWorkers(names ...string) *config.Config {
	c := oneBuilder(step("work", "work"))
	c.Workers = nil
	for _, n := range names {
		c.Workers = append(c.Workers, config.Worker{Name: n, Kind: config.WorkerRemote, Remote: config.RemoteWorker{
			MissingTimeout: time.Hour, NotifyOnMissing: []string{"bob@example.com"},
		}})
	}
	return c
}

// absent makes the workers of the next engines stay away.
func (r *rig) absent(more ...func(*Options)) {
	attach := r.fleet.attach
	r.opt = func(o *Options) {
		o.Attach = func(w config.Worker) (worker.Kind, error) {
			k, err := attach(w)
			k.(*fakeKind).away = make(chan struct{})
			return k, err
		}
		for _, f := range more {
			f(o)
		}
	}
}

func (r *rig) mails() []store.Mail {
	r.t.Helper()
	p, err := r.store.SelectMails(r.t.Context(), store.Select{Limit: store.NoLimit})
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Rows
}

func subjects(ls []letter) (all []string) {
	for _, l := range ls {
		all = append(all, l.to+": "+l.subject)
	}
	return all
}

// sorted is subjects of letters that are sent at the same time.
func sorted(ls []letter) []string {
	all := subjects(ls)
	slices.Sort(all)
	return all
}

// TestNeverConnected, scenario 14: a worker that never connects is reported
// once, an hour after the configuration first named it, also over restarts.
func TestNeverConnected(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.NotifyOnMissing = []string{"bob@example.com", "ann@example.com", "bob@example.com"}
		r := newRig(t, conf)
		r.absent(withPost(p))
		r.start()
		began := time.Now()
		k := r.build("b")
		pass(time.Hour - time.Second)
		if len(r.mails()) != 0 || r.w().State.Missing() {
			t.Error("reported too early")
		}
		pass(2 * time.Second)
		if len(r.mails()) != 2 || !r.w().State.Missing() {
			t.Errorf("%+v", r.mails())
		}
		pass(time.Minute)
		ls := p.letters()
		mustEqual(t, "mails", sorted(ls), []string{"ann@example.com: [Bothy] worker w missing", "bob@example.com: [Bothy] worker w missing"})
		for _, l := range ls {
			if d := l.at.Sub(began); d != time.Hour+time.Minute {
				t.Errorf("sent after %s", d)
			}
			mustContain(t, l.body, "has never connected since it was configured on 2000-01-01", "1 request", "http://127.0.0.1:8010/workers/w")
		}
		pass(100 * time.Hour)
		for range 3 {
			r.stop(Requeue)
			r.start()
			pass(100 * time.Hour)
		}
		if n := len(p.letters()); n != 2 {
			t.Errorf("%d mails, want 2", n)
		}
		for _, m := range r.mails() {
			if m.State != store.MailSent || m.Attempts != 1 || m.Done.IsZero() {
				t.Errorf("%+v", m)
			}
		}
		r.fleet.kind("w").comes()
		pass(time.Second)
		if row := r.row(k.ID); row.Result != build.Success {
			t.Errorf("%+v", row)
		}
	})
}

// TestOneMailPerLoss, scenario 15: each loss is reported once, with the time
// when the worker was really there last.
func TestOneMailPerLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w"), withPost(p))
		r.start()
		for i := range 2 {
			pass(time.Hour)
			back := r.fleet.kind("w").lose(true)
			settle()
			pass(30 * time.Minute)
			r.fleet.kind("w").comes() // not long enough
			pass(time.Minute)
			r.fleet.kind("w").lose(true)
			settle()
			last := time.Now()
			pass(3 * time.Hour)
			ls := p.letters()
			if len(ls) != i+1 {
				t.Fatalf("loss %d: %v", i, subjects(ls))
			}
			mustContain(t, ls[i].body, last.Format("2006-01-02 15:04:05"))
			if d := ls[i].at.Sub(last); d != time.Hour+time.Minute {
				t.Errorf("sent after %s", d)
			}
			back()
			settle()
		}
		if v := r.w(); v.State.Missing() || v.State.Loss.Phase != worker.LossNone {
			t.Errorf("%+v", v.State)
		}
	})
}

// TestLocalIsNeverMissing, scenario 16.
func TestLocalIsNeverMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := localBuilder(step("work", "true"))
		conf.Workers[0].Remote = config.RemoteWorker{MissingTimeout: time.Minute, NotifyOnMissing: []string{"bob@example.com"}}
		r := newRig(t, conf, withPost(p))
		r.start()
		pass(100 * time.Hour)
		r.control(worker.Stop)
		pass(100 * time.Hour)
		if len(r.mails()) != 0 || r.w().State.Loss.Phase != worker.LossNone {
			t.Errorf("%+v, %+v", r.mails(), r.w().State)
		}
	})
}

// TestRestartIsNoLoss: workers that were connected when the master ended have
// time to find the new one; one that does not is told of with the time when it
// was last there.
func TestRestartIsNoLoss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w", "x"), withPost(p))
		r.start()
		pass(10*time.Hour + 30*time.Second)
		last := time.Now()
		r.crash(false)
		pass(5 * time.Hour)
		r.absent(withPost(p))
		r.start()
		began := time.Now()
		pass(4 * time.Minute)
		r.fleet.kind("x").comes()
		pass(10 * time.Hour)
		ls := p.letters()
		mustEqual(t, "mails", subjects(ls), []string{"bob@example.com: [Bothy] worker w missing"})
		if d := ls[0].at.Sub(began); d != 6*time.Minute {
			t.Errorf("sent after %s", d)
		}
		mustContain(t, ls[0].body, last.Add(-30*time.Second).Format("2006-01-02 15:04:05"))
	})
}

// TestDigest: losses within a minute are one mail for each recipient.
func TestDigest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("a", "b", "c", "d")
		conf.Workers[1].Remote.NotifyOnMissing = []string{"ann@example.com", "bob@example.com"}
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		for i, secs := range []int{20, 30, 70, 0} { // at 0, 20, 50 and 120 s
			r.fleet.kind(string(rune('a' + i))).lose(true)
			pass(time.Duration(secs) * time.Second)
		}
		pass(2 * time.Hour)
		ls := p.letters()
		mustEqual(t, "mails", sorted(ls), []string{
			"ann@example.com: [Bothy] worker b missing", "bob@example.com: [Bothy] 3 workers missing", "bob@example.com: [Bothy] worker d missing",
		})
		mustContain(t, ls[0].body, "workers/a", "workers/b", "workers/c")
		if rows := r.mails(); len(rows) != 5 || rows[0].MessageID != rows[2].MessageID || rows[0].MessageID == rows[4].MessageID {
			t.Errorf("%+v", rows)
		}
	})
}

// TestNotifyOnReturn: only if it is wanted, and only after a report.
func TestNotifyOnReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		conf := watchedWorkers("w")
		conf.Workers[0].Remote.NotifyOnReturn = true
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		for _, away := range []time.Duration{time.Minute, 3 * time.Hour} {
			back := r.fleet.kind("w").lose(true)
			pass(away)
			back()
			pass(time.Hour)
		}
		ls := p.letters()
		mustEqual(t, "mails", subjects(ls), []string{"bob@example.com: [Bothy] worker w missing", "bob@example.com: [Bothy] worker w returned"})
		mustContain(t, ls[1].body, "away for 3 h")
	})
}

// TestRelayFaults: what a relay may do, and what becomes of the mail.
func TestRelayFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(try int, to string) mail.Outcome
		sent   int
		tries  int
		state  store.MailState
		err    string
	}{
		{"greylisted", func(try int, _ string) mail.Outcome {
			if try < 4 {
				return mail.Outcome{Status: mail.Temporary, Code: 451, Text: "try later"}
			}
			return mail.Outcome{Status: mail.Accepted}
		}, 1, 4, store.MailSent, ""},
		{"refused", refuses(mail.Permanent, 550, "no such user"), 0, 1, store.MailFailed, "550 no such user"},
		{"down", refuses(mail.Temporary, 0, "connection refused"), 0, 78, store.MailFailed, "given up after 78 attempts: connection refused"},
		{"cut after the dot", func(try int, _ string) mail.Outcome {
			if try == 1 {
				return mail.Outcome{Status: mail.Uncertain, Text: "connection reset"}
			}
			return mail.Outcome{Status: mail.Accepted}
		}, 2, 2, store.MailSent, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := &post{answer: tt.answer}
				r := newRig(t, watchedWorkers("w"), withPost(p))
				r.start()
				settle()
				r.fleet.kind("w").lose(true)
				pass(100 * time.Hour)
				ls := p.letters()
				m := r.mails()[0]
				if len(ls) != tt.sent || p.tries != tt.tries || m.State != tt.state || m.Error != tt.err || m.Attempts != tt.tries {
					t.Errorf("%d sent, %d tries, %+v", len(ls), p.tries, m)
				}
				for _, l := range ls {
					if l.id == "" || l.id != m.MessageID {
						t.Errorf("Message-ID %q, want %q", l.id, m.MessageID)
					}
				}
				if len(p.faults) > 0 {
					t.Error(p.faults)
				}
			})
		})
	}
}

// TestUncertainIsShown: between the tries a mail that may have arrived is told
// apart, also when the relay is down at the next.
func TestUncertainIsShown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{answer: func(try int, _ string) mail.Outcome {
			return []mail.Outcome{{Status: mail.Uncertain, Text: "reset"}, {Status: mail.Temporary, Text: "down"}, {Status: mail.Accepted}}[try-1]
		}}
		r := newRig(t, watchedWorkers("w"), withPost(p))
		r.start()
		settle()
		events := r.watch()
		r.fleet.kind("w").lose(true)
		pass(time.Hour + time.Minute)
		for i, want := range []string{"uncertain reset", "uncertain down", "sent "} {
			if m := r.mails()[0]; fmt.Sprint(m.State, " ", m.Error) != want {
				t.Errorf("after try %d: %s %s, want %s", i+1, m.State, m.Error, want)
			}
			pass(mail.Backoff(i + 1))
		}
		var told []string
		for _, ev := range events() {
			if ev.Kind == MailChanged {
				told = append(told, ev.Mail.State.String())
			}
		}
		mustEqual(t, "events", told, []string{"queued", "sending", "uncertain", "uncertain", "sending", "sent"})
	})
}

// TestMasterEndsWhileSending: the next one cannot know whether it arrived, and
// sends it again under the same Message-ID.
func TestMasterEndsWhileSending(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w"))
		r.absent(withPost(p))
		crashed := make(chan struct{})
		p.data = func(string) { <-crashed }
		r.start()
		pass(time.Hour + time.Minute)
		if m := r.mails()[0]; m.State != store.MailSending || m.MessageID == "" {
			t.Errorf("%+v", m)
		}
		id := r.mails()[0].MessageID
		go func() {
			time.Sleep(time.Minute)
			close(crashed)
		}()
		r.crash(false)
		p.data = nil
		r.start()
		pass(time.Hour)
		if m, ls := r.mails()[0], p.letters(); m.State != store.MailSent || len(ls) != 1 || ls[0].id != id {
			t.Errorf("%+v, %+v", m, ls)
		}
	})
}

// TestRelayDownOverRestart: what waits is sent by the next master.
func TestRelayDownOverRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{answer: refuses(mail.Temporary, 0, "connection refused")}
		r := newRig(t, watchedWorkers("w"))
		r.absent(withPost(p))
		r.start()
		pass(2 * time.Hour)
		for range 3 {
			r.crash(false)
			r.start()
			pass(2 * time.Hour)
		}
		p.set(nil)
		pass(time.Hour)
		mustEqual(t, "mails", subjects(p.letters()), []string{"bob@example.com: [Bothy] worker w missing"})
	})
}

// TestSlowRelay: one recipient's tarpit does not hold up the others, nor builds,
// nor for long the end of the master.
func TestSlowRelay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		p.data = func(to string) {
			if strings.HasPrefix(to, "slow") {
				time.Sleep(20 * time.Minute)
			}
		}
		conf := watchedWorkers("w", "x")
		conf.Workers[0].Remote.NotifyOnMissing = []string{"a@example.com", "b@example.com", "slow@example.com"}
		r := newRig(t, conf, withPost(p))
		r.start()
		settle()
		r.fleet.kind("w").lose(true)
		pass(time.Hour + time.Minute + time.Second)
		mustEqual(t, "mails", sorted(p.letters()), []string{"a@example.com: [Bothy] worker w missing", "b@example.com: [Bothy] worker w missing"})
		r.want(r.build("b"), build.Success)
		began := time.Now()
		r.e.Stop(AtOnce)
		for closed := false; !closed; pass(time.Second) {
			closed = !r.e.post(func(*loop) {})
		}
		if d := time.Since(began); d > mailPatience+2*time.Second {
			t.Errorf("the end took %s", d)
		}
	})
}

// TestDegradedSendsNothing: a mail goes out only when it is durable that it does.
func TestDegradedSendsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{}
		r := newRig(t, watchedWorkers("w"))
		r.absent(withPost(p))
		r.start()
		pass(time.Hour + 30*time.Second)
		r.disk.fail(errNoDisk)
		go r.e.Submit(context.Background(), Submission{Builder: "b"})
		pass(time.Hour)
		if n := len(p.letters()); n != 0 {
			t.Errorf("%d mails", n)
		}
		r.disk.fail(nil)
		pass(2 * time.Hour)
		if n := len(p.letters()); n != 1 {
			t.Errorf("%d mails", n)
		}
	})
}

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

// TestNoMailer: mails wait for a master that can send them.
func TestNoMailer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, watchedWorkers("w"))
		r.absent()
		r.start()
		pass(2 * time.Hour)
		if m := r.mails(); len(m) != 1 || m[0].State != store.MailQueued {
			t.Errorf("%+v", m)
		}
		r.stop(Drain)
		p := &post{}
		r.opt = func(o *Options) {
			o.Prepare = func(context.Context, *config.Config) (Prepared, error) {
				return Prepared{Mailer: func(context.Context) (Mailer, error) {
					if p.tries++; p.tries < 3 {
						return nil, errors.New("the password cannot be had")
					}
					return p, nil
				}}, nil
			}
		}
		r.start()
		pass(time.Second)
		if m := r.mails()[0]; m.Error != "the password cannot be had" {
			t.Errorf("%+v", m)
		}
		pass(time.Hour)
		if n := len(p.letters()); n != 1 {
			t.Errorf("%d mails", n)
		}
	})
}
