package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"bothy/runner/config"
	"bothy/runner/worker"
)

func workersFlags(fs *pflag.FlagSet) {
	clientFlags(fs)
	fs.String("reason", "", "why, for those who will wonder: kept and shown with the worker")
}

// workerRow is what is shown of a worker.
type workerRow struct {
	Name       string
	Kind       string
	Link       string
	Connected  bool
	Paused     bool
	Graceful   bool
	Missing    bool
	Quarantine *struct {
		Phase string
		Until stamp
	}
	Blocked   string
	Builds    []int64
	MaxBuilds int64 `json:"max_builds"`
	LastSeen  stamp `json:"last_seen"`
	RemovedAt stamp `json:"removed_at"`
	Info      struct {
		ID      string `json:"os_id"`
		Release string `json:"os_version_id"`
		Version string
		Address string
	} `json:"workerinfo"`
}

// state names what is most worth knowing about the worker, in one or two words.
func (w *workerRow) state(now time.Time) (style, string) {
	quarantine := ""
	if w.Quarantine != nil {
		quarantine = w.Quarantine.Phase
	}
	switch {
	case w.Missing:
		return styleRed, "missing"
	case w.Link == string(worker.LinkStopped):
		return styleYellow, "stopped"
	case w.Link == string(worker.LinkEnding):
		return styleYellow, "ending"
	case w.Link == string(worker.LinkHeld):
		return styleYellow, "cut off"
	case !w.Connected:
		return styleRed, "offline"
	case quarantine == string(worker.QuarantineHeld):
		return styleRed, "quarantined " + worker.Countdown(w.Quarantine.Until.Sub(now))
	case w.Graceful:
		return styleYellow, "graceful"
	case w.Paused:
		return styleYellow, "paused"
	case quarantine == string(worker.QuarantineTrial), quarantine == string(worker.QuarantineTesting):
		return styleYellow, "canary"
	}
	return styleGreen, "connected"
}

func runWorkers(ctx context.Context, c *call) error {
	m, err := c.client()
	if err != nil {
		return err
	}
	if len(c.args) > 0 {
		return c.steerWorkers(ctx, m)
	}
	if err := c.tooMany(0); err != nil {
		return err
	}
	var all []workerRow
	rows, err := m.get(ctx, "workers", url.Values{"order": {"name"}}, &all)
	if err != nil {
		return failed(err)
	}
	if c.flag("json") {
		return printRows(c.Stdout, rows)
	}
	var masters []masterRow
	if _, err := m.get(ctx, "masters", nil, &masters); err != nil {
		return failed(err)
	}
	slots := int64(0)
	if len(masters) > 0 {
		slots = masters[0].Resources.Slots
	}
	t := workersTable(all, slots, time.Now())
	return t.print(c.Env, "no workers are configured")
}

// workersTable lists those that are configured, what keeps builds from a worker
// under its row. slots is how many builds the master's machine takes.
func workersTable(all []workerRow, slots int64, now time.Time) columns {
	t := columns{head: []string{"WORKER", "STATE", "LOAD", "LAST SEEN", "OS", "ADDRESS", "VERSION"}}
	for i := range all {
		w := &all[i]
		if !w.RemovedAt.IsZero() {
			continue // of an earlier configuration
		}
		st, state := w.state(now)
		seen := ago(now, w.LastSeen)
		if w.Connected {
			seen = "now"
		}
		t.add(plainCell(w.Name), styledCell(st, state), plainCell(w.load(slots)), plainCell(seen),
			plainCell(strings.TrimSpace(w.Info.ID+" "+w.Info.Release)), plainCell(w.address()), plainCell(w.Info.Version))
		if w.Blocked != "" {
			t.note(oneLine(visible([]byte(w.Blocked))))
		}
	}
	return t
}

// load is how many builds run on the worker, of how many it takes.
func (w *workerRow) load(slots int64) string {
	limit := w.MaxBuilds
	if w.Kind == string(config.WorkerLocal) && (limit == 0 || limit > slots) {
		limit = slots
	}
	if limit == 0 {
		return fmt.Sprint(len(w.Builds))
	}
	return fmt.Sprintf("%d/%d", len(w.Builds), limit)
}

// address is where the worker was seen, without the port, which is another one
// each time; else what it is.
func (w *workerRow) address() string {
	if host, _, err := net.SplitHostPort(w.Info.Address); err == nil {
		return host
	}
	return cmp.Or(w.Info.Address, w.Kind)
}

type masterRow struct {
	Resources struct{ Slots int64 }
}

// steerWorkers does one action to each worker that is named.
func (c *call) steerWorkers(ctx context.Context, m *client) error {
	action, err := worker.ParseAction(c.args[0])
	if err != nil {
		var names []string
		for _, a := range worker.Actions() {
			names = append(names, string(a))
		}
		return wrongUsage("unknown action %q%s; there are %s", c.args[0], didYouMean(c.args[0], names), strings.Join(names, ", "))
	}
	if len(c.args) == 1 {
		return wrongUsage("%s which workers? name them", action)
	}
	var all []workerRow
	if _, err := m.get(ctx, "workers", url.Values{"field": {"name", "removed_at"}}, &all); err != nil {
		return failed(err)
	}
	var names []string
	for _, w := range all {
		if w.RemovedAt.IsZero() {
			names = append(names, w.Name)
		}
	}
	var chosen []string
	for _, name := range c.args[1:] {
		some := named(name, names)
		if len(some) == 0 {
			return wrongUsage("no worker %q%s", name, didYouMean(name, names))
		}
		chosen = append(chosen, some...)
	}
	var errs []error
	for _, name := range chosen {
		err := m.control(ctx, "workers/"+url.PathEscape(name), string(action), map[string]any{"reason": c.text("reason")}, nil)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if c.flag("json") {
			continue
		}
		if _, err := fmt.Fprintf(c.Stdout, "%s: %s\n", name, actionDone(action)); err != nil {
			return err
		}
	}
	if c.flag("json") {
		errs = append(errs, c.printNow(ctx, m, "workers", "name", chosen))
	}
	return errors.Join(errs...)
}

// printNow prints, as JSON, the rows of which a field has one of the values.
func (c *call) printNow(ctx context.Context, m *client, path, field string, values []string) error {
	var all []json.RawMessage
	rows, err := m.get(ctx, path, url.Values{field + "__in": values}, &all)
	if err != nil {
		return failed(err)
	}
	return printRows(c.Stdout, rows)
}

// named returns the worker of a name, else those that count made of it: bot1-1,
// bot1-2 … for bot1.
func named(name string, all []string) []string {
	var some []string
	for _, n := range all {
		if n == name {
			return []string{n}
		}
		if number, ok := strings.CutPrefix(n, name+"-"); ok && strings.Trim(number, "0123456789") == "" {
			some = append(some, n)
		}
	}
	return some
}

func actionDone(a worker.Action) string {
	return cmp.Or(map[worker.Action]string{
		worker.Pause: "paused", worker.Unpause: "takes builds again", worker.Stop: "ends after its builds", worker.Kill: "ended", worker.Start: "started",
	}[a], string(a))
}

// completeWorkers completes an action, then names of workers.
func completeWorkers(_ context.Context, c *call) []candidate {
	var all []candidate
	if c.flags.NArg() == 0 {
		for _, a := range worker.Actions() {
			all = append(all, candidate{word: string(a)})
		}
		return all
	}
	file, err := c.configFile()
	if err != nil {
		return nil
	}
	conf, _, err := config.Load(file)
	if err != nil {
		return nil
	}
	for _, w := range conf.AllWorkers() {
		all = append(all, candidate{word: w.Name})
	}
	return all
}
