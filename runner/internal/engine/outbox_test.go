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
	r.fleet.absent = true
	r.opt = func(o *Options) {
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

// TestMailAfterTheClockWasSetBack: a mail is not kept until the clock gets there
// again.
func TestMailAfterTheClockWasSetBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := &post{answer: refuses(mail.Temporary, 0, "connection refused")}
		r := newRig(t, watchedWorkers("w"))
		r.absent(withPost(p))
		r.start()
		pass(2 * time.Hour)
		m := r.mails()[0]
		r.crash(false)
		r.open()
		m.NextTry = m.NextTry.Add(1000 * time.Hour)
		later := store.NewBatch()
		later.PutMail(&m)
		if err := r.store.Commit(later); err != nil {
			t.Fatal(err)
		}
		r.release()
		p.set(nil)
		r.start()
		pass(2 * time.Hour)
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
