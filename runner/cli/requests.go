package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"bothy/runner/build"
)

func requestsFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.Bool("why", false, "say of every pending request what keeps it from each worker")
}

type requestRow struct {
	ID          int64 `json:"buildrequestid"`
	Builder     string
	Priority    int
	State       string
	Reason      string
	Complete    bool
	Results     build.Result
	SubmittedAt stamp  `json:"submitted_at"`
	StateString string `json:"state_string"`
}

type whyRow struct {
	Worker    string `json:"worker"`
	Predicate string `json:"predicate"`
	Reason    string `json:"reason"`
}

// runRequests lists what waits and what runs, in the order in which it is chosen.
func runRequests(ctx context.Context, c *call) error {
	if err := c.tooMany(0); err != nil {
		return err
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	var all []requestRow
	rows, err := m.get(ctx, "buildrequests", url.Values{"complete": {"false"}, "order": {"-priority", "buildrequestid"}}, &all)
	if err != nil {
		return failed(err)
	}
	if c.flag("json") && !c.flag("why") {
		return printRows(c.Stdout, rows)
	}
	now := time.Now()
	t := columns{head: []string{"ID", "BUILDER", "STATE", "PRIORITY", "SUBMITTED", "REASON"}}
	whys := map[string][]whyRow{}
	for _, r := range all {
		st := styleNone
		if r.State == "running" {
			st = styleBold
		}
		t.add(plainCell(fmt.Sprint(r.ID)), plainCell(r.Builder), styledCell(st, r.State), plainCell(fmt.Sprint(r.Priority)),
			plainCell(ago(now, r.SubmittedAt)), styledCell(styleDim, r.Reason))
		if r.State != "pending" || !c.flag("why") {
			continue
		}
		var why []whyRow
		if _, err := m.get(ctx, fmt.Sprintf("buildrequests/%d/why", r.ID), nil, &why); err != nil {
			return failed(err)
		}
		whys[strconv.FormatInt(r.ID, 10)] = why
		for _, w := range why {
			text := w.Reason
			if w.Worker != "" {
				text = w.Worker + ": " + w.Reason
			}
			t.note(oneLine(visible([]byte(text))))
		}
	}
	if c.flag("json") {
		return printJSON(c.Stdout, whys)
	}
	return t.print(c.Env, "nothing waits and nothing runs")
}

func cancelFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.String("reason", "", "why: kept and shown with the request")
}

// runCancel cancels requests, and the builds they run.
func runCancel(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return wrongUsage("cancel which request? \"bothy requests\" lists them")
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	var errs []error
	for _, arg := range c.args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return wrongUsage("%q is not the number of a request", arg)
		}
		if err := m.control(ctx, fmt.Sprintf("buildrequests/%d", id), "cancel", map[string]any{"reason": c.text("reason")}, nil); err != nil {
			errs = append(errs, fmt.Errorf("request %d: %w", id, err))
			continue
		}
		if c.flag("json") {
			continue
		}
		if _, err := fmt.Fprintf(c.Stdout, "request %d: cancelled\n", id); err != nil {
			return err
		}
	}
	if c.flag("json") {
		errs = append(errs, c.printNow(ctx, m, "buildrequests", "buildrequestid", c.args))
	}
	return failed(errors.Join(errs...))
}
