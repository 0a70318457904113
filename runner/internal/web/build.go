package web

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

func (s *Web) buildPages() []page {
	return []page{{
		path: "/builders/{builder}/builds/{number}", name: "build",
		acts: map[string]act{
			"stop":    {config.Operator, (*call).stopBuild},
			"rebuild": {config.Operator, (*call).rebuild},
		},
		show: func(c *call) (any, error) { return c.build() },
	}}
}

// buildPage is all about one build.
type buildPage struct {
	*call
	store.Build
	Request  store.Request
	Past     store.History
	Attempts []store.Build // of the same request, without this one
	parts    []logPart
}

// stepLine is a step as it is shown.
type stepLine struct {
	store.Step
	Expected time.Duration // 0: not known
	Logs     []logPart
	Last     string // line of its output, while it runs
}

// Share is how much of the expected time of a running step has passed.
func (s *stepLine) Share() float64 {
	return min(float64(time.Since(s.Started))/float64(max(s.Expected, 1)), 0.98)
}

// Took is how long the step lasted.
func (s *stepLine) Took() time.Duration { return s.Completed.Sub(s.Started) }

// Heading is the title of the page.
func (p *buildPage) Heading() string { return fmt.Sprintf("%s #%d", p.Shown(), p.Number) }

// Shown is the builder's name for people.
func (p *buildPage) Shown() string { return builderName(p.Builder) }

// Running reports whether the build has not ended.
func (p *buildPage) Running() bool { return p.Completed.IsZero() }

// Expected is how long the build is expected to take, 0 if that is not known.
func (p *buildPage) Expected() time.Duration { return p.Past.Build }

// Share is how much of the expected time has passed.
func (p *buildPage) Share() float64 {
	return min(float64(time.Since(p.Started))/float64(max(p.Past.Build, 1)), 0.98)
}

// Took is how long the build lasted.
func (p *buildPage) Took() time.Duration { return p.Completed.Sub(p.Started) }

func (c *call) build() (*buildPage, error) {
	b, err := c.buildOf()
	if err != nil {
		return nil, err
	}
	p := &buildPage{call: c, Build: b}
	p.Request, err = c.s.Store.Request(c.ctx(), b.Request)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if p.Past, err = c.s.Store.History(c.ctx(), b.Builder, ""); err != nil {
		return nil, err
	}
	const attempts = 20
	if p.Attempts, err = c.s.Store.Builds(c.ctx(), store.Filter{Request: b.Request, Limit: attempts}); err != nil {
		return nil, err
	}
	p.Attempts = slices.DeleteFunc(p.Attempts, func(a store.Build) bool { return a.ID == b.ID })
	p.parts, err = c.partsOf(b)
	return p, err
}

// Logs reports whether the build has any.
func (p *buildPage) Logs() bool { return len(p.parts) > 0 }

// Topics are what the list of steps depends on.
func (p *buildPage) Topics() string {
	all := fmt.Sprintf("build/%d", p.ID)
	for i := range p.parts {
		if p.parts[i].Running() {
			all += fmt.Sprintf(" log/%d", p.parts[i].Log.ID)
		}
	}
	return all
}

// maxSteps is how many steps a page lists.
const maxSteps = 1000

// steps is the list of a build's steps.
type steps struct {
	some[stepLine]
	Hidden int // of those that are left out
}

// Steps are the steps that have begun.
func (p *buildPage) Steps() (steps, error) {
	rows, err := p.s.Store.Steps(p.ctx(), p.ID)
	all := steps{some: some[stepLine]{Total: int64(len(rows))}}
	for _, row := range rows {
		if row.Hidden {
			all.Hidden++
			all.Total--
			continue
		}
		if len(all.Rows) == maxSteps {
			break
		}
		line := stepLine{Step: row, Expected: p.Past.Steps[row.Name]}
		for _, part := range p.parts {
			if part.Step.Number == row.Number {
				line.Logs = append(line.Logs, part)
			}
		}
		if row.Completed.IsZero() {
			line.Last = p.s.lastLine(p.ctx(), p.ID, row.Number)
		}
		all.Rows = append(all.Rows, line)
	}
	return all, err
}

// failureLines is how many lines of a failed step's output a page shows.
const failureLines = 12

// Failed shows the end of what the step wrote that broke the build.
func (p *buildPage) Failed() *failedStep {
	for _, part := range p.parts {
		if part.Step.Result != build.Failure && part.Step.Result != build.Exception || part.Running() {
			continue
		}
		rd, err := p.reader(part.Log)
		if err != nil {
			continue
		}
		lines, err := rd.Tail(failureLines, worker.Stdout, worker.Stderr)
		rd.Close()
		if err != nil || len(lines) == 0 {
			continue
		}
		f := &failedStep{Part: part}
		for _, l := range lines {
			f.Lines = append(f.Lines, shorten(logs.LastVisible(l.Text), maxLine))
		}
		return f
	}
	return nil
}

// failedStep is the end of the output of a step that failed.
type failedStep struct {
	Part  logPart
	Lines []string
}

// Props are the properties of the build, by name.
func (p *buildPage) Props() (all []property) {
	for _, name := range slices.Sorted(maps.Keys(p.Properties)) {
		v := p.Properties[name]
		all = append(all, property{name, shorten(valueText(v.Value), maxProperty), v.Source})
	}
	return all
}

// maxProperty is how much of a property is shown, in bytes.
const maxProperty = 4096

// Journal is what people did to the build.
func (p *buildPage) Journal() ([]store.Entry, error) {
	const most = 50
	got, err := p.s.Store.SelectJournal(p.ctx(), store.Select{Where: []store.Cond{is("buildid", p.ID)}, Limit: most})
	return got.Rows, err
}

// From are the steps that a rebuild can begin with, besides the first.
func (p *buildPage) From() (names []string) {
	conf := p.s.Config()
	for i := range conf.Builders {
		if b := &conf.Builders[i]; b.Name == p.Builder {
			for n := 1; n < len(b.Steps); n++ {
				names = append(names, b.Steps[n].Name)
			}
		}
	}
	return names
}

// What says what is built: branch and revision.
func (p *buildPage) What() string {
	var parts []string
	for _, name := range []string{"project", "branch", "got_revision", "revision"} {
		if s, ok := p.Properties.Get(name).(string); ok && s != "" && !slices.Contains(parts, s) {
			parts = append(parts, shorten(s, 80))
		}
	}
	return strings.Join(parts, " ")
}

// Owner is who asked for the build, "" if nobody in particular.
func (p *buildPage) Owner() string {
	s, _ := p.Properties.Get("owner").(string)
	return s
}

// stopBuild cancels the build.
func (c *call) stopBuild(f url.Values) (string, error) {
	b, err := c.buildOf()
	if err != nil {
		return "", err
	}
	if err := c.s.Engine.StopBuild(c.ctx(), b.ID, c.Who.Name, f.Get("reason")); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s #%d is stopped", b.Builder, b.Number), nil
}

// rebuild asks for the build again.
func (c *call) rebuild(f url.Values) (string, error) {
	b, err := c.buildOf()
	if err != nil {
		return "", err
	}
	tickets, err := c.s.Engine.Rebuild(c.ctx(), b.ID, c.Who.Owner(), f.Get("reason"), f.Get("from"))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s #%d is asked for again as request %d", b.Builder, b.Number, tickets[0].ID), nil
}
