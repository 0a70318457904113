package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"bothy/runner/build"
)

func forceFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.StringArrayP("property", "p", nil, "set a property of the build, `NAME=VALUE`; may be repeated")
	fs.String("reason", "", "why: kept and shown with the build")
	fs.String("branch", "", "the branch to build; else the builder's")
	fs.String("revision", "", "the commit to build; else the branch's head")
	fs.String("worker", "", "the only worker that may run it")
	fs.Int("priority", 0, "higher goes first; else the builder's")
	waitFlag(fs)
}

func rebuildFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.String("reason", "", "why: kept and shown with the build")
	fs.String("from", "", "name of the step to begin with")
	waitFlag(fs)
}

func waitFlag(fs *pflag.FlagSet) {
	fs.Bool("wait", false, "wait for the end, and exit as \"bothy run\" would")
}

// runForce asks a running master for a build.
func runForce(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return wrongUsage("force which builder? \"bothy builders\" lists them")
	}
	if err := c.tooMany(1); err != nil {
		return err
	}
	props, err := properties(c)
	if err != nil {
		return err
	}
	m, err := c.client()
	if err != nil {
		return err
	}
	b, err := c.builderNamed(ctx, m, c.args[0])
	if err != nil {
		return err
	}
	if !b.RemovedAt.IsZero() {
		return wrongUsage("builder %q is no longer configured", b.Name)
	}
	params := map[string]any{"properties": props}
	for _, name := range []string{"reason", "branch", "revision", "worker"} {
		if v := c.text(name); v != "" {
			params[name] = v
		}
	}
	if c.flags.Changed("priority") {
		if params["priority"], err = c.flags.GetInt("priority"); err != nil {
			return err
		}
	}
	return c.submit(ctx, m, fmt.Sprintf("builders/%d", b.ID), "force", params)
}

// runRebuild asks for the same build again.
func runRebuild(ctx context.Context, c *call) error {
	if len(c.args) == 0 {
		return wrongUsage("rebuild which build? \"bothy builds\" lists them")
	}
	if err := c.tooMany(1); err != nil {
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
	params := map[string]any{}
	for flag, param := range map[string]string{"reason": "reason", "from": "from_step"} {
		if text := c.text(flag); text != "" {
			params[param] = text
		}
	}
	return c.submit(ctx, m, fmt.Sprintf("builds/%d", b.ID), "rebuild", params)
}

// submit has the master make a request, and waits for its end if it should.
func (c *call) submit(ctx context.Context, m *client, path, method string, params map[string]any) error {
	var result []json.RawMessage // [bsid, {builderid: buildrequestid}]
	if err := m.control(ctx, path, method, params, &result); err != nil {
		return failed(err)
	}
	made := map[string]int64{}
	if len(result) != 2 || json.Unmarshal(result[1], &made) != nil || len(made) == 0 {
		return fmt.Errorf("%s answers without the number of a request", m.name)
	}
	code := exitOK
	for _, id := range slices.Sorted(maps.Values(made)) {
		if !c.flag("wait") {
			if err := c.accepted(ctx, m, id); err != nil {
				return err
			}
			continue
		}
		if !c.flag("json") {
			fmt.Fprintf(c.Stderr, "request %d is accepted; waiting for its end\n", id)
		}
		one, err := c.awaitRequest(ctx, m, id)
		if err != nil {
			return err
		}
		code = max(code, one)
	}
	return exit(code)
}

func (c *call) accepted(ctx context.Context, m *client, id int64) error {
	if !c.flag("json") {
		_, err := fmt.Fprintf(c.Stdout, "request %d\n", id)
		return err
	}
	var found []requestRow
	rows, err := m.get(ctx, fmt.Sprintf("buildrequests/%d", id), nil, &found)
	if err != nil {
		return failed(err)
	}
	return printRows(c.Stdout, rows)
}

// awaitRequest waits for the end of a request and tells of each build it gets.
// A master that restarts meanwhile is waited for.
func (c *call) awaitRequest(ctx context.Context, m *client, id int64) (code int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := map[int64]bool{}
	path := fmt.Sprintf("buildrequests/%d", id)
	for range m.watch(ctx, path+"/*") {
		code, err, done := c.lookAt(ctx, m, path, told)
		if done || ctx.Err() != nil {
			return code, errors.Join(err, context.Cause(ctx))
		}
	}
	return exitInterrupted, context.Cause(ctx)
}

// lookAt asks once how a request is getting on.
func (c *call) lookAt(ctx context.Context, m *client, path string, told map[int64]bool) (code int, err error, done bool) {
	var reqs []requestRow
	rows, err := m.get(ctx, path, nil, &reqs)
	if refused := (*masterError)(nil); errors.As(err, &refused) && !refused.passing() {
		return exitInfra, failed(err), true
	}
	if err != nil || len(reqs) == 0 {
		return 0, nil, false // it has gone for a moment: asked again
	}
	var builds []buildRow
	if _, err := m.get(ctx, path+"/builds", url.Values{"order": {"buildid"}}, &builds); err != nil {
		return 0, nil, false
	}
	for _, b := range builds {
		if b.Complete && !told[b.ID] && !c.flag("json") {
			told[b.ID] = true
			l := row(resultStyle(*b.Results), resultWord(*b.Results), b.took(time.Now()))
			l = append(l, span{styleNone, fmt.Sprintf("%s #%d on %s", b.Builder, b.Number, b.Worker)})
			if *b.Results > build.Success {
				l = append(l, span{styleDim, ": " + oneLine(b.StateString)})
			}
			if _, err := c.Stdout.Write(append(l.append(nil, 0, false), '\n')); err != nil {
				return exitInfra, err, true
			}
		}
	}
	r := reqs[0]
	if !r.Complete {
		return 0, nil, false
	}
	if c.flag("json") {
		err = printRows(c.Stdout, rows)
	}
	return requestCode(r.Results), err, true
}

// requestCode is the exit code for how a request ended.
func requestCode(r build.Result) int {
	switch r {
	case build.Success, build.Warnings, build.Skipped:
		return exitOK
	case build.Exception, build.Retry:
		return exitInfra
	}
	return exitFailed
}
