package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"bothy/runner/build"
)

type builderRow struct {
	ID          int64 `json:"builderid"`
	Name        string
	Description string
	Tags        []string
	RemovedAt   stamp `json:"removed_at"`
}

// runBuilders lists the builders with what they do and how the last build went.
func runBuilders(ctx context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	var all []builderRow
	rows, err := m.get(ctx, "builders", url.Values{"order": {"name"}}, &all)
	if err != nil {
		return failed(err)
	}
	if c.flag("json") {
		return printRows(c.Stdout, rows)
	}
	var open []requestRow
	if _, err := m.get(ctx, "buildrequests", url.Values{"complete": {"false"}}, &open); err != nil {
		return failed(err)
	}
	pending, running := map[string]int{}, map[string]int{}
	for _, r := range open {
		if r.State == "running" {
			running[r.Builder]++
		} else {
			pending[r.Builder]++
		}
	}
	now := time.Now()
	t := columns{head: []string{"BUILDER", "LAST", "BUILD", "WHEN", "TOOK", "RUNNING", "PENDING", "TAGS", "DESCRIPTION"}}
	for _, b := range all {
		if !b.RemovedAt.IsZero() {
			continue // of an earlier configuration
		}
		var last []buildRow
		query := url.Values{"complete": {"true"}, "order": {"-buildid"}, "limit": {"1"}}
		if _, err := m.get(ctx, fmt.Sprintf("builders/%d/builds", b.ID), query, &last); err != nil {
			return failed(err)
		}
		result, number, when, tookText := styledCell(styleDim, "never"), "", "", ""
		if len(last) > 0 {
			l := last[0]
			result, number = l.result(), fmt.Sprintf("#%d", l.Number)
			when, tookText = ago(now, l.CompleteAt), l.took(now)
		}
		t.add(plainCell(b.Name), result, plainCell(number), plainCell(when), plainCell(tookText),
			plainCell(fmt.Sprint(running[b.Name])), plainCell(fmt.Sprint(pending[b.Name])),
			plainCell(strings.Join(b.Tags, " ")), styledCell(styleDim, b.Description))
	}
	return t.print(c.Env, "no builders are configured")
}

// result is the build's result as a cell.
func (b *buildRow) result() span {
	if b.Results == nil {
		return styledCell(styleBold, "running")
	}
	return styledCell(resultStyle(*b.Results), resultWord(*b.Results))
}

type buildRow struct {
	ID          int64 `json:"buildid"`
	Number      int64
	Builder     string
	Worker      string
	Complete    bool
	Results     *build.Result
	StartedAt   stamp    `json:"started_at"`
	CompleteAt  stamp    `json:"complete_at"`
	StateString string   `json:"state_string"`
	Duration    *float64 `json:"duration_s"` // so far, while it runs; nil from a master that does not say
}

// took is how long the build took, or has run until now. Times over REST are
// whole seconds.
func (b *buildRow) took(now time.Time) string {
	switch {
	case b.Duration != nil:
		return took(time.Duration(*b.Duration * float64(time.Second)))
	case b.Complete:
		now = b.CompleteAt.Time
	}
	return took(now.Sub(b.StartedAt.Time))
}
