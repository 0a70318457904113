package web

import (
	"net/url"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/store"
)

func (s *Web) schedulerPages() []page {
	turn := func(on bool) act {
		return act{config.Admin, func(c *call, f url.Values) (string, error) {
			name := f.Get("scheduler")
			if err := c.s.Engine.SetScheduler(c.ctx(), name, on, c.Who.Name); err != nil {
				return "", err
			}
			if on {
				return name + " is on", nil
			}
			return name + " is off", nil
		}}
	}
	return []page{{
		path: "/schedulers", name: "schedulers", nav: "Schedulers", key: "s",
		acts: map[string]act{"on": turn(true), "off": turn(false)},
		show: func(c *call) (any, error) { return &schedulersPage{c}, nil },
	}, {
		path: "/settings", name: "settings", nav: "Settings", key: "c",
		show: func(c *call) (any, error) { return &settingsPage{c}, nil },
	}}
}

// schedulersPage is the list of schedulers.
type schedulersPage struct{ *call }

// Heading is the title of the page.
func (*schedulersPage) Heading() string { return "Schedulers" }

// Admin says why who looks may not turn schedulers on and off, "" if they may.
func (p *schedulersPage) Admin() string { return p.Refusal(config.Admin) }

// schedulerLine is a row of the list.
type schedulerLine struct {
	*config.Scheduler
	State store.Scheduler
}

// Rows are the configured schedulers, in the order of the file.
func (p *schedulersPage) Rows() (rows []schedulerLine) {
	states := map[string]store.Scheduler{}
	for _, s := range p.s.Engine.Schedulers() {
		states[s.Name] = s
	}
	conf := p.s.Config()
	for i := range conf.Schedulers {
		s := &conf.Schedulers[i]
		rows = append(rows, schedulerLine{s, states[s.Name]})
	}
	return rows
}

// settingsPage is the configuration as it was loaded.
type settingsPage struct{ *call }

// Heading is the title of the page.
func (*settingsPage) Heading() string { return "Settings" }

// Conf is the configuration in force.
func (p *settingsPage) Conf() *config.Config { return p.s.Config() }

// Began is when the master started.
func (p *settingsPage) Began() time.Time { return p.s.began }

// Sections are its tables.
func (p *settingsPage) Sections() []config.Section { return p.Conf().Describe() }

// Journal is what was done to the master last: started, reloaded, drained.
func (p *settingsPage) Journal() ([]store.Entry, error) {
	const most = 15
	got, err := p.s.Store.SelectJournal(p.ctx(), store.Select{
		Where: []store.Cond{is("kind", "master")}, Order: []store.Sort{{Field: "entryid", Desc: true}}, Limit: most,
	})
	return got.Rows, err
}
