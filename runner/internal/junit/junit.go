// Package junit reads test reports in the XML that JUnit's Ant task once wrote,
// and that most test runners write today, each in its dialect.
package junit

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a report.
const (
	// MaxSize is how much of a report is read, in bytes: a hundred thousand tests
	// have 20 MB. encoding/xml holds one text at a time.
	MaxSize = 32 << 20
	// maxDepth is how deep elements may be in each other; suites in suites in real
	// reports have no ten.
	maxDepth = 100
	// maxTests keeps counts sane.
	maxTests = 10_000_000
	// maxDuration bounds what a report says a test took.
	maxDuration = 365 * 24 * time.Hour
)

// Limits of what is kept of a test that did not pass, in bytes.
const (
	maxName    = 512
	maxMessage = 2 << 10
	maxOutput  = 8 << 10
	// margin is held beyond that until secrets are taken out, so that none is cut
	// in two: what is left of one could not be found.
	margin = 64 << 10
)

// Report is what reports say in all.
type Report struct {
	// Hide takes secrets out of a text of Failed. Nil: there are none.
	Hide func(string) string

	Tests, Failures, Errors, Skipped int64
	Duration                         time.Duration // of all tests together
	Failed                           []Test        // the first that did not pass
}

// Test is a test that did not pass. Texts are cut to a bounded length.
type Test struct {
	Name, Class, File string
	Error             bool // it broke, rather than failed
	Duration          time.Duration
	Message           string
	Output            string // what the report says of it beyond the message
}

// Errors of Read, besides those of reading and of XML.
var (
	ErrNoReport = errors.New("it is no JUnit report")
	ErrTooLarge = fmt.Errorf("it has more than %d MiB", MaxSize>>20)
)

// Read adds what a report says to r, whose Failed becomes no longer than most.
// After an error r is as it was.
func (r *Report) Read(from io.Reader, most int) error {
	limited := &io.LimitedReader{R: from, N: MaxSize + 1}
	p := parser{d: xml.NewDecoder(limited), out: *r, most: most}
	p.out.Failed = r.Failed[:len(r.Failed):len(r.Failed)]
	p.d.CharsetReader = charset
	err := p.read()
	if limited.N <= 0 {
		err = ErrTooLarge
	}
	if err != nil {
		return err
	}
	*r = p.out
	return nil
}

// charset reads what is ASCII or Latin-1; encoding/xml itself reads UTF-8.
func charset(name string, from io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii":
		return from, nil
	case "iso-8859-1", "latin1":
		return &latin1{from: from}, nil
	}
	return nil, fmt.Errorf("its encoding %.40q is not known here", name)
}

// latin1 turns each byte into a rune.
type latin1 struct {
	from io.Reader
	in   [512]byte
}

func (l *latin1) Read(p []byte) (int, error) {
	n, err := l.from.Read(l.in[:min(len(p)/2, len(l.in))])
	out := p[:0]
	for _, b := range l.in[:n] {
		out = utf8.AppendRune(out, rune(b))
	}
	return len(out), err
}

// parser reads one report.
type parser struct {
	d     *xml.Decoder
	out   Report
	most  int
	depth int

	suiteFile []string // of the suites around
	test      *Test    // the one that is read; nil: none
	testDepth int
	verdict   verdict
	text      *strings.Builder // of an element of the test that says something
	textDepth int
}

// verdict is what the elements of a test say; the worst counts.
type verdict int

const (
	passed verdict = iota
	skipped
	failed
	broken
)

func (p *parser) read() error {
	seen := false
	for {
		tok, err := p.d.Token()
		switch {
		case err == io.EOF && seen:
			return nil
		case err == io.EOF:
			return ErrNoReport
		case err != nil:
			return err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			p.depth++
			name := tok.Name.Local
			switch {
			case p.depth > maxDepth:
				return fmt.Errorf("elements are more than %d deep", maxDepth)
			case p.depth == 1 && (seen || name != "testsuites" && name != "testsuite"):
				return ErrNoReport
			}
			seen = true
			if err := p.start(name, tok.Attr); err != nil {
				return err
			}
		case xml.EndElement:
			p.end(tok.Name.Local)
			p.depth--
		case xml.CharData:
			p.add(tok)
		}
	}
}

func (p *parser) start(name string, attrs []xml.Attr) error {
	get := func(names ...string) string {
		for _, n := range names {
			for _, a := range attrs {
				if a.Name.Local == n {
					return a.Value
				}
			}
		}
		return ""
	}
	switch {
	case p.test == nil && name == "testsuite":
		p.suiteFile = append(p.suiteFile, head(get("file", "filepath"), maxName))
	case p.test == nil && name == "testcase":
		if p.out.Tests >= maxTests {
			return fmt.Errorf("more than %d tests", maxTests)
		}
		p.test = &Test{
			Name: head(get("name"), maxName), Class: head(get("classname", "class"), maxName), File: head(get("file", "filepath"), maxName),
			Duration: duration(get("time", "duration")),
		}
		if n := len(p.suiteFile); p.test.File == "" && n > 0 {
			p.test.File = p.suiteFile[n-1]
		}
		p.testDepth, p.verdict = p.depth, passed
		if get("status") == "notrun" || get("result") == "skipped" { // GoogleTest
			p.verdict = skipped
		}
	case p.test != nil && p.depth == p.testDepth+1:
		v, ok := map[string]verdict{"failure": failed, "error": broken, "skipped": skipped, "disabled": skipped}[name]
		if !ok || v < p.verdict {
			return nil
		}
		if v > p.verdict || p.test.Message == "" {
			p.test.Message = head(get("message"), maxMessage)
			if p.test.Message == "" {
				p.test.Message = head(get("type"), maxMessage)
			}
		}
		if v > p.verdict {
			p.test.Output = ""
		}
		p.verdict = v
		if p.test.Output == "" && v > skipped {
			p.text, p.textDepth = &strings.Builder{}, p.depth
		}
	}
	return nil
}

func (p *parser) end(name string) {
	switch {
	case p.text != nil && p.depth == p.textDepth:
		p.test.Output = strings.Trim(p.text.String(), "\r\n")
		p.text = nil
	case p.test != nil && p.depth == p.testDepth:
		p.count()
		p.test = nil
	case p.test == nil && name == "testsuite":
		p.suiteFile = p.suiteFile[:len(p.suiteFile)-1]
	}
}

// add takes text of an element that says why a test did not pass.
func (p *parser) add(text []byte) {
	if p.text == nil {
		return
	}
	if room := maxOutput + margin - p.text.Len(); room > 0 {
		p.text.Write(text[:min(len(text), room)])
	}
}

func (p *parser) count() {
	r := &p.out
	r.Tests++
	r.Duration = min(r.Duration+p.test.Duration, math.MaxInt64/4)
	switch p.verdict {
	case skipped:
		r.Skipped++
		return
	case passed:
		return
	case failed:
		r.Failures++
	case broken:
		r.Errors++
		p.test.Error = true
	}
	if len(r.Failed) < p.most {
		if p.test.Message == "" { // pytest and others say it in the first line
			p.test.Message, _, _ = strings.Cut(p.test.Output, "\n")
		}
		r.Failed = append(r.Failed, *p.test)
		t := &r.Failed[len(r.Failed)-1]
		for _, f := range []struct {
			text *string
			most int
		}{{&t.Name, maxName}, {&t.Class, maxName}, {&t.File, maxName}, {&t.Message, maxMessage}, {&t.Output, maxOutput}} {
			if r.Hide != nil {
				*f.text = r.Hide(*f.text)
			}
			*f.text = cut(*f.text, f.most)
		}
	}
}

// head returns what may be needed of a text of which n bytes are kept.
func head(s string, n int) string { return strings.Clone(s[:min(len(s), n+margin)]) }

// duration reads seconds: "0.012", "1,234.5" as the JVM writes it in English.
func duration(s string) time.Duration {
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil || !(f > 0) {
		return 0
	}
	return time.Duration(min(f, maxDuration.Seconds()) * float64(time.Second))
}

// cut returns valid UTF-8 of at most n bytes.
func cut(s string, n int) string {
	const mark = "…"
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= n {
		return s
	}
	s = s[:n-len(mark)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + mark
}
