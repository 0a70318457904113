package mail

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what a mail says of a build.
const (
	maxSteps    = 100
	maxChanges  = 50
	maxLogLines = 100 // the last ones
)

// Build is what a mail says of a finished build. Empty fields are left out.
type Build struct {
	Builder  string
	Number   int
	Result   string // such as "failure"
	Previous string // result of the builder's build before
	Worker   string
	Reason   string // why it ran
	Owner    string
	Text     string // the build in a few words, such as "2 tests failed"
	Duration time.Duration
	Steps    []Step
	Log      LogTail
	Changes  []Change
	URL      string // of its page
}

// Step is a step of a build.
type Step struct {
	Name, Result, Text string
	Duration           time.Duration
}

// LogTail is the end of the log of the step that failed.
type LogTail struct {
	Step, Name string
	Lines      []string // without line ends; the last 100 are shown
}

// Change is a change that went into a build.
type Change struct {
	Author, Revision, Comment string // of the comment only the first line is shown
}

// BuildFinished is the mail about a finished build. Its subject may be replaced,
// and attachments may be added.
func BuildFinished(title string, b Build) Content {
	builder, result := oneLine(b.Builder, maxName), oneLine(b.Result, maxName)
	number := fmt.Sprintf("build %d", b.Number)
	ended := result
	if b.Previous != "" && b.Previous != b.Result {
		ended += " (before: " + oneLine(b.Previous, maxName) + ")"
	}
	p := page{
		{Para: fmt.Sprintf("%s, %s: %s", builder, number, ended)},
		{Facts: append([]fact{
			{"worker", b.Worker}, {"reason", b.Reason}, {"owner", b.Owner}, {"result", joined(ended, b.Text)}, {"duration", took(b.Duration)},
		}, changes(b.Changes)...)},
	}
	if steps := steps(b.Steps); steps != nil {
		p = append(p, block{Heading: "Steps"}, block{Facts: steps})
	}
	if lines := b.Log.Lines; len(lines) > 0 {
		heading := strings.TrimSpace("End of " + b.Log.Step + " " + b.Log.Name)
		p = append(p, block{Heading: heading}, block{Log: lines[max(0, len(lines)-maxLogLines):]})
	}
	if b.URL != "" {
		p = append(p, block{Link: b.URL})
	}
	return p.content(title, fmt.Sprintf("%s %s: %s", builder, number, result))
}

func steps(steps []Step) (facts []fact) {
	for i, s := range steps {
		if i == maxSteps {
			return append(facts, fact{"…", fmt.Sprintf("and %d more", len(steps)-i)})
		}
		facts = append(facts, fact{s.Name, joined(s.Result, s.Text, took(s.Duration))})
	}
	return facts
}

func changes(changes []Change) (facts []fact) {
	for i, c := range changes {
		if i == maxChanges {
			return append(facts, fact{"…", fmt.Sprintf("and %d more", len(changes)-i)})
		}
		comment, _, _ := strings.Cut(strings.TrimSpace(c.Comment), "\n")
		facts = append(facts, fact{"change", joined(c.Revision, c.Author, comment)})
	}
	return facts
}

// joined puts commas between the parts that say something.
func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
