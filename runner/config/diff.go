package config

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Diff says in lines for people what changed from old to new, both complete:
// "builder test: steps changed", "worker bot2 added". Equal configurations give
// none. File, Dir and Digest are not compared.
func Diff(old, new *Config) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, key := range changed(*old, *new) {
		switch key {
		case "file", "dir", "digest", "workers", "builders", "schedulers", "locks":
		default:
			add("%s changed", key)
		}
	}
	diffNamed(add, "worker", old.Workers, new.Workers, func(w Worker) string { return w.Name })
	diffNamed(add, "builder", old.Builders, new.Builders, func(b Builder) string { return b.Name })
	diffNamed(add, "scheduler", old.Schedulers, new.Schedulers, func(s Scheduler) string { return s.Name })
	diffNamed(add, "lock", old.Locks, new.Locks, func(l Lock) string { return l.Name })
	return lines
}

// diffNamed compares two lists whose elements have a name. Their order does not
// matter.
func diffNamed[T any](add func(string, ...any), what string, old, new []T, name func(T) string) {
	before := make(map[string]T, len(old))
	for _, x := range old {
		before[name(x)] = x
	}
	for _, x := range new {
		was, known := before[name(x)]
		delete(before, name(x))
		if !known {
			add("%s %s added", what, name(x))
		} else if keys := changed(was, x); len(keys) > 0 {
			add("%s %s: %s changed", what, name(x), strings.Join(keys, ", "))
		}
	}
	for _, x := range old {
		if _, gone := before[name(x)]; gone {
			add("%s %s removed", what, name(x))
		}
	}
}

// changed returns the keys of the fields in which two structs differ.
func changed(old, new any) (keys []string) {
	a, b := reflect.ValueOf(old), reflect.ValueOf(new)
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			keys = append(keys, keyName(f.Name))
		}
	}
	return keys
}

// keyName returns the key in the file for a field's name.
func keyName(field string) string {
	switch field { // fields that are not named as their keys
	case "NoCollapse":
		return "collapse_requests"
	case "NoCanary":
		return "canary"
	case "BaseDir", "CPUs", "URL", "EC2":
		return strings.ToLower(field)
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
