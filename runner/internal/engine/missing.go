package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"bothy/mail"
	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// digestWindow is how long a mail about a worker is held for others that go
// with it: one network that fails is one mail.
const digestWindow = 60 * time.Second

// Kinds of mail.
const (
	mailMissing = "missing"
	mailReturn  = "return"
	mailBuild   = "build"
)

// reportMissing queues one mail per recipient for the loss of a worker, in the
// transaction that says that it was reported.
func (l *loop) reportMissing(w *workerState) {
	about := l.mailWorker(w)
	about.Waiting = l.waitingFor(w)
	l.queueWorkerMails(w, mailMissing, w.state.Loss, about)
}

// reportReturn queues the mails that a worker is back, if they are wanted.
func (l *loop) reportReturn(w *workerState, was worker.Loss) {
	if !w.conf.Remote.NotifyOnReturn {
		return
	}
	about := l.mailWorker(w)
	about.Returned, about.LastSeen = w.state.LinkSince, w.before
	l.queueWorkerMails(w, mailReturn, was, about)
}

func (l *loop) queueWorkerMails(w *workerState, kind string, loss worker.Loss, about mail.Worker) {
	payload, err := json.Marshal(about)
	if err != nil {
		l.log.Error("mail cannot be written", "worker", w.name, "err", err)
		return
	}
	now := time.Now()
	to := slices.Clone(w.conf.Remote.NotifyOnMissing)
	slices.Sort(to)
	for _, recipient := range slices.Compact(to) {
		l.queueMail(store.Mail{
			Key:  fmt.Sprintf("%s/%s/%d/%s", kind, w.name, loss.Since.UnixNano(), recipient),
			Kind: kind, Worker: w.name, Recipient: recipient,
			Created: now, NotBefore: now.Add(digestWindow), Payload: payload,
		})
	}
}

// mailWorker is the worker as a mail tells of it.
func (l *loop) mailWorker(w *workerState) mail.Worker {
	text := func(key string) string {
		s, _ := w.info[key].(string)
		return s
	}
	return mail.Worker{
		Name: w.name, LastSeen: w.row.LastSeen, Configured: w.row.Configured,
		Address: cmp.Or(text("address"), text("access_uri")), Version: text("version"), Admin: text("admin"),
		URL: workerURL(l.conf, w.name),
	}
}

// waitingFor counts the pending requests that the worker could take.
func (l *loop) waitingFor(w *workerState) int {
	takes := map[string]bool{}
	n := 0
	for _, r := range l.requests {
		if r.running != nil || r.row.Worker != "" && r.row.Worker != w.name {
			continue
		}
		takesIt, known := takes[r.row.Builder]
		if !known {
			takesIt = r.row.Builder == Command || slices.Contains(l.conf.WorkersOf(r.row.Builder), w.name)
			takes[r.row.Builder] = takesIt
		}
		if takesIt {
			n++
		}
	}
	return n
}

// workerURL and buildURL are where people find a worker and a build.
func workerURL(conf *config.Config, name string) string { return conf.URL + "workers/" + name }

func buildURL(conf *config.Config, builder string, number int64) string {
	return fmt.Sprintf("%sbuilders/%s/builds/%d", conf.URL, builder, number)
}
