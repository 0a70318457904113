package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Difference is what changed from one configuration to another, both complete.
// Keys are those of the file; values are not told, some are secret. File, Dir and
// Digest are not compared, nor is the order of what has a name.
type Difference struct {
	Settings   []string `json:"settings,omitempty"` // changed keys outside of lists: "title", "web.listen"
	Users      Delta    `json:"users,omitzero"`
	Tokens     Delta    `json:"tokens,omitzero"`
	Workers    Delta    `json:"workers,omitzero"` // entries of the file: a group is one
	Builders   Delta    `json:"builders,omitzero"`
	Schedulers Delta    `json:"schedulers,omitzero"`
	Locks      Delta    `json:"locks,omitzero"`
	Reports    Delta    `json:"reports,omitzero"` // named by their place: "reports[0]", of the old ones for Removed
	Secrets    Delta    `json:"secrets,omitzero"` // likewise
}

// Delta is what changed in one list.
type Delta struct {
	Added   []string   `json:"added,omitempty"`
	Removed []string   `json:"removed,omitempty"`
	Changed []Modified `json:"changed,omitempty"`
}

// Modified is an element of a list that was there before, too.
type Modified struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"` // in which it differs
}

// Diff compares two configurations.
func Diff(old, new *Config) Difference {
	var d Difference
	d.Settings = changedKeys("", reflect.ValueOf(*old), reflect.ValueOf(*new))
	d.Users = diffNamed(old.Web.Users, new.Web.Users, func(u *User) string { return u.Name })
	d.Tokens = diffNamed(old.Web.Tokens, new.Web.Tokens, func(t *Token) string { return t.Name })
	d.Workers = diffNamed(old.Workers, new.Workers, func(w *Worker) string { return w.Name })
	d.Builders = diffNamed(old.Builders, new.Builders, func(b *Builder) string { return b.Name })
	d.Schedulers = diffNamed(old.Schedulers, new.Schedulers, func(s *Scheduler) string { return s.Name })
	d.Locks = diffNamed(old.Locks, new.Locks, func(l *Lock) string { return l.Name })
	d.Reports = diffPlaced("reports", old.Reports, new.Reports)
	d.Secrets = diffPlaced("secrets", old.Secrets, new.Secrets)
	if d.Secrets.isZero() && !reflect.DeepEqual(old.Secrets, new.Secrets) {
		d.Settings = append(d.Settings, "secrets") // the order, in which they are asked
	}
	return d
}

func (d *Delta) isZero() bool { return len(d.Added)+len(d.Removed)+len(d.Changed) == 0 }

// IsZero reports whether nothing changed.
func (d Difference) IsZero() bool { return len(d.lines()) == 0 }

// maxDiffLines is how many lines a person is shown.
const maxDiffLines = 200

// Lines says what changed, a change a line, at most 200: "builder test: steps
// changed", "worker bot2 added".
func (d Difference) Lines() []string {
	lines := d.lines()
	if more := len(lines) - maxDiffLines; more > 0 {
		lines = append(lines[:maxDiffLines-1:maxDiffLines-1], fmt.Sprintf("and %d more changes", more+1))
	}
	return lines
}

// String returns the lines with line ends between them.
func (d Difference) String() string { return strings.Join(d.Lines(), "\n") }

func (d *Difference) lines() (lines []string) {
	for _, key := range d.Settings {
		lines = append(lines, key+" changed")
	}
	for _, part := range []struct {
		what string
		d    *Delta
	}{
		{"user ", &d.Users},
		{"token ", &d.Tokens},
		{"worker ", &d.Workers},
		{"builder ", &d.Builders},
		{"scheduler ", &d.Schedulers},
		{"lock ", &d.Locks},
		{"", &d.Reports},
		{"", &d.Secrets},
	} {
		for _, name := range part.d.Added {
			lines = append(lines, part.what+name+" added")
		}
		for _, name := range part.d.Removed {
			lines = append(lines, part.what+name+" removed")
		}
		for _, m := range part.d.Changed {
			lines = append(lines, fmt.Sprintf("%s%s: %s changed", part.what, m.Name, strings.Join(m.Keys, ", ")))
		}
	}
	return lines
}

// diffNamed compares two lists whose elements have a name.
func diffNamed[T any](old, new []T, name func(*T) string) (d Delta) {
	before := make(map[string]*T, len(old))
	for i := range old {
		before[name(&old[i])] = &old[i]
	}
	for i := range new {
		n := name(&new[i])
		was := before[n]
		delete(before, n)
		if was == nil {
			d.Added = append(d.Added, n)
		} else if keys := changedKeys("", reflect.ValueOf(*was), reflect.ValueOf(new[i])); len(keys) > 0 {
			d.Changed = append(d.Changed, Modified{n, keys})
		}
	}
	for i := range old {
		if n := name(&old[i]); before[n] != nil {
			d.Removed = append(d.Removed, n)
			delete(before, n)
		}
	}
	return d
}

// diffPlaced compares two lists whose elements have no name. Those that are in
// both are left out, wherever they stand; of the others, the first of the one
// list is taken to have become the first of the other.
func diffPlaced[T any](what string, old, new []T) (d Delta) {
	place := func(i int) string { return fmt.Sprintf("%s[%d]", what, i) }
	var gone, come []int
	kept := make([]bool, len(new))
	for i := range old {
		at := 0
		for at < len(new) && (kept[at] || !reflect.DeepEqual(old[i], new[at])) {
			at++
		}
		if at == len(new) {
			gone = append(gone, i)
		} else {
			kept[at] = true
		}
	}
	for j := range new {
		if !kept[j] {
			come = append(come, j)
		}
	}
	both := min(len(gone), len(come))
	for n := range both {
		keys := changedKeys("", reflect.ValueOf(old[gone[n]]), reflect.ValueOf(new[come[n]]))
		d.Changed = append(d.Changed, Modified{place(come[n]), keys})
	}
	for _, i := range gone[both:] {
		d.Removed = append(d.Removed, place(i))
	}
	for _, j := range come[both:] {
		d.Added = append(d.Added, place(j))
	}
	return d
}

// isOneValue reports whether a struct is one value in the file.
func isOneValue(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[Secret](), reflect.TypeFor[Source](), reflect.TypeFor[Parameter](), reflect.TypeFor[Run]():
		return true
	}
	return false
}

// changedKeys returns the keys in which two structs differ, without those that
// are compared by name. The tables of the file get their own name before the
// keys; other structs within structs are no tables there.
func changedKeys(table string, old, new reflect.Value) (keys []string) {
	for i := range old.NumField() {
		f := old.Type().Field(i)
		a, b := old.Field(i), new.Field(i)
		switch {
		case !f.IsExported() || isComparedApart(old.Type(), f.Name):
		case f.Type.Kind() != reflect.Struct || isOneValue(f.Type):
			if !reflect.DeepEqual(a.Interface(), b.Interface()) {
				keys = append(keys, table+keyName(old.Type(), f.Name))
			}
		case old.Type() == reflect.TypeFor[Config]():
			keys = append(keys, changedKeys(keyName(old.Type(), f.Name)+".", a, b)...)
		default:
			keys = append(keys, changedKeys(table, a, b)...)
		}
	}
	return keys
}

// isComparedApart reports whether changedKeys leaves a field out.
func isComparedApart(of reflect.Type, field string) bool {
	switch of {
	case reflect.TypeFor[Config]():
		return slices.Contains([]string{"File", "Dir", "Digest", "Workers", "Builders", "Schedulers", "Reports", "Locks", "Secrets"}, field)
	case reflect.TypeFor[Web]():
		return field == "Users" || field == "Tokens"
	}
	return false
}

// keyName returns the key in the file for a field of a struct.
func keyName(of reflect.Type, field string) string {
	switch of.Name() + "." + field { // those that are not named as they are
	case "Config.BaseDir":
		return "basedir"
	case "Machine.CPUs", "Builder.CPUs":
		return "cpus"
	case "Builder.NoCollapse":
		return "collapse_requests"
	case "Worker.NoCanary":
		return "canary"
	case "DockerDriver.Host":
		return "docker_host"
	case "DockerDriver.AutoPull":
		return "autopull"
	case "Cron.Spec":
		return "cron"
	}
	return snakeCase(field)
}

// snakeCase makes "MaxCountForWorker" max_count_for_worker, and "SSHKey" ssh_key.
func snakeCase(name string) string {
	var b strings.Builder
	r := []rune(name)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
