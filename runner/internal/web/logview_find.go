package web

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/worker"
)

// Bounds of one search. One that comes to them says how far it has come; the
// script goes on from there, others by a link.
const (
	searchTime  = 2 * time.Second
	searchLines = 10_000 // that are named; more are counted
)

// matcher finds text in lines as a terminal shows them.
type matcher struct {
	text []byte // in lower case if fold
	fold bool   // ASCII letters match whatever their case
	re   *regexp.Regexp
	low  []byte // scratch
}

// newMatcher searches for text, or for a regular expression of RE2's syntax, whose
// time is linear in the length of the line. Without a capital in it upper and
// lower case are the same.
func newMatcher(find string, regex bool) (*matcher, error) {
	fold := strings.ToLower(find) == find
	ascii := strings.IndexFunc(find, func(r rune) bool { return r >= 0x80 }) < 0
	if !regex && ascii {
		return &matcher{text: []byte(find), fold: fold}, nil
	}
	if !regex {
		find = regexp.QuoteMeta(find)
	}
	if fold = fold || regex && !hasCapital(find); fold {
		find = "(?i)" + find
	}
	re, err := regexp.Compile(find)
	if err != nil {
		return nil, badRequest("this is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return &matcher{re: re}, nil
}

// hasCapital reports whether a regular expression holds a capital letter that is
// not part of an escape like \S.
func hasCapital(re string) bool {
	escaped := false
	for _, r := range re {
		if !escaped && r >= 'A' && r <= 'Z' {
			return true
		}
		escaped = !escaped && r == '\\'
	}
	return false
}

func (m *matcher) lower(b []byte) []byte {
	m.low = m.low[:0]
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		m.low = append(m.low, c)
	}
	return m.low
}

func (m *matcher) in(text []byte) bool {
	switch {
	case m.re != nil:
		return m.re.Match(text)
	case m.fold:
		return bytes.Contains(m.lower(text), m.text)
	}
	return bytes.Contains(text, m.text)
}

// all returns where text matches, the first most places.
func (m *matcher) all(text string, most int) [][2]int {
	var at [][2]int
	if m.re != nil {
		for _, p := range m.re.FindAllStringIndex(text, most) {
			if p[1] > p[0] {
				at = append(at, [2]int{p[0], p[1]})
			}
		}
		return at
	}
	b := []byte(text)
	if m.fold {
		b = m.lower(b)
	}
	for from := 0; len(at) < most && len(m.text) > 0; {
		i := bytes.Index(b[from:], m.text)
		if i < 0 {
			break
		}
		at = append(at, [2]int{from + i, from + i + len(m.text)})
		from += i + len(m.text)
	}
	return at
}

// shownText is a line without what a terminal obeys or does not show in the end.
// It is valid until the next call with the same terminal, or the next line.
func shownText(term *logs.Terminal, l *logs.Line) []byte {
	text := l.Text
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	if bytes.IndexByte(text, 0x1b) < 0 && bytes.IndexByte(text, '\r') < 0 && bytes.IndexByte(text, '\b') < 0 && l.Pen.InText() {
		return text
	}
	row := term.Draw(text, l.Pen, logs.MaxLine)
	return []byte(row.Plain())
}

// searches bounds how many run at a time, so that builds keep processors.
type searches struct {
	once sync.Once
	free chan struct{}
}

// begin waits for a place; end gives it back.
func (s *searches) begin(ctx context.Context) (end func(), err error) {
	s.once.Do(func() { s.free = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)) })
	select {
	case s.free <- struct{}{}:
		return func() { <-s.free }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// found is what a search has come to.
type found struct {
	Lines []int64 `json:"lines"` // numbers from 1 of the first that match
	Count int64   `json:"count"` // of all lines that match, between where it began and Next
	Next  int64   `json:"next"`  // the first line, from 1, that was not searched
	Total int64   `json:"total"` // lines in the log
	Done  bool    `json:"done"`  // there was nothing more to be searched
}

// search looks for lines from number from on, counted from 0, until it has come
// to the end, to most matches if stop is set, or to the end of the time.
func search(ctx context.Context, rd *logs.Reader, from int64, most int, stop bool, match func(text []byte, l *logs.Line) bool) (found, error) {
	total, err := rd.Lines()
	f := found{Lines: []int64{}, Next: from + 1, Total: total}
	if err != nil {
		return f, err
	}
	var term logs.Terminal
	n, size := 0, 0
	for l, err := range rd.Scan(ctx, from) {
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, errTimeIsUp) || errors.Is(err, logs.ErrCorrupt) {
				f.Done = errors.Is(err, logs.ErrCorrupt) // nothing can be read behind it
				return f, nil
			}
			return f, err
		}
		if n, size = n+1, size+len(l.Text); n >= 1000 || size >= 256<<10 {
			n, size = 0, 0
			if ctx.Err() != nil {
				return f, nil
			}
		}
		if match(shownText(&term, &l), &l) {
			f.Count++
			if len(f.Lines) < most {
				f.Lines = append(f.Lines, l.No+1)
			}
			if stop && len(f.Lines) == most {
				f.Next = l.No + 2
				return f, nil
			}
		}
		if !l.Partial {
			f.Next = l.No + 2
		}
	}
	f.Done = true
	return f, nil
}

// find searches a log for what a query says.
func (c *call) find(rd *logs.Reader, q logQuery, most int, stop bool, d time.Duration) (found, error) {
	m, err := newMatcher(q.Find, q.Regex)
	if err != nil {
		return found{}, err
	}
	return c.searchFor(rd, q.From, most, stop, d, func(text []byte, _ *logs.Line) bool { return m.in(text) })
}

func (c *call) searchFor(rd *logs.Reader, from int64, most int, stop bool, d time.Duration, match func([]byte, *logs.Line) bool) (found, error) {
	end, err := c.s.viewer.searches.begin(c.ctx())
	if err != nil {
		return found{}, err
	}
	defer end()
	ctx, cancel := c.patient(d)
	defer cancel()
	f, err := search(ctx, rd, max(from-1, 0), most, stop, match)
	if err == nil && c.ctx().Err() != nil {
		err = context.Cause(c.ctx()) // nobody wants to know any more
	}
	return f, err
}

// serveSearch says which lines match, to the script.
func (s *Web) serveSearch(c *call) error {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	if q.Find == "" {
		return badRequest("nothing to search for")
	}
	_, rd, err := c.openPart()
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	f, err := c.find(rd, q, searchLines, false, searchTime)
	if err != nil {
		return err
	}
	return c.sendJSON(&f)
}

// errorTime bounds the search for the first error for those without script.
const errorTime = 10 * time.Second

// serveFirstError leads to the first line that looks like an error: the script
// gets its number, others are sent to it.
func (s *Web) serveFirstError(c *call) error {
	q, err := parseLogQuery(c.r.URL.Query())
	if err != nil {
		return err
	}
	p, rd, err := c.openPart()
	if err != nil {
		return err
	}
	defer c.closeReader(rd)
	d := errorTime
	if wantsPart(c.r) {
		d = searchTime
	}
	f, err := c.searchFor(rd, q.From, 1, true, d, looksWrong)
	if err != nil {
		return err
	}
	if wantsPart(c.r) {
		return c.sendJSON(&f)
	}
	q.From = 0
	to := "../" + p.Slug + q.String()
	switch {
	case len(f.Lines) > 0:
		q.From = chunkOf(f.Lines[0])
		to = "../" + p.Slug + q.String() + "#L" + itoa(f.Lines[0])
	case f.Done:
		to += "#noerror"
	}
	c.redirect(to)
	return nil
}

// wrong is what tools write before or in the line that tells of an error.
var wrong = regexp.MustCompile(`(?i)(?:^|[^\w./-])(?:error|fatal|panic|exception|traceback|failed|failure|segmentation fault|undefined reference|command not found|no such file or directory)(?:[^\w./-]|$)|(?:^|\s)--- FAIL|^FAIL\b|^make(?:\[\d+\])?: \*\*\*|npm ERR!|\w(?:Error|Exception): |^E   `)

// fine is what takes it back.
var fine = regexp.MustCompile(`(?i)\b(?:0|no|zero) (?:\w+ )?(?:errors?|failures?|failed|fatal)\b|\b(?:errors?|failures?|failed)\s*[:=]\s*0\b|\bif \w+ failed\b`)

// hints are the parts of wrong in lower case of which one must be there.
var hints = [][]byte{[]byte("err"), []byte("fa"), []byte("panic"), []byte("exception"), []byte("traceback"), []byte("undefined"), []byte("not found"), []byte("no such"), []byte(": ***"), []byte("e   ")}

// looksWrong reports whether a line looks like an error. The master's own lines
// count when they tell that something is not there.
func looksWrong(text []byte, l *logs.Line) bool {
	if l.Stream == worker.Header {
		return isGap(l) && bytes.Contains(text, []byte("ended while"))
	}
	return wrongText(text)
}

func wrongText(text []byte) bool {
	// A long line is data rather than a message; what matters stands at its beginning.
	text = text[:min(len(text), 4096)]
	var low [4096]byte
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	for _, h := range hints {
		if bytes.Contains(low[:len(text)], h) {
			return wrong.Match(text) && !fine.Match(text)
		}
	}
	return false
}
