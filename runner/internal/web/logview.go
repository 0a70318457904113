package web

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/api"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// How the log viewer works. A log is never sent as a whole: a page holds rows of
// a few hundred lines, which this package renders, with links to the others; the
// script of the page fetches rows of the lines that come into sight, and keeps
// those around. Whatever is read goes through the line index of package logs, so
// that a page costs the same at any place of a log of any size.
//
//	logview.go         addresses; which log is meant
//	logview_page.go    the page of a log, of one line
//	logview_build.go   the page of all logs of a build
//	logview_rows.go    lines as HTML
//	logview_find.go    search, the first error
//	logview_follow.go  the end of a log that is written, for all who follow it
//	logview_text.go    what a terminal would show, as text
const (
	logPath      = "/builders/{builder}/builds/{number}/steps/{step}/logs/{slug}"
	buildLogPath = "/builders/{builder}/builds/{number}/log"
)

// chunkLines is how many lines the script fetches at a time; logview.js knows it
// from the page. Rows of a page are whole chunks.
const chunkLines = 100

// logViewer is what the viewer keeps between requests. The zero value is ready.
type logViewer struct {
	tails    tails
	searches searches
}

// close ends those who follow logs.
func (v *logViewer) close() { v.tails.close() }

func (s *Web) logPages() []page {
	return []page{
		{path: logPath, name: "log", show: s.showLog},
		{path: logPath + "/lines", serve: s.serveLines},
		{path: logPath + "/line", name: "logline", show: s.showLine},
		{path: logPath + "/search", serve: s.serveSearch},
		{path: logPath + "/error", serve: s.serveFirstError},
		{path: logPath + "/follow", serve: s.serveFollow},
		{path: logPath + "/text", serve: s.serveText},
		{path: buildLogPath, name: "buildlog", show: s.showBuildLog},
		{path: buildLogPath + "/parts", serve: s.serveParts},
	}
}

// logPart is one log, and where it belongs.
type logPart struct {
	Build store.Build
	Step  store.Step
	Log   store.Log
	Slug  string
	Info  logs.Info // as it is now
}

// Key names the log within its build.
func (p *logPart) Key() string { return "S" + strconv.Itoa(p.Step.Number) + "-" + p.Slug }

// Path leads to the log from a page that lies beside its build's pages.
func (p *logPart) Path() string {
	return "steps/" + strconv.Itoa(p.Step.Number) + "/logs/" + p.Slug
}

// Began is what relative times count from.
func (p *logPart) Began() time.Time {
	if p.Step.Started.IsZero() {
		return p.Build.Started
	}
	return p.Step.Started
}

// Running reports whether the log is still being written.
func (p *logPart) Running() bool { return !p.Info.Finished }

// buildOf is the build that an address names.
func (c *call) buildOf() (store.Build, error) {
	builder, number := c.r.PathValue("builder"), c.r.PathValue("number")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return store.Build{}, notFound("there is no build %q of %s", shorten(number, 20), shorten(builder, 80))
	}
	b, err := c.s.Store.Build(c.ctx(), builder, n)
	if errors.Is(err, store.ErrNotFound) {
		err = notFound("there is no build %d of %s", n, shorten(builder, 80))
	}
	return b, err
}

// partsOf are the logs of a build in the order of its steps.
func (c *call) partsOf(b store.Build) ([]logPart, error) {
	steps, err := c.s.Store.Steps(c.ctx(), b.ID)
	if err != nil {
		return nil, err
	}
	all, err := c.s.Store.Logs(c.ctx(), b.ID)
	if err != nil {
		return nil, err
	}
	var parts []logPart
	for _, st := range steps {
		var names []string
		var own []store.Log
		for _, l := range all {
			if l.Step == st.Number {
				names, own = append(names, l.Name), append(own, l)
			}
		}
		for i, slug := range api.LogSlugs(names) {
			p := logPart{Build: b, Step: st, Log: own[i], Slug: slug}
			p.Info = logs.Info{Lines: own[i].Lines, Bytes: own[i].Bytes, Truncated: own[i].Truncated, Finished: own[i].Complete}
			if !own[i].Complete {
				if info, err := c.s.Logs.Stat(own[i].ID, logs.Ref(own[i].Ref)); err == nil {
					p.Info = info
				}
			}
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// partOf is the log that an address names.
func (c *call) partOf() (logPart, error) {
	b, err := c.buildOf()
	if err != nil {
		return logPart{}, err
	}
	parts, err := c.partsOf(b)
	if err != nil {
		return logPart{}, err
	}
	step, slug := c.r.PathValue("step"), c.r.PathValue("slug")
	for _, p := range parts {
		if strconv.Itoa(p.Step.Number) == step && p.Slug == slug {
			return p, nil
		}
	}
	return logPart{}, notFound("step %s of build %d of %s has no log %s", shorten(step, 20), b.Number, b.Builder, shorten(slug, 80))
}

// reader opens a log. It must be closed.
func (c *call) reader(l store.Log) (*logs.Reader, error) {
	rd, err := c.s.Logs.Reader(l.ID, logs.Ref(l.Ref))
	if errors.Is(err, logs.ErrNotFound) {
		err = notFound("this log is no longer kept")
	}
	return rd, err
}

func (c *call) closeReader(rd *logs.Reader) {
	if err := rd.Close(); err != nil {
		c.s.log.Warn("log not closed", "err", err)
	}
}

// openPart opens the log that an address names. The reader must be closed.
func (c *call) openPart() (logPart, *logs.Reader, error) {
	p, err := c.partOf()
	if err != nil {
		return p, nil, err
	}
	rd, err := c.reader(p.Log)
	if err != nil {
		return p, nil, err
	}
	if p.Info, err = rd.Info(); err != nil {
		c.closeReader(rd)
		return p, nil, err
	}
	return p, rd, nil
}

// buildOver reports whether nothing more will come of a build.
func buildOver(b *store.Build) bool { return b.Result != build.None }

// logQuery is how a log is looked at, as the query of an address says it.
type logQuery struct {
	From  int64  // number of a line, from 1; 0: none was asked for
	N     int64  // how many lines; 0: as many as usual
	Find  string // what is searched for
	Regex bool
	Times string // "", "relative" or "absolute"
	Wrap  bool
	Raw   bool // as written: nothing is obeyed or left out
	Whole bool // the rows are for the page of the whole build
}

// maxFind bounds what is searched for, in bytes.
const maxFind = 1000

func parseLogQuery(v url.Values) (logQuery, error) {
	q := logQuery{Find: v.Get("q"), Regex: v.Get("re") != "", Wrap: v.Get("wrap") != "", Raw: v.Get("written") != "", Whole: v.Get("in") == "build"}
	for name, to := range map[string]*int64{"from": &q.From, "n": &q.N} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return q, badRequest("%s must be a number from 1 on, not %q", name, shorten(text, 40))
		}
		*to = n
	}
	switch q.Times = v.Get("times"); q.Times {
	case "", "relative", "absolute":
	default:
		return q, badRequest("times are relative or absolute, not %q", shorten(q.Times, 40))
	}
	if len(q.Find) > maxFind {
		return q, badRequest("more than %d bytes to search for", maxFind)
	}
	return q, nil
}

// String is the query of an address, "?" if there is nothing in it: that leads
// from a page with a query to the same one without.
func (q logQuery) String() string {
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			b.WriteByte("?&"[min(b.Len(), 1)])
			b.WriteString(name + "=" + url.QueryEscape(value))
		}
	}
	flag := func(name string, on bool) {
		if on {
			add(name, "1")
		}
	}
	if q.From > 0 {
		add("from", strconv.FormatInt(q.From, 10))
	}
	add("q", q.Find)
	flag("re", q.Regex)
	add("times", q.Times)
	flag("wrap", q.Wrap)
	flag("written", q.Raw)
	if b.Len() == 0 {
		return "?"
	}
	return b.String()
}

// chunkOf is the first line, from 1, of the chunk that holds line n, from 1.
func chunkOf(n int64) int64 { return (n-1)/chunkLines*chunkLines + 1 }

// patient bounds what is done for one request besides the client's going away.
func (c *call) patient(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(c.ctx(), d, errTimeIsUp)
}

var errTimeIsUp = errors.New("this takes too long")
