package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/logs"
)

// Secrets finds the values of secrets by their names. Its method may be called
// from many goroutines, and may wait for programs and the network.
type Secrets interface {
	Lookup(ctx context.Context, name string) (string, error)
}

// noSecrets is for an engine that got no Secrets.
type noSecrets struct{}

func (noSecrets) Lookup(context.Context, string) (string, error) {
	return "", errors.New("no secret provider is configured")
}

// findSecrets looks up the secrets that the builder's steps name, so that they
// are masked from the first byte of output. A step that names one which cannot
// be had fails when it is interpolated.
func (r *buildRun) findSecrets() {
	values := map[string]string{}
	faults := map[string]error{}
	for _, name := range secretNames(r.conf) {
		v, err := r.secrets.Lookup(r.b.halt, name)
		if err != nil {
			faults[name] = err
			continue
		}
		values[name] = v
	}
	if len(values) > 0 {
		r.masker = logs.NewMasker(slices.Collect(maps.Values(values)))
		r.redact = hider(slices.Collect(maps.Values(values)))
	}
	r.secret = func(name string) (string, error) {
		if v, ok := values[name]; ok {
			return v, nil
		}
		if err := faults[name]; err != nil {
			return "", err
		}
		return "", fmt.Errorf("secret %q: %w", name, ErrUnknown)
	}
}

// hider replaces secrets in what is no log, the longest first.
func hider(secrets []string) func(string) string {
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, "********")
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

// secretNames are the secrets that a builder's texts name.
func secretNames(conf *config.Builder) []string {
	found := map[string]bool{}
	look := func(s string) {
		if !strings.Contains(s, "%(") {
			return
		}
		t, err := build.Parse(s)
		if err != nil {
			return // said when the step is run
		}
		for _, ref := range t.Refs() {
			if ref.Selector == "secret" {
				found[ref.Key] = true
			}
		}
	}
	for _, v := range conf.Env {
		look(v)
	}
	for i := range conf.Steps {
		s := &conf.Steps[i]
		look(s.Run.Shell)
		look(s.Stdin)
		look(s.Workdir)
		look(s.DoIf)
		look(s.HideIf)
		for _, a := range s.Run.Argv {
			look(a)
		}
		for _, v := range s.Env {
			look(v)
		}
		for _, f := range s.LogFiles {
			look(f.Path)
		}
	}
	return slices.Sorted(maps.Keys(found))
}
