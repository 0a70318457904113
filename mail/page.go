package mail

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"
)

// page is what a mail says, once for both of its forms.
type page []block

// block is one of: a heading, a paragraph, facts, lines of a log, a link.
type block struct {
	Heading, Para string
	Facts         []fact
	Log           []string
	Link          string
}

type fact struct{ Key, Value string }

// content renders p. Nothing in it is trusted: it is cleaned here.
func (p page) content(title, subject string) Content {
	p = p.clean()
	var b strings.Builder
	// The template is of this package and the data are strings: no error is possible.
	_ = pageHTML.Execute(&b, p)
	return Content{Subject: fmt.Sprintf("[%s] %s", oneLine(title, maxName), subject), Text: p.text(), HTML: b.String()}
}

func (p page) clean() page {
	cleaned := make(page, len(p))
	for i, b := range p {
		c := block{Heading: oneLine(b.Heading, maxLine), Para: oneLine(b.Para, maxLine), Link: oneLine(b.Link, maxLine)}
		for _, f := range b.Facts {
			if value := oneLine(f.Value, maxLine); value != "" {
				c.Facts = append(c.Facts, fact{oneLine(f.Key, maxName), value})
			}
		}
		for _, line := range b.Log {
			c.Log = append(c.Log, logLine(line))
		}
		cleaned[i] = c
	}
	return cleaned
}

// text is p for a terminal: blocks with empty lines between them.
func (p page) text() string {
	var blocks []string
	for _, b := range p {
		var lines []string
		switch {
		case b.Heading != "":
			lines = []string{b.Heading, strings.Repeat("-", utf8.RuneCountInString(b.Heading))}
		case b.Facts != nil:
			width := 0
			for _, f := range b.Facts {
				width = max(width, utf8.RuneCountInString(f.Key))
			}
			for _, f := range b.Facts {
				lines = append(lines, fmt.Sprintf("  %-*s  %s", width, f.Key, f.Value))
			}
		case b.Log != nil:
			for _, line := range b.Log {
				lines = append(lines, strings.TrimRight("  | "+line, " "))
			}
		case b.Link != "":
			lines = []string{b.Link}
		default:
			lines = []string{b.Para}
		}
		blocks = append(blocks, strings.Join(lines, "\n"))
	}
	return strings.Join(blocks, "\n\n") + "\n"
}

var pageHTML = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html><body style="font-family: sans-serif">
{{range .}}{{if .Heading}}<h3>{{.Heading}}</h3>
{{else if .Facts}}<table>
{{range .Facts}}<tr><th align="left" valign="top" style="padding-right: 1em">{{.Key}}</th><td>{{.Value}}</td></tr>
{{end}}</table>
{{else if .Log}}<pre style="padding: .5em; background: #eee; color: #000">
{{range .Log}}{{.}}
{{end}}</pre>
{{else if .Link}}<p><a href="{{.Link}}">{{.Link}}</a></p>
{{else}}<p>{{.Para}}</p>
{{end}}{{end}}</body></html>
`))

// instant is when something was: absolute, in the zone of now, and as people say it.
func instant(t, now time.Time) string {
	return fmt.Sprintf("%s (%s)", stamp(t, now), ago(now.Sub(t)))
}

func stamp(t, now time.Time) string {
	return t.In(now.Location()).Format("2006-01-02 15:04:05 MST")
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span says a duration in the largest unit of which there is at least one; days
// begin at two.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// counted says "1 request" or "3 requests".
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
