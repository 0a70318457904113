package remote

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

const (
	// maxFacts and maxFact bound what is kept of what a worker says about itself:
	// a worker's admin may put any files into its info directory.
	maxFacts = 128
	maxFact  = 4 << 10
)

// osKeys are always there. behaviour.md, os-release.
var osKeys = []string{"os_id", "os_id_like", "os_version_id", "os_version_codename"}

// facts is what a worker said about itself.
type facts struct {
	info    worker.Info
	paths   paths
	basedir string
	env     map[string]string // with names as the system tells them apart
}

// readFacts takes what matters of a worker's answer.
func readFacts(m wire.Map) (facts, error) {
	f := facts{info: worker.Info{}, env: map[string]string{}}
	text := func(key string) (string, error) {
		v, _ := m.Get(key)
		s, err := wire.Text(v)
		if err == nil && s == "" {
			err = fmt.Errorf("empty")
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		return s, nil
	}
	system, err := text("system")
	if err != nil {
		return facts{}, err
	}
	f.paths = paths{nt: system == "nt"}
	if f.basedir, err = text("basedir"); err != nil {
		return facts{}, err
	}
	if !f.paths.isAbs(f.basedir) {
		return facts{}, fmt.Errorf("basedir %.80q is not absolute", f.basedir)
	}
	for key, v := range m.All() {
		switch key {
		case "environ":
			f.readEnviron(v)
		case "worker_commands":
		default:
			if v, ok := fact(v); ok && len(key) <= 64 && len(f.info) < maxFacts {
				f.info[key] = v
			}
		}
	}
	for _, key := range osKeys {
		if _, ok := f.info[key]; !ok {
			f.info[key] = nil
		}
	}
	return f, nil
}

// fact returns a value as it is kept; false if it is not.
func fact(v any) (any, bool) {
	switch v := v.(type) {
	case nil, bool, int64, uint64, float64:
		return v, true
	case []byte:
		return shorten(strings.ToValidUTF8(string(v), "�")), true
	case string:
		return shorten(v), true
	}
	return nil, false
}

// shorten takes the line end off that files have, and what is too much.
func shorten(s string) string {
	if len(s) > maxFact {
		s = s[:maxFact]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return strings.TrimRight(s, "\r\n")
}

func (f *facts) readEnviron(v any) {
	env, err := wire.Dict(v)
	if err != nil {
		return
	}
	for key, v := range env.All() {
		if s, err := wire.Text(v); err == nil {
			f.env[f.envName(key)] = s
		}
	}
}

// envName is a variable's name as the worker's system compares it.
func (f *facts) envName(name string) string {
	if f.paths.nt {
		return strings.ToUpper(name)
	}
	return name
}

// environ returns the worker's environment as "NAME=value", sorted.
func (f *facts) environ() []string {
	out := make([]string, 0, len(f.env))
	for _, name := range slices.Sorted(maps.Keys(f.env)) {
		out = append(out, name+"="+f.env[name])
	}
	return out
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return shorten(s)
}
