package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// table reads one table of the file. Each method reads one key, if it is there,
// and reports what is wrong with it; [table.done] reports the keys nobody asked
// for. Only types are checked here: what values mean is [Config.Complete]'s.
type table struct {
	*problems
	at     *pathTo
	values map[string]any
	known  []string // the keys asked for
}

// zero is what 0 in the file says of a field.
type zero int

const (
	zeroIsDefault zero = iota // Go's zero value means the same
	zeroIsOff
	zeroIsWrong
)

func (t *table) take(key string) (any, *pathTo, bool) {
	t.known = append(t.known, key)
	v, ok := t.values[key]
	return v, t.at.key(key), ok
}

// wrong reports that a value is not of the type that is wanted.
func (t *table) wrong(at *pathTo, v any, want string) {
	if _, isInt := v.(int64); isInt && strings.HasPrefix(want, "text") {
		t.errorf(at, `want %s, got a number: write "%v"`, want, v)
		return
	}
	t.errorf(at, "want %s, got %s", want, typeName(v))
}

func typeName(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("%T", v)
}

// text reads a text that must not be empty.
func (t *table) text(key string, to *string) {
	if t.textOrEmpty(key, to) && *to == "" {
		t.errorf(t.at.key(key), "must not be empty")
	}
}

// textOrEmpty reads a text and reports whether it is there.
func (t *table) textOrEmpty(key string, to *string) bool {
	v, at, ok := t.take(key)
	if !ok {
		return false
	}
	if *to, ok = v.(string); !ok {
		t.wrong(at, v, "text")
	}
	return ok
}

// choice reads a text whose values the check of the whole knows.
func choice[T ~string](t *table, key string, to *T) {
	var s string
	t.text(key, &s)
	*to = T(s)
}

func (t *table) flag(key string, to *bool) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	if *to, ok = v.(bool); !ok {
		t.wrong(at, v, "true or false")
	}
}

// unless reads a flag that is on by default into one that turns it off.
func (t *table) unless(key string, to *bool) {
	on := true
	t.flag(key, &on)
	*to = !on
}

func (t *table) whole(key string, to *int, z zero) {
	if n, at, ok := t.integer(key); ok {
		*to = int(amount(t, at, n, z))
	}
}

// signed reads a whole number that may be negative.
func (t *table) signed(key string, to *int) {
	if n, _, ok := t.integer(key); ok {
		*to = int(n)
	}
}

// integer reads a whole number of 32 bits; ok is false when there is none.
func (t *table) integer(key string) (n int64, at *pathTo, ok bool) {
	v, at, ok := t.take(key)
	if !ok {
		return 0, at, false
	}
	n, ok = v.(int64)
	switch {
	case !ok:
		t.wrong(at, v, "a whole number")
	case n < math.MinInt32 || n > math.MaxInt32:
		t.errorf(at, "%d is out of range", n)
		ok = false
	}
	return n, at, ok
}

// amount checks a value that must not be negative, and gives 0 its meaning.
func amount[T int64 | float64 | time.Duration](t *table, at *pathTo, n T, z zero) T {
	switch {
	case n < 0:
		t.errorf(at, "must not be negative")
	case n == 0 && z == zeroIsWrong:
		t.errorf(at, "must be more than 0")
	case n == 0 && z == zeroIsOff:
		return Off
	}
	return n
}

// number reads a number above 0. With auto, the text "auto" is the zero value.
func (t *table) number(key string, to *float64, auto bool) {
	v, at, ok := t.take(key)
	if !ok || auto && v == "auto" {
		return
	}
	switch n := v.(type) {
	case int64:
		*to = amount(t, at, float64(n), zeroIsWrong)
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			t.errorf(at, "want a number, got %v", n)
			return
		}
		*to = amount(t, at, n, zeroIsWrong)
	default:
		t.wrong(at, v, orAuto("a number", auto))
	}
}

func orAuto(want string, auto bool) string {
	if auto {
		return want + ` or "auto"`
	}
	return want
}

func (t *table) duration(key string, to *time.Duration, z zero) {
	if d, at, ok := t.anyDuration(key); ok {
		*to = amount(t, at, d, z)
	}
}

// anyDuration reads a duration that may be negative.
func (t *table) anyDuration(key string) (d time.Duration, at *pathTo, ok bool) {
	v, at, ok := t.take(key)
	if !ok {
		return 0, at, false
	}
	var err error
	switch v := v.(type) {
	case string:
		d, err = parseDuration(v)
	case int64:
		d, err = seconds(float64(v))
	case float64:
		d, err = seconds(v)
	default:
		t.wrong(at, v, `a duration such as "90s", or a number of seconds`)
		return 0, at, false
	}
	if err != nil {
		t.errorf(at, "%v", err)
	}
	return d, at, err == nil
}

// size reads a number of bytes. With auto, the text "auto" is the zero value.
func (t *table) size(key string, to *int64, z zero, auto bool) {
	v, at, ok := t.take(key)
	if !ok || auto && v == "auto" {
		return
	}
	switch v := v.(type) {
	case string:
		n, err := parseSize(v)
		if err != nil {
			t.errorf(at, "%v", err)
			return
		}
		*to = amount(t, at, n, z)
	case int64:
		*to = amount(t, at, v, z)
	default:
		t.wrong(at, v, orAuto(`a size such as "512MiB"`, auto))
	}
}

// texts reads a list of texts. Elements of another type are kept as "".
func (t *table) texts(key string, to *[]string) {
	if v, at, ok := t.take(key); ok {
		*to = t.textsOf(at, v)
	}
}

// textOrTexts reads a list of texts, or a single one.
func (t *table) textOrTexts(key string, to *[]string) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	if s, isText := v.(string); isText {
		*to = []string{s}
		return
	}
	*to = t.textsOf(at, v)
}

func (t *table) textsOf(at *pathTo, v any) []string {
	list, ok := v.([]any)
	if !ok {
		t.wrong(at, v, "a list of texts")
		return nil
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if texts[i], ok = e.(string); !ok {
			t.wrong(at.index(i), e, "text")
		}
	}
	return texts
}

// dict reads a table of texts.
func (t *table) dict(key string, to *map[string]string) {
	t.each(key, func(at *pathTo, name string, v any) {
		s, ok := v.(string)
		if !ok {
			t.wrong(at, v, "text")
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[name] = s
	})
}

// anything reads a table of values of any type but dates.
func (t *table) anything(key string, to *map[string]any) {
	t.each(key, func(at *pathTo, name string, v any) {
		if *to == nil {
			*to = map[string]any{}
		}
		(*to)[name] = t.plain(at, v)
	})
}

// plain returns v as JSON knows it, and reports the dates in it.
func (t *table) plain(at *pathTo, v any) any {
	switch v := v.(type) {
	case time.Time:
		t.errorf(at, "a date or time cannot be a property: write it as text")
		return nil
	case []any:
		for i := range v {
			v[i] = t.plain(at.index(i), v[i])
		}
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = t.plain(at.index(i), v[i])
		}
		return list
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = t.plain(at.key(k), v[k])
		}
	}
	return v
}

// each calls f for every entry of a table, sorted by name.
func (t *table) each(key string, f func(at *pathTo, name string, v any)) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.wrong(at, v, "a table")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		f(at.key(name), name, m[name])
	}
}

// sub reads a table with read, which is called also when there is none.
func (t *table) sub(key string, read func(*table)) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	t.of(at, v, read)
}

// of reads v, which must be a table, with read.
func (t *table) of(at *pathTo, v any, read func(*table)) {
	m, ok := v.(map[string]any)
	if !ok {
		t.wrong(at, v, "a table")
		return
	}
	in := &table{problems: t.problems, at: at, values: m}
	read(in)
	in.done()
}

// list reads a list of whatever read takes.
func list[T any](t *table, key string, to *[]T, read func(t *table, at *pathTo, v any) T) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	var elements []any
	switch v := v.(type) {
	case []any:
		elements = v
	case []map[string]any:
		for _, m := range v {
			elements = append(elements, m)
		}
	default:
		t.wrong(at, v, "a list")
		return
	}
	*to = make([]T, len(elements))
	for i, e := range elements {
		(*to)[i] = read(t, at.index(i), e)
	}
}

// tables is list for elements that are tables.
func tables[T any](t *table, key string, to *[]T, read func(*table, *T)) {
	list(t, key, to, func(t *table, at *pathTo, v any) (x T) {
		t.of(at, v, func(in *table) { read(in, &x) })
		return x
	})
}

// secret reads a text, or a table that says where to find it.
func (t *table) secret(key string, to *Secret) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	switch v := v.(type) {
	case string:
		if to.Text = v; v == "" {
			t.errorf(at, "must not be empty")
		}
	case map[string]any:
		t.of(at, v, func(in *table) {
			in.text("secret", &to.Name)
			in.text("file", &to.File)
			in.text("env", &to.Env)
			if len(v) != 1 {
				t.errorf(at, "want exactly one of secret, file and env")
			}
		})
		if to.IsZero() {
			t.spoil(at) // that it is missing need not be said too
		}
	default:
		t.wrong(at, v, "text, { secret = … }, { file = … } or { env = … }")
	}
}

// run reads a command: a line for the shell, or a list.
func (t *table) run(key string, to *Run) {
	v, at, ok := t.take(key)
	if !ok {
		return
	}
	switch v := v.(type) {
	case string:
		if to.Shell = v; v == "" {
			t.errorf(at, "must not be empty")
		}
	case []any:
		if to.Argv = t.textsOf(at, v); len(v) == 0 {
			t.errorf(at, "must not be empty")
		}
	default:
		t.wrong(at, v, "text for the shell, or a list of texts")
	}
}

// done reports the keys nobody asked for. others are the keys that would be
// known if the table were of another kind, with that kind.
func (t *table) done() { t.doneExcept("", nil) }

func (t *table) doneExcept(kind string, others map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if slices.Contains(t.known, key) {
			continue
		}
		at := t.at.key(key)
		if other, ok := others[key]; ok {
			t.keyError(at, "", "key %q is for kind = %q, not for kind = %q", key, other, kind)
			t.known = append(t.known, key)
			continue
		}
		hint := t.closest(key, t.known)
		if _, there := t.values[hint]; hint != "" && !there {
			t.spoil(t.at.key(hint)) // that it is missing need not be said too
		}
		t.keyError(at, hint, "unknown key %q", key)
	}
}
