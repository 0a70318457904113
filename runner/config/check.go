package config

import (
	"errors"
	"maps"
	gopath "path"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
)

// Complete fills in defaults and checks everything. It reports all mistakes at
// once, as [Errors]; warnings are returned in either case. It may be called
// again after a change.
//
// [Load] and [Parse] have done it already.
func (c *Config) Complete() ([]Warning, error) {
	p := &problems{origin: c.origin}
	c.check(p)
	c.unavailable(p)
	return p.result()
}

// checker knows what the parts of a configuration may refer to.
type checker struct {
	*problems
	c          *Config
	workers    map[string]WorkerKind // by name, and by the name of a group
	workerName []string              // sorted, for suggestions; so are the others
	builders   []string
	locks      map[string]*Lock
	lockName   []string
}

func (c *Config) check(p *problems) {
	c.setDefaults()
	k := &checker{problems: p, c: c}
	k.settings()
	k.checkWorkers()
	k.checkLocks()
	k.checkBuilders()
	k.checkSchedulers()
	k.checkReports()
	k.checkSecrets()
}

// missing reports that the value at at is needed.
func (k *checker) missing(at *pathTo, what string) { k.errorf(at, "%s is missing", what) }

// atLeast reports a value below a bound, which is Off where that has a meaning.
func atLeast[T int | int64 | float64 | time.Duration](k *checker, at *pathTo, value, least T) {
	switch {
	case value >= least && value == value: // not NaN
	case least == Off:
		k.errorf(at, "%v is negative; none is written as Off", value)
	default:
		k.errorf(at, "%v is less than %v", value, least)
	}
}

// oneOf reports a value that is not one of those allowed.
func oneOf[T ~string](k *checker, at *pathTo, value T, allowed ...T) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	k.suggest(at, k.closest(string(value), names), "unknown value %q: want %s", value, strings.Join(names, ", "))
	return false
}

// unique reports a name that was there before, and warns of one that differs
// only in case: some file systems do not tell them apart.
type unique map[string]string

func (u unique) add(k *checker, at *pathTo, what, name string) {
	if name == "" {
		return
	}
	lower := strings.ToLower(name)
	switch before, seen := u[lower]; {
	case !seen:
		u[lower] = name
	case before == name:
		k.errorf(at, "there is another %s %q", what, name)
	default:
		k.warnf(at, "%s %q differs from %q only in case", what, name, before)
	}
}

// template checks a text that will be interpolated.
func (k *checker) template(at *pathTo, text string) {
	t, err := build.Parse(text)
	if err != nil {
		e := k.at(at)
		e.Msg = err.Error()
		if bad, ok := errors.AsType[*build.TemplateError](err); ok {
			e.Msg = bad.Msg
			k.pointInto(&e, at, text, bad.Offset)
		}
		if !k.isSpoiled(at) {
			k.errs = append(k.errs, &e)
		}
		return
	}
	for _, ref := range t.Refs() {
		if ref.Selector != "secret" {
			continue
		}
		e := k.at(at)
		if err := CheckSecretName(ref.Key); err != nil {
			e.Msg = err.Error()
		} else if len(k.c.Secrets) == 0 {
			e.Msg = "secret " + ref.Key + " cannot be found: there are no [[secrets]]"
		}
		if e.Msg != "" {
			k.pointInto(&e, at, text, ref.Offset)
			k.errs = append(k.errs, &e)
		}
	}
}

// pointInto moves e to the byte at offset of the text at at.
func (k *checker) pointInto(e *Error, at *pathTo, text string, offset int) {
	if k.origin != nil {
		n, _ := k.origin.find(at)
		e.offset = k.origin.within(n, text, offset)
	}
}

func (k *checker) templates(at *pathTo, texts []string) {
	for i, s := range texts {
		k.template(at.index(i), s)
	}
}

// env checks environment variables to be set.
func (k *checker) env(at *pathTo, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			k.keyError(at.key(name), "", "%q is not a name of an environment variable", name)
			continue
		}
		if strings.Contains(env[name], "\x00") {
			k.errorf(at.key(name), "contains a NUL character")
		}
		k.template(at.key(name), env[name])
	}
}

// properties checks values that builds will have, and brings them into the form
// they are stored in.
func (k *checker) properties(at *pathTo, values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		set := build.Properties{}
		if err := set.Set(name, values[name], ""); err != nil {
			k.errorf(at.key(name), "%v", err)
			continue
		}
		values[name] = set[name].Value
	}
}

// patterns checks file name patterns.
func (k *checker) patterns(at *pathTo, patterns []string) {
	for i, s := range patterns {
		if _, err := gopath.Match(s, ""); err != nil || s == "" {
			k.errorf(at.index(i), "%q is not a pattern of file names", s)
		}
	}
}

// known reports names that nothing has, and those named twice. all is sorted.
func (k *checker) known(at *pathTo, what string, names, all []string) {
	seen := map[string]bool{}
	for i, name := range names {
		switch _, ok := slices.BinarySearch(all, name); {
		case !ok:
			k.suggest(at.index(i), k.closest(name, all), "unknown %s %q", what, name)
		case seen[name]:
			k.errorf(at.index(i), "%s %q is named twice", what, name)
		}
		seen[name] = true
	}
}
