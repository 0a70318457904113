package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"bothy/mail"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

const (
	// tailLines is how many lines of a failed step's log are in a mail.
	tailLines = 50
	// maxAttachment bounds one attached log, in bytes; its end is left out.
	maxAttachment = 2 << 20
	// maxAttachments bounds their number.
	maxAttachments = 10
)

// buildMail is what the outbox keeps of a mail about a build. Steps and logs
// are read when it is sent.
type buildMail struct {
	Build   mail.Build `json:"build"`
	Subject string     `json:"subject,omitempty"`
	Logs    bool       `json:"logs,omitempty"` // attach those of failed steps
}

// reportBuild queues the mails that the configuration wants about a finished
// build, in the transaction of its end. Builds that a terminal waits for are
// told there.
func (l *loop) reportBuild(r *request, b *store.Build) {
	if l.opt.Foreground || b.Result == build.Retry {
		return
	}
	before := l.resultBefore(b)
	l.lastResult[b.Builder] = b.Result
	conf := l.confOf(r)
	if conf == nil || r.row.Session != "" {
		return
	}
	for i := range l.conf.Reports {
		rep := &l.conf.Reports[i]
		if rep.Kind != config.ReportMail || !rep.Wants(b.Builder, conf.Tags, b.Result, before) {
			continue
		}
		said, err := json.Marshal(l.buildMail(r, b, before, rep))
		if err != nil {
			l.log.Error("mail cannot be written", "build", b.ID, "err", err)
			continue
		}
		now := time.Now()
		for _, to := range rep.Recipients(interested(b.Properties)) {
			l.queueMail(store.Mail{
				Key: fmt.Sprintf("build/%d/%d/%s", b.ID, i, to), Kind: mailBuild, Build: b.ID, Worker: b.Worker, Recipient: to,
				Created: now, NotBefore: now, Payload: said,
			})
		}
	}
}

// resultBefore is the result of the builder's build before this one that did
// not end as RETRY, None if there is none.
func (l *loop) resultBefore(b *store.Build) build.Result {
	if last, ok := l.lastResult[b.Builder]; ok {
		return last
	}
	if !slices.ContainsFunc(l.conf.Reports, func(r config.Report) bool { return r.Kind == config.ReportMail }) {
		return build.None
	}
	list, err := l.opt.Store.Builds(context.Background(), store.Filter{
		Builder: b.Builder, Limit: 1,
		Results: []build.Result{build.Success, build.Warnings, build.Failure, build.Skipped, build.Exception, build.Cancelled},
	})
	if err != nil {
		l.log.Warn("the build before is not known", "builder", b.Builder, "err", err)
	}
	if len(list) == 0 || list[0].ID == b.ID {
		return build.None
	}
	return list[0].Result
}

func (l *loop) buildMail(r *request, b *store.Build, before build.Result, rep *config.Report) buildMail {
	m := buildMail{Logs: rep.AddLogs, Build: mail.Build{
		Builder: b.Builder, Number: int(b.Number), Result: b.Result.String(), Worker: b.Worker,
		Reason: r.row.Reason, Owner: strings.Join(interested(b.Properties), ", "), Text: b.Text,
		Duration: b.Completed.Sub(b.Started), URL: buildURL(l.conf, b.Builder, b.Number),
	}}
	if before != build.None {
		m.Build.Previous = before.String()
	}
	if rep.Subject != "" {
		kw := map[string]any{"result": b.Result.String(), "builder": b.Builder, "number": b.Number}
		subject, err := build.Expand(rep.Subject, build.Env{Props: b.Properties, Kw: kw})
		if err != nil {
			l.log.Warn("a report's subject cannot be used", "subject", rep.Subject, "err", err)
		} else {
			m.Subject = subject
		}
	}
	return m
}

// interested are the people that a build's properties name.
func interested(p build.Properties) (users []string) {
	add := func(v any) {
		if s, ok := v.(string); ok && s != "" && !slices.Contains(users, s) {
			users = append(users, s)
		}
	}
	add(p["owner"].Value)
	switch list := p["owners"].Value.(type) {
	case []string:
		for _, s := range list {
			add(s)
		}
	case []any:
		for _, s := range list {
			add(s)
		}
	default:
		add(list)
	}
	return users
}

// content is what the message says.
func (d *delivery) content(ctx context.Context) (mail.Content, error) {
	now := time.Now()
	if d.rows[0].Kind == mailBuild {
		m, err := payload[buildMail](d.rows[0])
		if err != nil {
			return mail.Content{}, err
		}
		attached := d.steps(ctx, &m)
		c := mail.BuildFinished(d.conf.Title, m.Build)
		c.Subject = cmp.Or(m.Subject, c.Subject)
		c.Attachments = attached
		return c, nil
	}
	workers := make([]mail.Worker, len(d.rows))
	for i, row := range d.rows {
		var err error
		if workers[i], err = payload[mail.Worker](row); err != nil {
			return mail.Content{}, err
		}
	}
	if d.rows[0].Kind == mailReturn {
		return mail.WorkersReturned(d.conf.Title, now, workers), nil
	}
	return mail.WorkersMissing(d.conf.Title, now, workers), nil
}

// maxPayload bounds what the outbox keeps of a mail, in bytes.
const maxPayload = 1 << 20

// payload reads what the outbox kept of a mail.
func payload[T any](row store.Mail) (T, error) {
	var v T
	if len(row.Payload) > maxPayload {
		return v, fmt.Errorf("read queued mail %d: %d bytes, at most %d are taken", row.ID, len(row.Payload), maxPayload)
	}
	if err := json.Unmarshal(row.Payload, &v); err != nil {
		return v, fmt.Errorf("read queued mail %d: %w", row.ID, err)
	}
	return v, nil
}

// steps adds what can still be read of the build's steps and logs: retention
// may have been faster than the relay.
func (d *delivery) steps(ctx context.Context, m *buildMail) (attached []mail.Attachment) {
	id := d.rows[0].Build
	rows, err := d.e.opt.Store.Steps(ctx, id)
	list, lerr := d.e.opt.Store.Logs(ctx, id)
	if err != nil || lerr != nil {
		d.e.log.Warn("a mail goes without its steps", "build", id, "err", cmp.Or(err, lerr))
		return nil
	}
	for _, s := range rows {
		if s.Hidden {
			continue
		}
		m.Build.Steps = append(m.Build.Steps, mail.Step{Name: s.Name, Result: s.Result.String(), Text: s.Text, Duration: s.Completed.Sub(s.Started)})
		if s.Result != build.Failure && s.Result != build.Exception {
			continue
		}
		for _, lg := range list {
			if lg.Step != s.Number || !lg.Complete {
				continue
			}
			if len(m.Build.Log.Lines) == 0 && lg.Name == "stdio" {
				m.Build.Log = mail.LogTail{Step: s.Name, Name: lg.Name, Lines: d.tail(lg)}
			}
			if m.Logs && len(attached) < maxAttachments {
				attached = append(attached, mail.Attachment{Name: fmt.Sprintf("%d-%s-%s.txt", s.Number, s.Name, lg.Name), Data: d.text(ctx, lg)})
			}
		}
	}
	return attached
}

// tail is the end of a log.
func (d *delivery) tail(lg store.Log) (lines []string) {
	r, err := d.e.opt.Logs.Reader(lg.ID, logs.Ref(lg.Ref))
	if err != nil {
		return nil
	}
	defer r.Close()
	last, err := r.Tail(tailLines)
	if err != nil {
		return nil
	}
	for _, line := range last {
		lines = append(lines, string(line.Text))
	}
	return lines
}

// text is a log as far as it fits into a mail.
func (d *delivery) text(ctx context.Context, lg store.Log) []byte {
	r, err := d.e.opt.Logs.Reader(lg.ID, logs.Ref(lg.Ref))
	if err != nil {
		return []byte(err.Error())
	}
	defer r.Close()
	w := &limited{left: maxAttachment}
	if _, err := r.WriteRaw(ctx, w, true); err != nil && w.left > 0 {
		return append(w.data, err.Error()...)
	}
	if w.left == 0 {
		w.data = append(w.data, "\n… the rest is left out\n"...)
	}
	return w.data
}

// limited takes so many bytes and refuses what follows.
type limited struct {
	data []byte
	left int
}

func (w *limited) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.data = append(w.data, p[:n]...)
	w.left -= n
	if n < len(p) {
		return n, fmt.Errorf("more than %d bytes", maxAttachment)
	}
	return n, nil
}
