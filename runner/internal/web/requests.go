package web

import (
	"fmt"
	"net/url"
	"strconv"

	"bothy/runner/config"
	"bothy/runner/internal/store"
)

func (s *Web) requestPages() []page {
	return []page{{
		path: "/requests", name: "requests", nav: "Requests", key: "r",
		acts: map[string]act{
			"cancel":   {config.Operator, (*call).cancelRequests},
			"priority": {config.Operator, (*call).setPriority},
		},
		show: func(c *call) (any, error) { return c.requests(), nil },
	}}
}

// How many requests a page lists.
const (
	waitingPerPage = 100
	doneRequests   = 30
)

// requestsPage is what waits, and what was asked for last.
type requestsPage struct {
	*call
	Builder string
	From    int
}

// Heading is the title of the page.
func (*requestsPage) Heading() string { return "Requests" }

func (c *call) requests() *requestsPage {
	q := c.r.URL.Query()
	return &requestsPage{call: c, Builder: q.Get("builder"), From: number(q.Get("from"))}
}

// of is the condition of the builder that was chosen.
func (p *requestsPage) of() []store.Cond {
	if p.Builder == "" {
		return nil
	}
	return []store.Cond{is("builder", p.Builder)}
}

// Waiting are the requests that wait, with the reasons.
func (p *requestsPage) Waiting() (some[waiting], error) {
	return p.s.waitingRequests(p.ctx(), p.From, waitingPerPage, p.of()...)
}

// Next is where the next page of those begins, 0 if there is none.
func (p *requestsPage) Next(w some[waiting]) int {
	if int64(p.From+len(w.Rows)) < w.Total {
		return p.From + len(w.Rows)
	}
	return 0
}

// Done are the last requests that are finished, the newest first.
func (p *requestsPage) Done() ([]store.ListedRequest, error) {
	got, err := p.s.Store.SelectRequests(p.ctx(), store.Select{
		Where: append(p.of(), is("complete", true)), Order: []store.Sort{{Field: "buildrequestid", Desc: true}}, Limit: doneRequests,
	})
	return got.Rows, err
}

// maxChosen is how many rows one form may name.
const maxChosen = 1000

// chosen are the requests that a form names.
func chosen(f url.Values) ([]int64, error) {
	texts := f["request"]
	switch {
	case len(texts) == 0:
		return nil, badRequest("no request is chosen")
	case len(texts) > maxChosen:
		return nil, badRequest("%d requests are chosen; at most %d go at once", len(texts), maxChosen)
	}
	ids := make([]int64, len(texts))
	for i, text := range texts {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, badRequest("%q is no request", shorten(text, 20))
		}
		ids[i] = id
	}
	return ids, nil
}

// cancelRequests ends the requests that a form names, the youngest first:
// otherwise the queue would start what is cancelled next.
func (c *call) cancelRequests(f url.Values) (string, error) {
	ids, err := chosen(f)
	if err != nil {
		return "", err
	}
	for i := len(ids) - 1; i >= 0; i-- {
		if err := c.s.Engine.CancelRequest(c.ctx(), ids[i], c.Who.Name, f.Get("reason")); err != nil {
			return "", err
		}
	}
	if len(ids) == 1 {
		return fmt.Sprintf("Request %d is cancelled", ids[0]), nil
	}
	return count(len(ids), "request") + " are cancelled", nil
}

// setPriority changes the place of the requests that a form names.
func (c *call) setPriority(f url.Values) (string, error) {
	ids, err := chosen(f)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(f.Get("priority"), 10, 32)
	if err != nil {
		return "", badRequest("a priority is a whole number; higher goes first")
	}
	for _, id := range ids {
		if err := c.s.Engine.SetPriority(c.ctx(), id, int(n), c.Who.Name); err != nil {
			return "", err
		}
	}
	if len(ids) == 1 {
		return fmt.Sprintf("Request %d has priority %d", ids[0], n), nil
	}
	return fmt.Sprintf("%d requests have priority %d", len(ids), n), nil
}
