package store

import "fmt"

const putMail = `INSERT INTO mails (id, key, kind, worker, build, recipient, created, not_before, next_try, done, state,
	attempts, message_id, error, payload)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET not_before = excluded.not_before, next_try = excluded.next_try, done = excluded.done,
	state = excluded.state, attempts = excluded.attempts, message_id = excluded.message_id, error = excluded.error,
	payload = excluded.payload
	WHERE mails.key = excluded.key AND mails.kind = excluded.kind AND mails.worker = excluded.worker
		AND mails.build = excluded.build AND mails.recipient = excluded.recipient AND mails.created = excluded.created
		AND (mails.done = 0 OR mails.done = excluded.done AND mails.state = excluded.state)
	ON CONFLICT (key) DO NOTHING`

func (w *writer) mail(r *Mail) error {
	n, err := w.s.exec1(w.ctx, putMail, r.ID, r.Key, r.Kind, r.Worker, r.Build, r.Recipient, nanos(r.Created), nanos(r.NotBefore),
		nanos(r.NextTry), nanos(r.Done), int(r.State), r.Attempts, r.MessageID, r.Error, r.Payload)
	if err != nil {
		return fmt.Errorf("mail %d: %w", r.ID, err)
	}
	if n == 0 {
		return w.refuse("mail", r.ID, `SELECT 'mail ' || id || ' is ' || key || ' to ' || recipient || iif(done = 0, '', ', settled as ' || state)
			FROM mails WHERE id = ? OR key = ? ORDER BY id = ? DESC`, r.ID, r.Key, r.ID)
	}
	return nil
}

// putEntry changes nothing of an entry that is there; a batch may be committed
// again.
const putEntry = `INSERT INTO journal (id, time, kind, name, ref, build, what, who, reason, detail)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET time = excluded.time
	WHERE journal.time = excluded.time AND journal.kind = excluded.kind AND journal.name = excluded.name
		AND journal.ref = excluded.ref AND journal.build = excluded.build AND journal.what = excluded.what
		AND journal.who = excluded.who AND journal.reason = excluded.reason AND journal.detail IS excluded.detail`

func (w *writer) entry(r *Entry) error {
	n, err := w.s.exec1(w.ctx, putEntry, r.ID, nanos(r.Time), r.Kind, r.Name, r.Ref, r.Build, r.What, r.Who, r.Reason, r.Detail)
	if err != nil {
		return fmt.Errorf("journal entry %d: %w", r.ID, err)
	}
	if n == 0 {
		return w.refuse("journal entry", r.ID, `SELECT 'is of ' || kind || ' ' || name || ': ' || what FROM journal WHERE id = ?`, r.ID)
	}
	return nil
}
