package web

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"bothy/runner/internal/logs"
)

const (
	// pageChunks is how many chunks a page of a log shows without script.
	pageChunks = 3
	// maxChunk is how many lines one request may ask for.
	maxChunk = 1000
	// foundShown is how many lines a page lists that match.
	foundShown = 100
)

// rowsOf renders n lines from number from on, counted from 1. Damage is shown as
// a gap.
func (w *rowWriter) rowsOf(ctx context.Context, rd *logs.Reader, from, n int64) ([]byte, error) {
	w.buf = nil
	if n <= 0 {
		return nil, nil
	}
	for l, err := range rd.Scan(ctx, from-1) {
		if errors.Is(err, logs.ErrCorrupt) {
			w.gap("… the log is damaged from here on: the rest cannot be read")
			break
		}
		if err != nil {
			return nil, err
		}
		w.line(&l)
		if l.No+1 >= from+n-1 {
			break
		}
	}
	return w.buf, nil
}

// serveLines sends rows, to the script.
func (s *Web) serveLines(c *call) error {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	p, rd, err := c.openPart()
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	rows, err := rowsFor(&p, q)
	if err != nil {
		return err
	}
	from, n := max(q.From, 1), min(q.N, maxChunk)
	if n == 0 {
		n = chunkLines
	}
	html, err := rows.rowsOf(c.ctx(), rd, from, n)
	if err != nil {
		return err
	}
	c.w.Header().Set("X-Lines", itoa(p.Info.Lines))
	c.send(http.StatusOK, "text/html; charset=utf-8", html)
	return nil
}

// logPage is what the page of a log shows.
type logPage struct {
	*call
	logPart
	Query   logQuery
	First   int64 // the first line that is shown, from 1
	Last    int64
	Chunks  []logChunk
	Problem string // with what is searched for
	Found   *logFound
	Refresh bool // the page loads itself again where no script runs
}

// logChunk are rendered lines.
type logChunk struct {
	From int64
	Rows template.HTML
}

// logFound is what a search without script has come to.
type logFound struct {
	found
	Rows template.HTML // of the lines that match
	From int64
}

// Heading is the title of the page.
func (p *logPage) Heading() string {
	return p.Log.Name + " · " + p.Step.Name + " · " + p.Build.Builder + " #" + itoa(p.Build.Number)
}

// ChunkLines tells the script.
func (p *logPage) ChunkLines() int { return chunkLines }

// PartsJSON tells the script which log it is.
func (p *logPage) PartsJSON() (string, error) {
	i := p.info()
	i.Path = p.Slug
	b, err := json.Marshal([]partInfo{i})
	return string(b), err
}

// At is the query of the page that shows a line.
func (p *logPage) At(line int64) string {
	q := p.Query
	q.From = max(line, 1)
	return q.String()
}

// Earlier and Later are the first lines of the pages before and after.
func (p *logPage) Earlier() int64 { return max(p.First-pageChunks*chunkLines, 1) }

func (p *logPage) Later() int64 { return p.First + pageChunks*chunkLines }

// End is the first line of the last page.
func (p *logPage) End() int64 { return lastPage(p.Info.Lines) }

func lastPage(lines int64) int64 {
	return max(chunkOf(max(lines, 1))-(pageChunks-1)*chunkLines, 1)
}

// WithTimes and the others are queries that change one thing.
func (p *logPage) WithTimes(times string) string {
	q := p.Query
	q.From, q.Times = p.First, times
	return q.String()
}

// WithWrap is the query that has long lines wrapped, or no longer.
func (p *logPage) WithWrap(wrap bool) string {
	q := p.Query
	q.From, q.Wrap = p.First, wrap
	return q.String()
}

// WithRaw is the query for lines as written, or as a terminal shows them.
func (p *logPage) WithRaw(raw bool) string {
	q := p.Query
	q.From, q.Raw = p.First, raw
	return q.String()
}

// WithoutFind is the query that searches for nothing.
func (p *logPage) WithoutFind() string {
	q := p.Query
	q.From, q.Find, q.Regex = p.First, "", false
	return q.String()
}

// showLog is the page of a log. The page of one that is written begins at its
// end, others at the beginning.
func (s *Web) showLog(c *call) (any, error) {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return nil, err
	}
	p, rd, err := c.openPart()
	if err != nil {
		return nil, err
	}
	defer c.closeReader(rd)
	d := &logPage{call: c, logPart: p, Query: q, Refresh: c.r.URL.Query().Get("refresh") != "" && !p.Info.Finished}
	rows, err := rowsFor(&p, q)
	if err != nil {
		if _, ok := errors.AsType[*problem](err); !ok {
			return nil, err
		}
		d.Problem = err.Error()
		plain := q
		plain.Find = ""
		if rows, err = rowsFor(&p, plain); err != nil {
			return nil, err
		}
	}
	if q.Find != "" && d.Problem == "" {
		if d.Found, err = c.findRows(&p, rd, q); err != nil {
			return nil, err
		}
	}
	switch {
	case q.From > 0:
		d.First = chunkOf(min(q.From, max(p.Info.Lines, 1)))
	case p.Running():
		d.First = lastPage(p.Info.Lines)
	default:
		d.First = 1
	}
	d.Last = min(d.First+pageChunks*chunkLines-1, p.Info.Lines)
	for from := d.First; from <= d.Last; from += chunkLines {
		html, err := rows.rowsOf(c.ctx(), rd, from, min(chunkLines, d.Last-from+1))
		if err != nil {
			return nil, err
		}
		d.Chunks = append(d.Chunks, logChunk{from, template.HTML(html)}) // rowWriter has escaped it
	}
	return d, nil
}

// pageFindTime bounds the search for a page.
const pageFindTime = 5 * time.Second

// findRows searches and renders what is found.
func (c *call) findRows(p *logPart, rd *logs.Reader, q logQuery) (*logFound, error) {
	at := int64(1)
	if from, err := strconv.ParseInt(c.r.URL.Query().Get("after"), 10, 64); err == nil && from > 0 {
		at = from
	}
	fq := q
	fq.From = at
	f, err := c.find(rd, fq, foundShown, true, pageFindTime)
	if err != nil {
		return nil, err
	}
	html, err := c.linesOf(p, rd, q, f.Lines)
	if err != nil {
		return nil, err
	}
	return &logFound{f, template.HTML(html), at}, nil // rowWriter has escaped it
}

// linePage is what the page of one line shows.
type linePage struct {
	*call
	logPart
	No     int64
	Row    template.HTML
	States []lineState
	Cut    bool
}

type lineState struct {
	No      int
	Written template.HTML
}

// Heading is the title of the page.
func (p *linePage) Heading() string {
	return "Line " + itoa(p.No) + " · " + p.Log.Name + " · " + p.Step.Name + " · " + p.Build.Builder + " #" + itoa(p.Build.Number)
}

// BackTo is the query of the page that shows the line.
func (p *linePage) BackTo() string { return logQuery{From: chunkOf(p.No)}.String() }

// maxStates is how many states of a line are shown.
const maxStates = 1000

// showLine is the page of one line: all of it, and all it has ever been.
func (s *Web) showLine(c *call) (any, error) {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return nil, err
	}
	p, rd, err := c.openPart()
	if err != nil {
		return nil, err
	}
	defer c.closeReader(rd)
	rows, err := rowsFor(&p, logQuery{Times: "absolute"})
	if err != nil {
		return nil, err
	}
	rows.chars, rows.path = logs.MaxLine, "../"+p.Slug
	for l, err := range rd.Scan(c.ctx(), max(q.From, 1)-1) {
		if err != nil {
			return nil, err
		}
		rows.line(&l)
		d := &linePage{call: c, logPart: p, No: l.No + 1, Row: template.HTML(rows.buf)} // rowWriter has escaped it
		states := logs.States(l.Text)
		if len(states) > maxStates {
			states, d.Cut = slices.Clip(states[:maxStates]), true
		}
		for i, text := range states {
			rows.buf = nil
			row := logs.Written(text, logs.MaxLine)
			rows.runs(&row)
			d.States = append(d.States, lineState{i + 1, template.HTML(rows.buf)}) // as above
		}
		return d, nil
	}
	return nil, notFound("the log has no line %d", max(q.From, 1))
}

// linesOf renders some lines.
func (c *call) linesOf(p *logPart, rd *logs.Reader, q logQuery, lines []int64) ([]byte, error) {
	rows, err := rowsFor(p, q)
	if err != nil {
		return nil, err
	}
	rows.prefix = "found-" + rows.prefix
	var html []byte
	for _, n := range lines {
		one, err := rows.rowsOf(c.ctx(), rd, n, 1)
		if err != nil {
			return nil, err
		}
		html = append(html, one...)
	}
	return html, nil
}
