package engine

import (
	"maps"
	"slices"
	"strings"

	"bothy/runner/worker"
)

// environ is a step's environment while it is put together.
type environ struct {
	values map[string]string
	order  []string
}

func newEnviron(base []string) *environ {
	e := &environ{values: make(map[string]string, len(base)+12), order: make([]string, 0, len(base)+12)}
	for _, kv := range base {
		if name, value, ok := strings.Cut(kv, "="); ok && name != "" {
			e.set(name, value)
		}
	}
	return e
}

func (e *environ) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

// add sets what the configuration says. ${NAME} expands to what NAME was
// before, or to nothing; only this form does, as in Buildbot.
func (e *environ) add(env map[string]string, render func(string) string) {
	if len(env) == 0 {
		return
	}
	before := maps.Clone(e.values)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		e.set(name, expandVars(render(env[name]), before))
	}
}

func expandVars(s string, values map[string]string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		n := strings.IndexByte(s[i:], '}')
		if n < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteString(values[s[i+2:i+n]])
		s = s[i+n+1:]
	}
	if b.Len() == 0 {
		return s
	}
	return b.String() + s
}

func (e *environ) list() []string {
	out := make([]string, len(e.order))
	for i, name := range e.order {
		out[i] = name + "=" + e.values[name]
	}
	return out
}

// SessionEnv is the environment of builds that a terminal asked for.
func SessionEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return worker.OwnVariable(name)
	})
}
