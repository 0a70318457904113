package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// How much of each a worker's page shows.
const (
	workerBuilds  = 20
	workerHistory = 200 // builds that resources are summed up over
	workerJournal = 30
	workerMails   = 10
)

// workerPage is one worker.
type workerPage struct {
	*call
	workerRow
	Span time.Duration // of the timeline
}

// Heading is the title of the page.
func (p *workerPage) Heading() string { return p.Name }

func (c *call) workerPage() (any, error) {
	v, row, err := c.worker(c.r.PathValue("worker"))
	if err != nil {
		return nil, err
	}
	return &workerPage{
		call: c, workerRow: c.workerRow(v, row), Span: spanOf(c.r.URL.Query().Get("span"), c.Now.Sub(row.Configured)),
	}, nil
}

// offer is an action as a button.
type offer struct {
	Do       worker.Action
	Senseful bool
}

// Offers are all actions; those that would change nothing are not to be chosen.
func (p *workerPage) Offers() []offer {
	var all []offer
	for _, a := range worker.Actions() {
		all = append(all, offer{a, slices.Contains(p.Can, a)})
	}
	return all
}

// Running are the builds that run on the worker.
func (p *workerPage) Running() ([]store.Build, error) {
	var all []store.Build
	for _, id := range p.Builds {
		b, err := p.s.Store.BuildByID(p.ctx(), id)
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

// Recent are the builds that have ended on it, the newest first.
func (p *workerPage) Recent() ([]store.Build, error) {
	all, err := p.s.Store.Builds(p.ctx(), store.Filter{Worker: p.Name, Limit: workerBuilds + p.Load})
	all = slices.DeleteFunc(all, func(b store.Build) bool { return b.Completed.IsZero() })
	return all[:min(len(all), workerBuilds)], err
}

// usage is what builds of one builder took on the worker.
type usage struct {
	Builder    string
	Builds     int
	Good       int
	PeakMemory int64         // the largest
	CPU        time.Duration // the most
	Longest    time.Duration
	Last       time.Time
}

// Usage is what the last builds took, by builder.
func (p *workerPage) Usage() ([]usage, error) {
	all, err := p.s.Store.Builds(p.ctx(), store.Filter{Worker: p.Name, Limit: workerHistory})
	byName := map[string]*usage{}
	for _, b := range all {
		if b.Completed.IsZero() {
			continue
		}
		u := byName[b.Builder]
		if u == nil {
			u = &usage{Builder: b.Builder, Last: b.Completed}
			byName[b.Builder] = u
		}
		u.Builds++
		if b.Result <= 1 {
			u.Good++
		}
		u.PeakMemory = max(u.PeakMemory, b.PeakMemory)
		u.CPU = max(u.CPU, b.CPU)
		u.Longest = max(u.Longest, b.Completed.Sub(b.Started))
	}
	var list []usage
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		list = append(list, *byName[name])
	}
	return list, err
}

// Journal is what happened to the worker, the newest first.
func (p *workerPage) Journal() ([]logged, error) { return p.entries(workerJournal, "") }

// Quarantines are those that it was put into.
func (p *workerPage) Quarantines() ([]logged, error) {
	return p.entries(workerJournal, string(worker.QuarantineBegan))
}

func (p *workerPage) entries(limit int, what string) ([]logged, error) {
	where := []store.Cond{is("kind", "worker"), is("name", p.Name)}
	if what != "" {
		where = append(where, is("what", what))
	}
	return p.logged(where, limit)
}

// Mails are those about the worker, the newest first.
func (p *workerPage) Mails() ([]store.Mail, error) {
	return p.s.mailsAbout(p.call, p.Name, workerMails)
}

func (s *Web) mailsAbout(c *call, name string, limit int) ([]store.Mail, error) {
	where := []store.Cond{is("worker", name)}
	if name == "" {
		where = []store.Cond{{Field: "kind", Op: store.In, Values: []any{"missing", "return"}}}
	}
	page, err := s.Store.SelectMails(c.ctx(), store.Select{
		Where: where, Order: []store.Sort{{Field: "mailid", Desc: true}}, Limit: limit,
	})
	return page.Rows, err
}

// Facts are what the worker told about itself, by name.
func (p *workerPage) Facts() []property {
	var all []property
	for _, name := range slices.Sorted(maps.Keys(p.Info)) {
		switch p.Info[name].(type) {
		case string, bool, int, int64, float64:
			all = append(all, property{Name: name, Value: p.info(name), Source: "worker"})
		}
	}
	return all
}

// Settings are the worker's configuration as it was loaded, without secrets.
func (p *workerPage) Settings() []property {
	if p.view == nil || p.view.Conf == nil {
		return nil
	}
	c := p.view.Conf
	var all []property
	add := func(name, value string) {
		if value != "" {
			all = append(all, property{Name: name, Value: value})
		}
	}
	add("kind", string(c.Kind))
	if c.MaxBuilds > 0 {
		add("max_builds", fmt.Sprint(c.MaxBuilds))
	} else if c.Kind == config.WorkerLocal {
		add("max_builds", "the machine's slots")
	} else {
		add("max_builds", "no limit of its own")
	}
	add("canary", map[bool]string{false: "true", true: "false"}[c.NoCanary])
	if c.Kind == config.WorkerLocal {
		add("workdir", c.Workdir)
		return all
	}
	m := &c.Remote
	add("missing_timeout", durationText(m.MissingTimeout))
	add("keepalive_interval", durationText(m.KeepaliveInterval))
	add("lease", durationText(m.Lease))
	add("notify_on_missing", cmp.Or(strings.Join(m.NotifyOnMissing, ", "), "nobody"))
	add("notify_on_return", fmt.Sprint(m.NotifyOnReturn))
	return all
}

// durationText is a duration of the configuration, of which some may be off.
func durationText(d time.Duration) string {
	if d <= 0 {
		return "off"
	}
	return d.String()
}

// Builders are those that may run on the worker.
func (p *workerPage) Builders() []string {
	conf := p.s.Config()
	var names []string
	for i := range conf.Builders {
		if slices.Contains(conf.WorkersOf(conf.Builders[i].Name), p.Name) {
			names = append(names, conf.Builders[i].Name)
		}
	}
	return names
}

// controlOne is a control of the worker whose page it is.
func (c *call) controlOne(a worker.Action, f url.Values) (string, error) {
	f.Set("worker", c.r.PathValue("worker"))
	return c.controlWorkers(a, f)
}
