package web

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// funcs are what templates may call, besides the methods of their data.
func funcs() template.FuncMap {
	return template.FuncMap{
		"path":    url.PathEscape, // of one element
		"topic":   topic,
		"icon":    icon,
		"result":  resultMark,
		"ago":     ago,
		"moment":  moment,
		"clock":   clock,
		"elapsed": elapsed,
		"left":    left,
		"took":    took,
		"bytes":   byteSize,
		"count":   count,
		"join":    strings.Join,
		"list":    func(all ...any) []any { return all }, // several things for one template
		"shorten": func(n int, s string) string { return shorten(s, n) },
		"action":  actionName,
	}
}

// took writes how long something lasted, in at most two units: "7 ms", "0.4 s", "12 s",
// "3 min 5 s", "2 h 10 min", "3 d 4 h".
func took(d time.Duration) string {
	switch d = max(0, d); {
	case d < 100*time.Millisecond:
		return strconv.Itoa(int(d/time.Millisecond)) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(d.Milliseconds()/100)/10, 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	}
	for _, u := range []struct {
		most        time.Duration
		large, each time.Duration
		a, b        string
	}{
		{time.Hour, time.Minute, time.Second, "min", "s"},
		{24 * time.Hour, time.Hour, time.Minute, "h", "min"},
		{1 << 62, 24 * time.Hour, time.Hour, "d", "h"},
	} {
		if d < u.most {
			s := strconv.Itoa(int(d/u.large)) + " " + u.a
			if rest := int(d % u.large / u.each); rest > 0 {
				s += " " + strconv.Itoa(rest) + " " + u.b
			}
			return s
		}
	}
	return ""
}

// agoText says how long ago something was, in one unit.
func agoText(d time.Duration) string {
	switch d = max(0, d); {
	case d < 5*time.Second:
		return "now"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s ago"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h ago"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " d ago"
}

// timeTag is a time that the script keeps up to date; kind says how. Without
// script it is as old as the page, and its title says when exactly.
func timeTag(kind string, t time.Time, text string) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-%s="%d" title="%s">%s</time>`,
		t.UTC().Format(time.RFC3339), kind, t.UnixMilli(), t.Format("2006-01-02 15:04:05 MST"), text)) // no part of it is anybody's words
}

// ago is a moment in the past.
func ago(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return timeTag("ago", t, agoText(time.Since(t)))
}

// moment is a date and time.
func moment(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return timeTag("moment", t, t.Format("2006-01-02 15:04:05"))
}

// clock is a moment that is not long ago, without the date.
func clock(t time.Time) template.HTML { return timeTag("clock", t, t.Format("15:04")) }

// elapsed is how long something lasts that began at t.
func elapsed(t time.Time) template.HTML { return timeTag("elapsed", t, took(time.Since(t))) }

// left is how long it is until t.
func left(t time.Time) template.HTML { return timeTag("left", t, worker.Countdown(time.Until(t))) }

// byteSize writes a number of bytes: "512 B", "1.5 KiB", "3.2 GiB".
func byteSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 4 {
		f /= 1024
		unit++
	}
	digits := 1
	if f >= 100 {
		digits = 0
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', digits, 64), ".0") + " " + string("KMGTP"[unit]) + "iB"
}

// count writes "1 build", "2 builds".
func count(n any, one string, many ...string) string {
	s := fmt.Sprint(n)
	switch {
	case s == "1":
		return "1 " + one
	case len(many) > 0:
		return s + " " + many[0]
	}
	return s + " " + one + "s"
}

// shorten cuts what is longer than n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// resultMark is a result as a word with a shape and a colour.
func resultMark(r build.Result) template.HTML {
	name := r.String()
	if r == build.None {
		name = "running"
	}
	return template.HTML(`<span class="mark ` + name + `">` + string(icon(name)) + name + `</span>`) // no part of it is anybody's words
}
