package web

import (
	"net/url"
	"strconv"
	"strings"

	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

func (s *Web) journalPages() []page {
	return []page{{
		path: "/journal", name: "journal", nav: "Journal", key: "j",
		show: func(c *call) (any, error) { return c.journal(), nil },
	}}
}

// journalPerPage is how many lines of the journal one page lists.
const journalPerPage = 100

// journalKinds are what lines of the journal are about.
var journalKinds = [...]string{"worker", "build", "request", "builder", "scheduler", "master"}

// journalPage is what people did, and what workers went through.
type journalPage struct {
	*call
	Kind, Name, By string // only lines of these; "": of all
	Before         int64  // only lines before this one; 0: the newest
}

// Heading is the title of the page.
func (*journalPage) Heading() string { return "Journal" }

// Kinds are what lines can be about.
func (*journalPage) Kinds() []string { return journalKinds[:] }

func (c *call) journal() *journalPage {
	q := c.r.URL.Query()
	return &journalPage{
		call: c, Kind: q.Get("kind"), Name: strings.TrimSpace(q.Get("name")), By: strings.TrimSpace(q.Get("who")),
		Before: int64(number(q.Get("before"))),
	}
}

// Entries are the lines, the newest first.
func (p *journalPage) Entries() ([]logged, error) {
	var where []store.Cond
	for field, value := range map[string]string{"kind": p.Kind, "name": p.Name, "who": p.By} {
		if value != "" {
			where = append(where, is(field, value))
		}
	}
	if p.Before > 0 {
		where = append(where, store.Cond{Field: "entryid", Op: store.Lt, Values: []any{p.Before}})
	}
	return p.logged(where, journalPerPage)
}

// Older is the address of the lines after these, "" if these are the last ones.
func (p *journalPage) Older(shown []logged) string {
	if len(shown) < journalPerPage {
		return ""
	}
	q := url.Values{}
	for name, value := range map[string]string{"kind": p.Kind, "name": p.Name, "who": p.By} {
		if value != "" {
			q.Set(name, value)
		}
	}
	q.Set("before", strconv.FormatInt(shown[len(shown)-1].ID, 10))
	return "?" + q.Encode()
}

// logged is a line of the journal, with the build that caused it.
type logged struct {
	store.Entry
	Number  int64 // of that build, 0: there is none, or it was removed
	Builder string
}

// Words are what happened, in words.
func (l logged) Words() string { return strings.ReplaceAll(l.What, "-", " ") }

// To is the address of what the line is about, as seen from the root; "" if it
// has no page.
func (l logged) To() string {
	switch name := url.PathEscape(l.Name); l.Kind {
	case "worker":
		return "workers/" + name
	case "builder", "request", "build":
		if l.Name != engine.Command {
			return "builders/" + name
		}
	case "scheduler":
		return "schedulers"
	case "master":
		return "settings"
	}
	return ""
}

// logged reads lines of the journal, the newest first.
func (c *call) logged(where []store.Cond, limit int) ([]logged, error) {
	page, err := c.s.Store.SelectJournal(c.ctx(), store.Select{
		Where: where, Order: []store.Sort{{Field: "entryid", Desc: true}}, Limit: limit,
	})
	var all []logged
	for _, e := range page.Rows {
		l := logged{Entry: e}
		if e.Build != 0 {
			if b, err := c.s.Store.BuildByID(c.ctx(), e.Build); err == nil {
				l.Number, l.Builder = b.Number, b.Builder
			}
		}
		all = append(all, l)
	}
	return all, err
}
