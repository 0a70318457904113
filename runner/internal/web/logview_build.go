package web

import (
	"encoding/json"
	"html/template"
	"time"
)

// partLines is how many lines a page of a build shows of the end of each log.
const partLines = 40

// buildLogPage is what the page of all logs of a build shows.
type buildLogPage struct {
	*call
	logPart
	Query   logQuery
	Parts   []buildLogPart
	Over    bool
	Problem string // with what is searched for
}

type buildLogPart struct {
	logPart
	First int64
	Found bool // Rows are those that match, of which there are some
	Rows  template.HTML
	Gone  string // why there are none
}

// Heading is the title of the page.
func (p *buildLogPage) Heading() string {
	return "Logs · " + p.Build.Builder + " #" + itoa(p.Build.Number)
}

// ChunkLines tells the script.
func (p *buildLogPage) ChunkLines() int { return chunkLines }

// PartsJSON tells the script which logs there are.
func (p *buildLogPage) PartsJSON() (string, error) {
	all := []partInfo{}
	for i := range p.Parts {
		all = append(all, p.Parts[i].info())
	}
	b, err := json.Marshal(all)
	return string(b), err
}

// Refresh is for the head that this page shares with that of a log.
func (p *buildLogPage) Refresh() bool { return false }

// maxParts is how many logs of a build are shown on one page.
const maxParts = 500

// showBuildLog is the page of all logs of a build: without script, the end of each.
func (s *Web) showBuildLog(c *call) (any, error) {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return nil, err
	}
	b, err := c.buildOf()
	if err != nil {
		return nil, err
	}
	parts, err := c.partsOf(b)
	if err != nil {
		return nil, err
	}
	q.Whole = true
	d := &buildLogPage{call: c, logPart: logPart{Build: b}, Query: q, Over: buildOver(&b)}
	if q.Find != "" {
		if _, err := newMatcher(q.Find, q.Regex); err != nil {
			_, d.Problem, _ = statusOf(err)
			q.Find = ""
		}
	}
	deadline := time.Now().Add(pageFindTime)
	for _, p := range parts[:min(len(parts), maxParts)] {
		bp := buildLogPart{logPart: p}
		err := c.foundIn(&bp, q, time.Until(deadline))
		if err == nil && !bp.Found {
			err = c.endOf(&bp, q)
		}
		if err != nil {
			_, bp.Gone, _ = statusOf(err)
		}
		d.Parts = append(d.Parts, bp)
	}
	return d, nil
}

// foundIn renders the first lines that match, if something is searched for and
// there is time left for it.
func (c *call) foundIn(p *buildLogPart, q logQuery, left time.Duration) error {
	if q.Find == "" || left <= 0 {
		return nil
	}
	rd, err := c.reader(p.Log)
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	f, err := c.find(rd, logQuery{Find: q.Find, Regex: q.Regex}, partLines, true, left)
	if err != nil || len(f.Lines) == 0 {
		return err
	}
	html, err := c.linesOf(&p.logPart, rd, q, f.Lines)
	p.Found, p.Rows = true, template.HTML(html) // rowWriter has escaped it
	return err
}

// endOf renders the last lines of a log.
func (c *call) endOf(p *buildLogPart, q logQuery) error {
	rd, err := c.reader(p.Log)
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	rows, err := rowsFor(&p.logPart, q)
	if err != nil {
		return err
	}
	p.First = max(p.Info.Lines-partLines+1, 1)
	html, err := rows.rowsOf(c.ctx(), rd, p.First, min(partLines, p.Info.Lines))
	p.Rows = template.HTML(html) // rowWriter has escaped it
	return err
}

// partInfo is a log as the script of a build's page knows it.
type partInfo struct {
	Key   string `json:"key"`
	Path  string `json:"path"`
	Title string `json:"title"`
	Lines int64  `json:"lines"`
	Done  bool   `json:"done"`
}

// Label is the log's among those of its build.
func (p *logPart) Label() string {
	if p.Log.Name == "stdio" {
		return p.Step.Name
	}
	return p.Step.Name + " · " + p.Log.Name
}

func (p *logPart) info() partInfo {
	return partInfo{p.Key(), p.Path(), p.Label(), p.Info.Lines, p.Info.Finished}
}

// serveParts tells the script which logs a build has.
func (s *Web) serveParts(c *call) error {
	b, err := c.buildOf()
	if err != nil {
		return err
	}
	parts, err := c.partsOf(b)
	if err != nil {
		return err
	}
	d := struct {
		Parts []partInfo `json:"parts"`
		Over  bool       `json:"over"`
	}{[]partInfo{}, buildOver(&b)}
	for _, p := range parts[:min(len(parts), maxParts)] {
		d.Parts = append(d.Parts, p.info())
	}
	return c.sendJSON(&d)
}

// Above is how many lines are not shown before the others.
func (p *buildLogPart) Above() int64 { return p.First - 1 }
