package fleettest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// plan is the workers and builders of a master, whoever made that.
type plan struct {
	Workers  []planWorker
	Builders []planBuilder
}

// planWorker is a worker that dials in, unless it is local. Times are in seconds.
type planWorker struct {
	Name      string
	Local     bool
	MaxBuilds int
	Missing   float64 // missing_timeout; 0: never
	Notify    string  // who is told that it is missing
	Lease     float64 // Bothy only; 0: the default
}

type planBuilder struct {
	Name    string
	Workers []string
	Steps   []planStep
}

// planStep is a line for the shell. Times are in seconds; 0: the default.
type planStep struct {
	Name, Run        string
	Always           bool // always_run
	Timeout, Sigterm float64
}

// password is that of all workers.
const password = "s3cret-of-the-fleet"

// add adds a worker with builders that are its own: the names of those begin
// with its name.
func (p *plan) add(w planWorker, builders ...planBuilder) {
	p.Workers = append(p.Workers, w)
	for _, b := range builders {
		b.Name = w.Name + b.Name
		if b.Workers == nil {
			b.Workers = []string{w.Name}
		}
		p.Builders = append(p.Builders, b)
	}
}

// toml is the plan as Bothy reads it.
func (p *plan) toml() string {
	var b strings.Builder
	for _, w := range p.Workers {
		fmt.Fprintf(&b, "\n[[workers]]\nname = %q\n", w.Name)
		if w.MaxBuilds > 0 {
			fmt.Fprintf(&b, "max_builds = %d\n", w.MaxBuilds)
		}
		if w.Local {
			continue
		}
		fmt.Fprintf(&b, "kind = \"remote\"\npassword = %q\nmissing_timeout = %v\n", password, w.Missing)
		if w.Notify != "" {
			fmt.Fprintf(&b, "notify_on_missing = [%q]\n", w.Notify)
		}
		if w.Lease > 0 {
			fmt.Fprintf(&b, "lease = %v\n", w.Lease)
		}
	}
	for _, d := range p.Builders {
		fmt.Fprintf(&b, "\n[[builders]]\nname = %q\nworkers = %s\nsource = \"none\"\ncollapse_requests = false\nmax_retries = 1000\n", d.Name, list(d.Workers))
		for _, s := range d.Steps {
			fmt.Fprintf(&b, "[[builders.steps]]\nname = %q\nrun = %s\nalways_run = %v\n", s.Name, quoted(s.Run), s.Always)
			if s.Timeout > 0 {
				fmt.Fprintf(&b, "timeout = %v\n", s.Timeout)
			}
			fmt.Fprintf(&b, "sigterm_time = %v\n", s.Sigterm)
		}
	}
	return b.String()
}

func list(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, quoted(n))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// quoted is a TOML string; JSON's are.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string can do that
	}
	return string(b)
}

// json is the plan as testdata/master.cfg reads it.
func (p *plan) json(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
