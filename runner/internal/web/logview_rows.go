package web

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/worker"
)

const (
	// rowChars is how many characters of a line a row shows.
	rowChars = 2000
	// maxRuns bounds the pieces of one row: a line can have a style for each
	// character.
	maxRuns = 500
	// maxMarks bounds what is marked in one row.
	maxMarks = 100
)

// rowWriter writes lines as HTML. What it writes holds nothing of a line but
// escaped text.
type rowWriter struct {
	query  logQuery
	prefix string // of the ids of rows
	path   string // of the log, as seen from the page that the rows are for
	began  time.Time
	find   *matcher // nil: nothing is marked
	chars  int      // per row
	term   logs.Terminal
	buf    []byte
}

// rowsFor returns a writer of rows for the page of the log, or of its build.
func rowsFor(p *logPart, q logQuery) (*rowWriter, error) {
	w := &rowWriter{query: q, path: p.Slug, began: p.Began(), chars: rowChars}
	if q.Whole {
		w.prefix, w.path = p.Key()+"-", p.Path()
	}
	w.query.Whole = false
	if q.Find != "" {
		m, err := newMatcher(q.Find, q.Regex)
		if err != nil {
			return nil, err
		}
		w.find = m
	}
	return w, nil
}

func (w *rowWriter) text(s string)  { w.buf = append(w.buf, s...) }
func (w *rowWriter) quote(s string) { w.buf = append(w.buf, html.EscapeString(s)...) }
func (w *rowWriter) num(n int64)    { w.buf = strconv.AppendInt(w.buf, n, 10) }

// isGap says whether a line of the master's own tells that something is not there.
// Package logs begins such lines so.
func isGap(l *logs.Line) bool {
	return l.Stream == worker.Header && strings.HasPrefix(string(l.Text[:min(len(l.Text), 4)]), "… ")
}

// line writes the row of a line.
func (w *rowWriter) line(l *logs.Line) {
	no := l.No + 1
	class, mark, title := "r", "", ""
	switch {
	case isGap(l):
		class, mark, title = "r gap", "gap", "something is not there"
	case l.Stream == worker.Stderr:
		class, mark, title = "r err", "err", "standard error"
	case l.Stream == worker.Header:
		class, mark, title = "r own", "own", "written by Bothy"
	}
	if l.Partial {
		class += " open"
	}
	w.text(`<div class="` + class + `" id="` + w.prefix + `L`)
	w.num(no)
	w.text(`"><a class="n" href="`)
	q := w.query
	q.From = chunkOf(no)
	w.quote(w.path + q.String() + "#L")
	w.num(no)
	w.text(`">`)
	w.num(no)
	w.text(`</a><time datetime="`)
	w.buf = l.Time.UTC().AppendFormat(w.buf, "2006-01-02T15:04:05.000Z")
	w.text(`" data-r="`)
	w.text(sinceText(l.Time.Sub(w.began)))
	w.text(`">`)
	w.buf = l.Time.AppendFormat(w.buf, "15:04:05.000")
	w.text(`</time><i`)
	if mark != "" {
		w.text(` title="` + title + `">` + mark)
	} else {
		w.text(`>`)
	}
	w.text(`</i><code>`)
	var row logs.Row
	if w.query.Raw {
		row = logs.Written(l.Text, w.chars)
	} else {
		row = w.term.Draw(l.Text, l.Pen, w.chars)
	}
	w.runs(&row)
	w.text("</code>")
	if row.Cut > 0 {
		w.more(no, count(row.Cut, "character")+" more")
	}
	if row.Redrawn > 0 {
		w.more(no, "redrawn "+count(row.Redrawn, "time"))
	}
	if l.Split {
		w.text(`<b class="more" title="the line is longer than a line can be, and goes on below">goes on</b>`)
	}
	w.text("</div>\n")
}

// more links to all of a line.
func (w *rowWriter) more(no int64, what string) {
	w.text(`<a class="more" href="`)
	w.quote(w.path + "/line?from=" + strconv.FormatInt(no, 10))
	w.text(`">` + what + `</a>`)
}

// gap writes a row that says what is not there.
func (w *rowWriter) gap(what string) {
	w.text(`<div class="r gap"><a class="n"></a><time></time><i title="something is not there">gap</i><code>`)
	w.quote(what)
	w.text("</code></div>\n")
}

// sinceText is a time as it is written beside a line: +0.012, +1:02.345, +1:02:03.4.
func sinceText(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	ms := d.Milliseconds()
	s := strconv.FormatInt(ms/1000%60, 10)
	frac := "." + strconv.FormatInt(ms%1000+1000, 10)[1:]
	if m := ms / 60000; m > 0 {
		if len(s) < 2 {
			s = "0" + s
		}
		if h := m / 60; h > 0 {
			min := strconv.FormatInt(m%60+100, 10)[1:]
			return sign + strconv.FormatInt(h, 10) + ":" + min + ":" + s + frac[:2]
		}
		s = strconv.FormatInt(m, 10) + ":" + s
	}
	return sign + s + frac
}

// runs writes the text of a row: styled, with links, and what was found marked.
func (w *rowWriter) runs(row *logs.Row) {
	var marks [][2]int
	if w.find != nil {
		marks = w.find.all(row.Plain(), maxMarks)
	}
	at := 0
	for i, run := range row.Runs {
		if i == maxRuns {
			run.Style = logs.Style{}
		}
		style := styleOf(run, i >= maxRuns)
		if style != "" {
			w.text("<span " + style + ">")
		}
		w.marked(run.Text, at, marks, !run.Control)
		if style != "" {
			w.text("</span>")
		}
		at += len(run.Text)
	}
}

// marked writes text that begins at byte at of the row; marks are ranges of the row.
func (w *rowWriter) marked(text string, at int, marks [][2]int, links bool) {
	for _, m := range marks {
		from, to := max(m[0]-at, 0), min(m[1]-at, len(text))
		if to <= 0 {
			continue
		}
		if from >= len(text) {
			break
		}
		w.linked(text[:from], links)
		w.text("<mark>")
		w.quote(text[from:to])
		w.text("</mark>")
		text, at = text[to:], at+to
	}
	w.linked(text, links)
}

// address is what is made a link: conservative, so that what stands around an
// address is not taken for a part of it.
var address = regexp.MustCompile(`\bhttps?://[A-Za-z0-9][-A-Za-z0-9.:]*(?:[/?#][-A-Za-z0-9._~:/?#\[\]@!$&'*+,;=%()]*)?`)

func (w *rowWriter) linked(text string, links bool) {
	if !links || !strings.Contains(text, "://") {
		w.quote(text)
		return
	}
	last := 0
	for _, at := range address.FindAllStringIndex(text, maxMarks) {
		link := strings.TrimRight(text[at[0]:at[1]], `.,;:!?'")]*`)
		w.quote(text[last:at[0]])
		w.text(`<a href="`)
		w.quote(link)
		w.text(`" rel="noopener noreferrer nofollow" target="_blank">`)
		w.quote(link)
		w.text(`</a>`)
		last = at[0] + len(link)
	}
	w.quote(text[last:])
}

// styleOf is the class attribute of a run, "" for plain text. Colours that are
// not in the palette get the class of the nearest one that is, and the script
// sets the exact one.
func styleOf(run logs.Run, plain bool) string {
	if run.Control {
		return `class="ctl"`
	}
	st := run.Style
	if plain || st == (logs.Style{}) {
		return ""
	}
	fg, bg := st.Fg, st.Bg
	var class, exact []string
	if st.Attr&logs.Inverse != 0 {
		fg, bg = bg, fg
		if fg == 0 {
			class = append(class, "fi")
		}
		if bg == 0 {
			class = append(class, "bi")
		}
	}
	for _, c := range []struct {
		color logs.Color
		key   string
	}{{fg, "f"}, {bg, "b"}} {
		if c.color == 0 {
			continue
		}
		n, ok := c.color.Indexed()
		if !ok {
			v, _ := c.color.RGB()
			n = nearest(v)
			exact = append(exact, ` data-`+c.key+`="#`+strconv.FormatUint(uint64(v)|1<<24, 16)[1:]+`"`)
		}
		class = append(class, c.key, c.key+strconv.Itoa(int(n)))
	}
	for i, name := range []string{"sb", "sf", "si", "su", "", "", "sc", "ss"} {
		if name != "" && st.Attr&(1<<i) != 0 {
			class = append(class, name)
		}
	}
	if len(class) == 0 {
		return ""
	}
	return `class="` + strings.Join(class, " ") + `"` + strings.Join(exact, "")
}

// cube are the steps of each channel in the colours 16 to 231 of the palette.
// xterm: 256colres.pl.
var cube = [6]int{0, 95, 135, 175, 215, 255}

// paletteRGB is the colour of number n ≥ 16.
func paletteRGB(n uint8) uint32 {
	if n >= 232 {
		v := uint32(8 + 10*(int(n)-232))
		return v<<16 | v<<8 | v
	}
	i := int(n) - 16
	return uint32(cube[i/36])<<16 | uint32(cube[i/6%6])<<8 | uint32(cube[i%6])
}

// nearest is the number of the palette's colour that is closest to one.
func nearest(rgb uint32) uint8 {
	channels := func(v uint32) [3]int { return [3]int{int(v >> 16 & 255), int(v >> 8 & 255), int(v & 255)} }
	want := channels(rgb)
	at := 16
	grey := 0
	for i, v := range want {
		best := 0
		for j := range cube {
			if abs(cube[j]-v) < abs(cube[best]-v) {
				best = j
			}
		}
		at += best * [3]int{36, 6, 1}[i]
		grey += v
	}
	distance := func(n uint8) (sum int) {
		for i, v := range channels(paletteRGB(n)) {
			sum += (v - want[i]) * (v - want[i])
		}
		return sum
	}
	g := uint8(232 + min(max((grey/3-8+5)/10, 0), 23))
	if distance(g) < distance(uint8(at)) {
		return g
	}
	return uint8(at)
}

func abs(n int) int { return max(n, -n) }
