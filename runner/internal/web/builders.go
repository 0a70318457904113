package web

import (
	"slices"
	"strings"
	"time"

	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

func (s *Web) builderPages() []page {
	return []page{{
		path: "/builders", name: "builders", nav: "Builders", key: "b",
		show: func(c *call) (any, error) { return c.builders() },
	}, {
		path: "/builders/{builder}", name: "builder",
		acts: map[string]act{
			"force":    {config.Operator, (*call).force},
			"cancel":   {config.Operator, (*call).cancelRequests},
			"priority": {config.Operator, (*call).setPriority},
		},
		show: func(c *call) (any, error) { return c.builder() },
	}}
}

// buildersPerPage is how many builders one page lists.
const buildersPerPage = 100

// buildersPage is the list of builders.
type buildersPage struct {
	*call
	Query string
	Tag   string
	Gone  bool // also those that are no longer configured
	Tags  []string
	Total int // that the search finds
	All   int
	From  int
	Rows  []builderLine
}

// Heading is the title of the page.
func (*buildersPage) Heading() string { return "Builders" }

// Next is where the next page begins, 0 if there is none.
func (p *buildersPage) Next() int {
	if p.From+len(p.Rows) < p.Total {
		return p.From + len(p.Rows)
	}
	return 0
}

// builderLine is a row of the list.
type builderLine struct {
	store.Builder
	Shown   string // its name for people
	Typical time.Duration
	Running int64
	Waiting int
	Recent  []store.Build // finished ones, the newest first
}

// Last is the newest build that is finished, nil if there is none.
func (b *builderLine) Last() *store.Build {
	if len(b.Recent) == 0 {
		return nil
	}
	return &b.Recent[0]
}

// Removed reports whether the configuration names the builder no longer.
func (b *builderLine) Removed() bool { return !b.Builder.Removed.IsZero() }

// is is a condition that a field has a value.
func is(field string, value any) store.Cond {
	return store.Cond{Field: field, Op: store.Eq, Values: []any{value}}
}

func (c *call) builders() (*buildersPage, error) {
	q := c.r.URL.Query()
	find, err := c.sought()
	if err != nil {
		return nil, err
	}
	p := &buildersPage{
		call: c, Query: find, Tag: q.Get("tag"), Gone: q.Get("gone") != "", From: number(q.Get("from")),
	}
	words := strings.Fields(strings.ToLower(p.Query))
	var rows []builderLine
	for _, b := range c.s.Engine.Builders() {
		if b.Removed.IsZero() {
			p.All++
			for _, t := range b.Tags {
				if !slices.Contains(p.Tags, t) {
					p.Tags = append(p.Tags, t)
				}
			}
		} else if !p.Gone {
			continue
		}
		text := strings.ToLower(b.Name + "\n" + b.Description + "\n" + strings.Join(b.Tags, "\n"))
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) || p.Tag != "" && !slices.Contains(b.Tags, p.Tag) {
			continue
		}
		rows = append(rows, builderLine{Builder: b})
	}
	slices.Sort(p.Tags)
	slices.SortStableFunc(rows, func(a, b builderLine) int { return strings.Compare(a.Name, b.Name) })
	p.Total = len(rows)
	rows = rows[min(p.From, len(rows)):]
	p.Rows = rows[:min(len(rows), buildersPerPage)]
	pending, err := c.s.Engine.Pending(c.ctx())
	if err != nil {
		return nil, err
	}
	for i := range p.Rows {
		if err := c.fillBuilder(&p.Rows[i], pending, 10); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// fillBuilder reads what a line says of a builder, and its last finished builds.
func (c *call) fillBuilder(b *builderLine, pending map[string]int, recent int) error {
	b.Shown = builderName(b.Name)
	running, err := c.s.Store.SelectBuilds(c.ctx(), store.Select{Where: []store.Cond{is("builder", b.Name), is("complete", false)}})
	if err != nil {
		return err
	}
	past, err := c.s.Store.History(c.ctx(), b.Name, "")
	if err != nil {
		return err
	}
	b.Running, b.Waiting, b.Typical = running.Total, pending[b.Name], past.Build
	b.Recent, err = c.s.Store.Builds(c.ctx(), store.Filter{Builder: b.Name, Limit: recent + int(min(b.Running, 1000))})
	b.Recent = slices.DeleteFunc(b.Recent, func(b store.Build) bool { return b.Completed.IsZero() })
	b.Recent = b.Recent[:min(len(b.Recent), recent)]
	return err
}

// builderName is a builder's name for people.
func builderName(name string) string {
	if name == engine.Command {
		return "single commands"
	}
	return name
}

// How much a builder's page shows.
const (
	trendBuilds   = 60
	historyBuilds = 50
	builderOpen   = 30
)

// builderPage is all about one builder.
type builderPage struct {
	*call
	builderLine
	Conf    *config.Builder // nil: it is no longer configured
	Before  int64           // the history is of builds before this one
	History []store.Build
	Forms   []forceForm
}

// Heading is the title of the page.
func (p *builderPage) Heading() string { return p.Shown }

// Next is the number before which the next page of the history begins, 0 if
// there is none.
func (p *builderPage) Next() int64 {
	if n := len(p.History); n == historyBuilds && p.History[n-1].Number > 1 {
		return p.History[n-1].Number
	}
	return 0
}

func (c *call) builder() (*builderPage, error) {
	name := c.r.PathValue("builder")
	all := c.s.Engine.Builders()
	i := slices.IndexFunc(all, func(b store.Builder) bool { return b.Name == name })
	p := &builderPage{call: c, Before: int64(number(c.r.URL.Query().Get("before")))}
	switch {
	case i >= 0:
		p.Builder = all[i]
	case name == engine.Command:
		p.Builder.Name = name
	default:
		return nil, notFound("there is no builder %q", shorten(name, 80))
	}
	pending, err := c.s.Engine.Pending(c.ctx())
	if err != nil {
		return nil, err
	}
	if err := c.fillBuilder(&p.builderLine, pending, trendBuilds); err != nil {
		return nil, err
	}
	conf := c.s.Config()
	if i := slices.IndexFunc(conf.Builders, func(b config.Builder) bool { return b.Name == name }); i >= 0 {
		p.Conf = &conf.Builders[i]
		p.Forms = c.forceForms(name)
	}
	sel := store.Select{
		Where: []store.Cond{is("builder", name), is("complete", true)},
		Order: []store.Sort{{Field: "number", Desc: true}}, Limit: historyBuilds,
	}
	if p.Before > 0 {
		sel.Where = append(sel.Where, store.Cond{Field: "number", Op: store.Lt, Values: []any{p.Before}})
	}
	got, err := c.s.Store.SelectBuilds(c.ctx(), sel)
	for _, b := range got.Rows {
		p.History = append(p.History, b.Build)
	}
	return p, err
}

// RunningNow are the builds of the builder that run.
func (p *builderPage) RunningNow() (some[runningBuild], error) {
	return p.s.runningBuilds(p.ctx(), builderOpen, is("builder", p.Name))
}

// WaitingNow are its requests that wait.
func (p *builderPage) WaitingNow() (some[waiting], error) {
	return p.s.waitingRequests(p.ctx(), 0, builderOpen, is("builder", p.Name))
}

// Workers are those that may run its builds.
func (p *builderPage) Workers() []string { return p.s.Config().WorkersOf(p.Name) }

// Steps are the names of its steps.
func (p *builderPage) Steps() (names []string) {
	for i := range p.Conf.Steps {
		names = append(names, p.Conf.Steps[i].Name)
	}
	return names
}

// bar is a build in the trend: how long it took, by its height.
type bar struct {
	store.Build
	X, Y, W, H int
}

// Size of the trend, in units of its own.
const (
	trendWidth  = 600
	trendHeight = 72
	barWidth    = trendWidth / trendBuilds
)

// trend are the durations of a builder's last builds.
type trend struct {
	Bars    []bar // the oldest first
	Longest time.Duration
	Middle  int // the height of what is typical, from above; 0: not known
}

// Trend draws the last finished builds.
func (p *builderPage) Trend() (t trend) {
	for _, b := range p.Recent {
		t.Longest = max(t.Longest, b.Completed.Sub(b.Started))
	}
	height := func(d time.Duration) int {
		return max(2, int(int64(d)*trendHeight/int64(max(t.Longest, 1))))
	}
	x := trendWidth - len(p.Recent)*barWidth
	for _, b := range slices.Backward(p.Recent) {
		h := height(b.Completed.Sub(b.Started))
		t.Bars = append(t.Bars, bar{Build: b, X: x, Y: trendHeight - h, W: barWidth - 1, H: h})
		x += barWidth
	}
	if p.Typical > 0 && p.Typical <= t.Longest {
		t.Middle = trendHeight - height(p.Typical)
	}
	return t
}
