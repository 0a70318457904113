package web

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"bothy/mail"
	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

func (s *Web) workerPages() []page {
	many, one := map[string]act{}, map[string]act{}
	for _, a := range worker.Actions() {
		many[string(a)] = act{config.Operator, func(c *call, f url.Values) (string, error) { return c.controlWorkers(a, f) }}
		one[string(a)] = act{config.Operator, func(c *call, f url.Values) (string, error) { return c.controlOne(a, f) }}
	}
	many["testmail"] = act{config.Operator, testMail}
	return []page{{
		path: "/workers", name: "workers", nav: "Workers", key: "w", acts: many,
		show: func(c *call) (any, error) { return c.workers() },
	}, {
		path: "/workers/{worker}", name: "worker", acts: one,
		show: func(c *call) (any, error) { return c.workerPage() },
	}}
}

// workersPerPage is how many workers one page lists.
const workersPerPage = 100

// workersPage is the list of workers.
type workersPage struct {
	*call
	Query string
	Gone  bool // also those that are no longer configured
	Total int  // that the search finds
	All   int
	From  int
	Rows  []workerLine
}

// workerLine is a row of the list.
type workerLine struct {
	workerRow
	Running []store.ListedBuild
	Recent  []store.Build
}

// Heading is the title of the page.
func (*workersPage) Heading() string { return "Workers" }

// Actions are all that can be done to workers.
func (*workersPage) Actions() []worker.Action { return worker.Actions() }

// Next is where the next page begins, 0 if there is none.
func (p *workersPage) Next() int {
	if p.From+len(p.Rows) < p.Total {
		return p.From + len(p.Rows)
	}
	return 0
}

func (c *call) workers() (*workersPage, error) {
	q := c.r.URL.Query()
	find, err := c.sought()
	if err != nil {
		return nil, err
	}
	p := &workersPage{call: c, Query: find, Gone: q.Get("gone") != "", From: number(q.Get("from"))}
	var rows []workerRow
	views := c.s.Engine.Workers()
	for _, v := range views {
		rows = append(rows, c.workerRow(v, store.Worker{}))
	}
	p.All = len(rows)
	if p.Gone {
		for _, w := range c.s.Engine.KnownWorkers() {
			if !slices.ContainsFunc(views, func(v *engine.WorkerView) bool { return v.ID == w.ID }) {
				rows = append(rows, c.workerRow(nil, w))
			}
		}
	}
	if p.Query != "" {
		words := strings.Fields(strings.ToLower(p.Query))
		rows = slices.DeleteFunc(rows, func(w workerRow) bool { return !w.fits(words) })
	}
	p.Total = len(rows)
	rows = rows[min(p.From, len(rows)):]
	rows = rows[:min(len(rows), workersPerPage)]
	running, err := c.runningBuilds(rows)
	if err != nil {
		return nil, err
	}
	for _, w := range rows {
		l := workerLine{workerRow: w}
		for _, id := range w.Builds {
			if b, ok := running[id]; ok {
				l.Running = append(l.Running, b)
			}
		}
		const recent = 6
		if l.Recent, err = c.s.Store.Builds(c.ctx(), store.Filter{Worker: w.Name, Limit: recent + w.Load}); err != nil {
			return nil, err
		}
		l.Recent = slices.DeleteFunc(l.Recent, func(b store.Build) bool { return b.Completed.IsZero() })
		l.Recent = l.Recent[:min(len(l.Recent), recent)]
		p.Rows = append(p.Rows, l)
	}
	return p, nil
}

// fits reports whether all words, in lower case, are in what the list shows of
// the worker.
func (w *workerRow) fits(words []string) bool {
	text := []string{w.Name, w.Kind, w.System(), w.Release(), w.Address()}
	for _, m := range w.State.Marks {
		text = append(text, m.Word, m.Reason, m.By)
	}
	for _, p := range w.Properties() {
		text = append(text, p.Name+"="+p.Value)
	}
	all := strings.ToLower(strings.Join(text, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(all, word) })
}

// runningBuilds are the builds of the rows by their ids.
func (c *call) runningBuilds(rows []workerRow) (map[int64]store.ListedBuild, error) {
	byID := map[int64]store.ListedBuild{}
	if !slices.ContainsFunc(rows, func(w workerRow) bool { return w.Load > 0 }) {
		return byID, nil
	}
	const most = 1000
	p, err := c.s.Store.SelectBuilds(c.ctx(), store.Select{
		Where: []store.Cond{{Field: "complete", Op: store.Eq, Values: []any{false}}}, Limit: most,
	})
	for _, b := range p.Rows {
		byID[b.ID] = b
	}
	return byID, err
}

// controlTime bounds how long an action may take that waits for something to
// end; it goes on without anybody waiting.
const controlTime = 2 * time.Minute

// controlWorkers does something to each of the workers that a form names, at the
// same time, and says what came of it.
func (c *call) controlWorkers(a worker.Action, f url.Values) (string, error) {
	names := slices.Compact(slices.Sorted(slices.Values(f["worker"])))
	if len(names) == 0 {
		return "", badRequest("no worker is chosen")
	}
	const most = 1000
	if len(names) > most {
		return "", badRequest("%d workers are chosen; at most %d go at once", len(names), most)
	}
	ctx, cancel := context.WithTimeout(c.ctx(), controlTime)
	defer cancel()
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = c.s.Engine.ControlWorker(ctx, name, a, c.Who.Name, f.Get("reason")) })
	}
	all.Wait()
	var did, wrong []string
	var first error
	for i, err := range errs {
		if err == nil {
			did = append(did, names[i])
			continue
		}
		if first == nil {
			first = err
		}
		_, text, _ := statusOf(err)
		wrong = append(wrong, text)
	}
	switch {
	case len(names) == 1 && first != nil:
		return "", first
	case len(did) == 0:
		return "", conflict("%s", someOf(wrong, "; "))
	case len(wrong) > 0:
		return didText(a, someOf(did, ", ")) + ". Not done: " + someOf(wrong, "; "), nil
	}
	return didText(a, someOf(did, ", ")), nil
}

// someOf joins the first of many.
func someOf(all []string, with string) string {
	const most = 5
	if len(all) > most+1 {
		return strings.Join(all[:most], with) + " and " + count(len(all)-most, "other")
	}
	return strings.Join(all, with)
}

// Mails are the last ones about workers that are missing or back.
func (p *workersPage) Mails() ([]store.Mail, error) { return p.s.mailsAbout(p.call, "", workerMails) }

// Recipients are those whom the configuration tells of missing workers.
func (p *workersPage) Recipients() []string {
	var all []string
	for _, v := range p.s.Engine.Workers() {
		if v.Conf != nil {
			all = append(all, v.Conf.Remote.NotifyOnMissing...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mailTime bounds a test mail.
const mailTime = time.Minute

// testMail sends a test mail to an address of a form.
func testMail(c *call, f url.Values) (string, error) {
	to := strings.TrimSpace(f.Get("to"))
	if _, err := mail.ParseAddress(to); err != nil {
		return "", badRequest("%q is not an address that mail can be sent to", shorten(to, 80))
	}
	ctx, cancel := context.WithTimeout(c.ctx(), mailTime)
	defer cancel()
	said, err := c.s.TestMail(ctx, to)
	if err != nil {
		return "", conflict("no test mail was sent: %v", err)
	}
	c.s.log.Info("test mail", "to", to, "by", c.Who.Name)
	return "the relay has accepted a test mail to " + to + ": " + said, nil
}
