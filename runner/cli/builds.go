package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

func buildsFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.IntP("limit", "n", 20, "print the last `N` builds")
}

// runBuilds lists the last builds, newest first.
func runBuilds(ctx context.Context, c *call) error {
	if err := c.tooMany(1); err != nil {
		return err
	}
	limit, err := c.flags.GetInt("limit")
	if err != nil || limit < 1 {
		return wrongUsage("--limit takes a number from 1")
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	path := "builds"
	if len(c.args) > 0 {
		b, err := c.builderNamed(ctx, m, c.args[0])
		if err != nil {
			return err
		}
		path = fmt.Sprintf("builders/%d/builds", b.ID)
	}
	var all []buildRow
	rows, err := m.get(ctx, path, url.Values{"order": {"-buildid"}, "limit": {strconv.Itoa(limit)}}, &all)
	if err != nil {
		return failed(err)
	}
	if c.flag("json") {
		return printRows(c.Stdout, rows)
	}
	now := time.Now()
	t := columns{head: []string{"ID", "BUILD", "RESULT", "STARTED", "TOOK", "WORKER", "TEXT"}}
	for _, b := range all {
		t.add(plainCell(fmt.Sprint(b.ID)), plainCell(fmt.Sprintf("%s #%d", b.Builder, b.Number)), b.result(),
			plainCell(ago(now, b.StartedAt)), plainCell(b.took(now)), plainCell(b.Worker), styledCell(styleDim, b.StateString))
	}
	return t.print(c.Env, "no builds yet")
}

// builderNamed finds a builder, be it of an earlier configuration.
func (c *call) builderNamed(ctx context.Context, m *client, name string) (builderRow, error) {
	var all []builderRow
	if _, err := m.get(ctx, "builders", nil, &all); err != nil {
		return builderRow{}, failed(err)
	}
	var names []string
	for _, b := range all {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return builderRow{}, wrongUsage("no builder %q%s", name, didYouMean(name, names))
}

// buildNamed finds a build by its id, or as BUILDER/NUMBER or BUILDER#NUMBER; a
// builder alone means its last build.
func (c *call) buildNamed(ctx context.Context, m *client, name string) (buildRow, error) {
	path := "builds/" + name
	query := url.Values{}
	if _, err := strconv.ParseInt(name, 10, 64); err != nil {
		builder, number := name, ""
		if i := strings.LastIndexAny(name, "/#"); i >= 0 {
			builder, number = strings.TrimSpace(name[:i]), name[i+1:]
		}
		b, err := c.builderNamed(ctx, m, builder)
		if err != nil {
			return buildRow{}, err
		}
		path = fmt.Sprintf("builders/%d/builds", b.ID)
		if number == "" {
			query = url.Values{"order": {"-buildid"}, "limit": {"1"}}
		} else if _, err := strconv.ParseInt(number, 10, 64); err != nil {
			return buildRow{}, wrongUsage("%q names no build: write its id, BUILDER/NUMBER, or BUILDER for the last one", name)
		} else {
			path += "/" + number
		}
	}
	var found []buildRow
	_, err := m.get(ctx, path, query, &found)
	var refused *masterError
	if errors.As(err, &refused) && refused.status == http.StatusNotFound || err == nil && len(found) == 0 {
		return buildRow{}, wrongUsage("no build %s", name)
	}
	if err != nil {
		return buildRow{}, failed(err)
	}
	return found[0], nil
}
