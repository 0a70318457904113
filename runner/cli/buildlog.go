package cli

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"bothy/runner/build"
)

func logFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.BoolP("follow", "f", false, "go on as the build does, until it ends")
}

type stepRow struct {
	ID          int64 `json:"stepid"`
	Number      int
	Name        string
	Complete    bool
	Hidden      bool
	Results     *build.Result
	StateString string `json:"state_string"`
}

type logRow struct {
	ID       int64 `json:"logid"`
	Name     string
	Slug     string
	Type     string
	Complete bool
	Lines    int64 `json:"num_lines"`
}

// runLog prints the logs of a build, or of one of its steps.
func runLog(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return wrongUsage("the log of which build? \"bothy builds\" lists them")
	}
	if err := c.tooMany(2); err != nil {
		return err
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	b, err := c.buildNamed(ctx, m, c.args[0])
	if err != nil {
		return err
	}
	if c.flag("json") {
		if c.flag("follow") {
			return wrongUsage("a log that is followed is text: leave out --json, or -f")
		}
		p := &logPrinter{c: c, m: m, build: b}
		if len(c.args) > 1 {
			p.only = c.args[1]
		}
		return failed(p.json(ctx))
	}
	p := &logPrinter{c: c, m: m, build: b, printed: map[int64]int64{}, done: map[int64]bool{}, out: bufio.NewWriter(c.Stdout)}
	if f, ok := c.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.seen = true
		p.coloured = wantsTree(c.Env) && enableEscapes(f)
	}
	if len(c.args) > 1 {
		p.only = c.args[1]
	}
	if !c.flag("follow") || b.Complete {
		_, err := p.round(ctx)
		return failed(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Every event of the build's steps and logs wakes it: what it prints, it asks.
	for range m.watch(ctx, "*/*/*") {
		if done, err := p.round(ctx); done || err != nil {
			return failed(err)
		}
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// followPause is how long after a look at a build comes the next: events of other
// builds wake it too.
const followPause = 100 * time.Millisecond

// logPrinter prints what a build has written and was not printed yet.
type logPrinter struct {
	c        *call
	m        *client
	build    buildRow
	only     string // name or number of a step; "": all
	out      *bufio.Writer
	seen     bool // by a person: without control characters
	coloured bool
	printed  map[int64]int64 // by log: lines
	headed   int64           // the log whose heading was printed last
	done     map[int64]bool  // steps that are printed to their end
}

// round prints what is new, step by step, no further than the first step that
// goes on. It reports whether there is nothing to wait for.
func (p *logPrinter) round(ctx context.Context) (done bool, err error) {
	defer func() {
		if ferr := p.out.Flush(); err == nil && ferr != nil {
			err = fmt.Errorf("write the log: %w", ferr)
		}
	}()
	var now []buildRow
	if _, err := p.m.get(ctx, fmt.Sprintf("builds/%d", p.build.ID), nil, &now); err != nil {
		return false, err
	}
	over := len(now) > 0 && now[0].Complete
	steps, err := p.steps(ctx, over)
	if err != nil {
		return false, err
	}
	for _, s := range steps {
		if p.done[s.ID] {
			continue
		}
		var logs []logRow
		if _, err := p.m.get(ctx, fmt.Sprintf("steps/%d/logs", s.ID), url.Values{"order": {"logid"}}, &logs); err != nil {
			return false, err
		}
		for _, l := range logs {
			if err := p.print(ctx, s, l); err != nil {
				return false, err
			}
		}
		if !s.Complete && !over {
			return false, nil
		}
		p.done[s.ID] = true
		if p.only != "" {
			return true, nil
		}
	}
	return over, nil
}

// steps are those that are to be printed.
func (p *logPrinter) steps(ctx context.Context, over bool) ([]stepRow, error) {
	var steps []stepRow
	_, err := p.m.get(ctx, fmt.Sprintf("builds/%d/steps", p.build.ID), url.Values{"order": {"number"}}, &steps)
	if err != nil || p.only == "" {
		return steps, err
	}
	return p.chosen(steps, over)
}

// json prints all there is of the logs until now.
func (p *logPrinter) json(ctx context.Context) error {
	steps, err := p.steps(ctx, true)
	if err != nil {
		return err
	}
	type logText struct {
		BuildID  int64  `json:"buildid"`
		Step     int    `json:"step_number"`
		StepName string `json:"step_name"`
		LogID    int64  `json:"logid"`
		Name     string `json:"name"`
		Type     string `json:"type"` // "s": each line begins with o, e or h: stdout, stderr, header
		Complete bool   `json:"complete"`
		Content  string `json:"content"`
	}
	all := []logText{}
	for _, s := range steps {
		var logs []logRow
		if _, err := p.m.get(ctx, fmt.Sprintf("steps/%d/logs", s.ID), url.Values{"order": {"logid"}}, &logs); err != nil {
			return err
		}
		for _, l := range logs {
			var content strings.Builder
			for first := int64(0); first < l.Lines; {
				text, err := p.text(ctx, l, first)
				if err != nil {
					return err
				}
				if text == "" {
					break
				}
				content.WriteString(text)
				for range strings.Lines(text) {
					first++
				}
			}
			all = append(all, logText{p.build.ID, s.Number, s.Name, l.ID, l.Name, l.Type, l.Complete, content.String()})
		}
	}
	return printJSON(p.c.Stdout, all)
}

// chosen is the one step that was asked for, none if it may still come.
func (p *logPrinter) chosen(steps []stepRow, over bool) ([]stepRow, error) {
	var names []string
	i := slices.IndexFunc(steps, func(s stepRow) bool {
		names = append(names, s.Name)
		return s.Name == p.only || strconv.Itoa(s.Number) == p.only
	})
	switch {
	case i >= 0:
		return steps[i : i+1], nil
	case over || !p.c.flag("follow"):
		return nil, wrongUsage("%s #%d has no step %q%s; it has %s", p.build.Builder, p.build.Number, p.only, didYouMean(p.only, names), strings.Join(names, ", "))
	}
	return nil, nil
}

// logLines is how many lines are asked for at a time.
const logLines = 1000

func (p *logPrinter) print(ctx context.Context, s stepRow, l logRow) error {
	for p.printed[l.ID] < l.Lines {
		some, err := p.text(ctx, l, p.printed[l.ID])
		if err != nil || some == "" {
			return err
		}
		p.heading(s, l)
		for text := range strings.Lines(some) {
			p.line(strings.TrimSuffix(text, "\n"), l.Type == "s")
			p.printed[l.ID]++
		}
	}
	return nil
}

// text is some of a log's lines from one on, "" if there are none.
func (p *logPrinter) text(ctx context.Context, l logRow, first int64) (string, error) {
	var chunks []struct{ Content string }
	query := url.Values{"offset": {strconv.FormatInt(first, 10)}, "limit": {strconv.Itoa(logLines)}}
	if _, err := p.m.get(ctx, fmt.Sprintf("logs/%d/contents", l.ID), query, &chunks); err != nil || len(chunks) == 0 {
		return "", err
	}
	return chunks[0].Content, nil
}

// heading tells the logs of a build apart; the only log of a step needs none.
func (p *logPrinter) heading(s stepRow, l logRow) {
	if p.headed == l.ID || p.only != "" && l.Slug == "stdio" {
		return
	}
	p.headed = l.ID
	text := fmt.Sprintf("--- %d. %s", s.Number, s.Name)
	if l.Slug != "stdio" {
		text += ", " + l.Name
	}
	p.write(styleBold, oneLine(text))
}

func (p *logPrinter) line(text string, streams bool) {
	st := styleNone
	if streams && text != "" {
		switch text[0] {
		case 'h':
			st = styleDim
		case 'e':
			st = styleYellow
		}
		text = text[1:]
	}
	if p.seen {
		text = untab(visible([]byte(text)))
	}
	p.write(st, text)
}

func (p *logPrinter) write(s style, text string) {
	if p.coloured {
		p.out.Write(line{{s, text}}.append(nil, 0, true))
	} else {
		p.out.WriteString(text)
	}
	p.out.WriteByte('\n')
}
