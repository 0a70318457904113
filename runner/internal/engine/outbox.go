package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bothy/mail"
	"bothy/runner/config"
	"bothy/runner/internal/store"
)

// Mailer hands a message to a relay; [mail.Relay] is one.
type Mailer interface {
	Send(ctx context.Context, from string, to []string, msg []byte, o mail.SendOptions) ([]mail.Outcome, error)
}

const (
	// maxDeliveries is how many mails are on their way at the same time: a relay
	// that is slow with one must not hold up all.
	maxDeliveries = 4
	// maxOpenMails bounds the mails about builds that wait for a relay.
	maxOpenMails = 10_000
	// mailPatience is how long a master that ends waits for mails on their way.
	mailPatience = 5 * time.Second
)

// outbox holds the mails that are not settled. Each row is one recipient.
type outbox struct {
	mails    map[int64]*outMail
	next     int64 // id
	timer    *deadline
	busy     int  // deliveries
	hasty    bool // the master ends and waits no more
	overfull bool // said once
}

type outMail struct {
	row  store.Mail
	away bool // it must not be sent now, or a delivery has it
}

// takeUpMails continues what an earlier master left. One that was being sent
// may have arrived.
func (l *loop) takeUpMails(rec store.Recovered) {
	l.outbox = outbox{mails: map[int64]*outMail{}, next: max(1, rec.NextMail)}
	now := time.Now()
	for _, row := range rec.Mails {
		if latest := now.Add(max(digestWindow, mail.Backoff(row.Attempts))); row.NextTry.After(latest) {
			row.NextTry = latest // the clock was set back
		}
		if row.State == store.MailSending && !l.opt.Foreground {
			row.State, row.Error = store.MailUncertain, "the master ended while it was being sent"
			l.batch.PutMail(&row)
		}
		l.outbox.mails[row.ID] = &outMail{row: row}
	}
	l.mailLater()
}

// queueMail puts a mail into the outbox, with what caused it.
func (l *loop) queueMail(m store.Mail) {
	if l.opt.Foreground {
		return
	}
	o := &l.outbox
	if m.Kind == mailBuild && len(o.mails) >= maxOpenMails {
		if !o.overfull {
			l.log.Error("no more mails about builds until some of those that wait are sent", "waiting", len(o.mails))
		}
		o.overfull = true
		return
	}
	o.overfull = false
	m.ID = o.next
	o.next++
	m.NextTry = m.NotBefore
	out := &outMail{row: m, away: true} // until it is on disk, and what it tells of
	o.mails[m.ID] = out
	l.putMail(out)
	l.effect(func() {
		l.e.post(func(l *loop) {
			out.away = false
			l.mailLater()
		})
	})
}

// putMail records a mail as it is now, and tells of it.
func (l *loop) putMail(m *outMail) {
	row := m.row
	l.batch.PutMail(&row)
	l.publish(Event{Kind: MailChanged, Mail: &row, What: row.State.String()})
}

// mailLater sets the timer for the next mail that is due.
func (l *loop) mailLater() {
	o := &l.outbox
	l.cancelTimer(o.timer)
	o.timer = nil
	if l.opt.Foreground || l.stopping && len(l.builds) == 0 || o.busy >= maxDeliveries {
		return
	}
	var at time.Time
	for _, m := range o.mails {
		if !m.away && (at.IsZero() || m.row.NextTry.Before(at)) {
			at = m.row.NextTry
		}
	}
	if !at.IsZero() {
		o.timer = l.in(time.Until(at), func(l *loop) {
			l.outbox.timer = nil
			l.sendMails()
		})
	}
}

// sendMails begins to deliver what is due.
func (l *loop) sendMails() {
	o := &l.outbox
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(o.mails)) {
		if m := o.mails[id]; o.busy < maxDeliveries && !m.away && !m.row.NextTry.After(now) && l.sender() != nil {
			l.send(l.digest(m))
		}
	}
	if l.sender() != nil {
		l.mailLater()
	}
}

func (l *loop) sender() func(context.Context) (Mailer, error) { return l.prepared.Mailer }

// digest is the mail with those that go with it: what tells the same recipient
// of other workers. What was tried together is tried together again, under the
// same Message-ID.
func (l *loop) digest(first *outMail) []*outMail {
	all := []*outMail{first}
	if first.row.Kind == mailBuild {
		return all
	}
	for _, id := range slices.Sorted(maps.Keys(l.outbox.mails)) {
		m := l.outbox.mails[id]
		a, b := &m.row, &first.row
		if m != first && !m.away && a.Kind == b.Kind && a.Recipient == b.Recipient && a.MessageID == b.MessageID {
			all = append(all, m)
		}
	}
	return all
}

// send sends mails as one message, in the background.
func (l *loop) send(mails []*outMail) {
	l.outbox.busy++
	d := &delivery{e: l.e, conf: l.conf, mailer: l.sender(), id: cmp.Or(mails[0].row.MessageID, mail.NewMessageID(l.conf.Mail.From)), mails: mails}
	for _, m := range mails {
		m.away = true
		d.rows = append(d.rows, m.row)
	}
	l.e.group.Add(1)
	go func() {
		defer l.e.group.Done()
		out := d.run(l.e.life)
		l.e.post(func(l *loop) { l.delivered(d, out) })
	}()
}

// delivered records what became of a message.
func (l *loop) delivered(d *delivery, out mail.Outcome) {
	l.outbox.busy--
	now := time.Now()
	for _, m := range d.mails {
		m.away = false
		row := &m.row
		row.Attempts++
		row.Error = outcomeText(out)
		switch out.Status {
		case mail.Accepted:
			row.State, row.Done, row.Error = store.MailSent, now, ""
		case mail.Permanent:
			row.State, row.Done = store.MailFailed, now
		case mail.Uncertain:
			row.State = store.MailUncertain
		default:
			if row.State == store.MailSending {
				row.State = store.MailQueued
			}
			if d.uncertain {
				row.State = store.MailUncertain // an earlier try may have arrived
			}
		}
		if row.Done.IsZero() {
			row.NextTry = now.Add(mail.Backoff(row.Attempts))
			if now.Sub(row.Created) >= mail.GiveUp {
				row.State, row.Done = store.MailFailed, now
				row.Error = fmt.Sprintf("given up after %d attempts: %s", row.Attempts, row.Error)
			}
		}
		if !row.Done.IsZero() {
			delete(l.outbox.mails, row.ID)
		}
		l.putMail(m)
		switch row.State {
		case store.MailFailed:
			l.log.Error("mail not sent", "to", row.Recipient, "about", cmp.Or(row.Worker, fmt.Sprint("build ", row.Build)), "err", row.Error)
		case store.MailSent:
		default:
			l.log.Warn("mail not sent yet", "to", row.Recipient, "next", row.NextTry, "err", row.Error)
		}
	}
	l.mailLater()
}

func outcomeText(o mail.Outcome) string {
	if o.Code != 0 {
		return fmt.Sprintf("%d %s", o.Code, o.Text)
	}
	return o.Text
}

// delivery is one message on its way. Its goroutine uses all but mails.
type delivery struct {
	e         *Engine
	conf      *config.Config
	mailer    func(context.Context) (Mailer, error)
	id        string // the Message-ID
	rows      []store.Mail
	mails     []*outMail
	uncertain bool // it may have arrived at an earlier try
}

// run sends the message and says what became of it.
func (d *delivery) run(ctx context.Context) mail.Outcome {
	d.uncertain = d.rows[0].State == store.MailUncertain
	to := d.rows[0].Recipient
	fail := func(err error) mail.Outcome {
		return mail.Outcome{Recipient: to, Status: mail.Temporary, Text: err.Error()}
	}
	content, err := d.content(ctx)
	if err != nil {
		return fail(err)
	}
	c := d.conf.Mail
	m := mail.Message{From: c.From, ReplyTo: c.ReplyTo, To: []string{to}, MessageID: d.id, Date: time.Now(), Content: content}
	msg, err := m.Bytes()
	if err != nil {
		return mail.Outcome{Recipient: to, Status: mail.Permanent, Text: err.Error()}
	}
	relay, err := d.mailer(ctx)
	if err != nil {
		return fail(err)
	}
	outs, err := relay.Send(ctx, c.From, []string{to}, msg, mail.SendOptions{BeforeData: func([]string) error { return d.sending(ctx) }})
	if len(outs) != 1 {
		return fail(errors.Join(err, fmt.Errorf("the relay said nothing about %s", to)))
	}
	return outs[0]
}

// sending makes it durable that the message is about to be sent: should the
// master end now, the next one knows that it may have arrived.
func (d *delivery) sending(ctx context.Context) error {
	return d.e.record(ctx, func(l *loop) error {
		if l.degraded != nil {
			return fmt.Errorf("%w: %w", ErrDegraded, l.degraded)
		}
		for _, m := range d.mails {
			m.row.State, m.row.MessageID = store.MailSending, d.id
			l.putMail(m)
		}
		return nil
	})
}
