package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"bothy/runner/build"
)

// Section is a table of the configuration, as it is in force.
type Section struct {
	Table    string // "web", "builders"; "" for what stands before the first table
	Name     string // of an element of a list that has one
	Settings []Setting
}

// Setting is one key of a table and its value, much as the file would say it.
type Setting struct {
	Key   string
	Value string
	// Default says that the value is what it would be without the key. It is
	// told for settings, not for elements of lists.
	Default bool
}

// Describe lists what a complete configuration says, for people to read: keys
// are those of the file, and what has no value is left out. Secrets are not
// shown, only where they are from; nor are passwords within URLs.
func (c *Config) Describe() []Section {
	plain := &Config{}
	plain.setDefaults()
	top := Section{}
	v, d := reflect.ValueOf(*c), reflect.ValueOf(*plain)
	var sections []Section
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := keyName(v.Type(), f.Name)
		switch {
		case !f.IsExported() || slices.Contains([]string{"File", "Dir", "Digest"}, f.Name):
		case f.Type.Kind() == reflect.Struct:
			sections = append(sections, Section{Table: key, Settings: describe(nil, v.Field(i), d.Field(i))})
		case f.Type.Kind() == reflect.Slice:
			for n := range v.Field(i).Len() {
				e := v.Field(i).Index(n)
				s := Section{Table: key, Settings: describe(nil, e, reflect.Value{})}
				if name := e.FieldByName("Name"); name.IsValid() {
					s.Name = name.String()
				}
				sections = append(sections, s)
			}
		default:
			top.Settings = append(top.Settings, Setting{key, shownValue(f.Name, v.Field(i)), reflect.DeepEqual(v.Field(i).Interface(), d.Field(i).Interface())})
		}
	}
	return append([]Section{top}, sections...)
}

// Describe lists what a complete entry of [[workers]] says, as
// [Config.Describe] does.
func (w *Worker) Describe() []Setting { return describe(nil, reflect.ValueOf(*w), reflect.Value{}) }

// describe appends the settings of a struct. Plain, unless it is the zero Value,
// has the defaults.
func describe(to []Setting, v, plain reflect.Value) []Setting {
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		var d reflect.Value
		if plain.IsValid() {
			d = plain.Field(i)
		}
		switch {
		case !f.IsExported() || field.IsZero():
		case f.Type == reflect.TypeFor[*build.Flags]():
			to = append(to, flagSettings(*field.Interface().(*build.Flags))...)
		case f.Type.Kind() == reflect.Struct && !isOneValue(f.Type):
			to = describe(to, field, d)
		default:
			is := d.IsValid() && reflect.DeepEqual(field.Interface(), d.Interface())
			key := keyName(v.Type(), f.Name)
			if steps, ok := field.Interface().([]Step); ok {
				for n := range steps {
					to = append(to, Setting{Key: fmt.Sprintf("%s[%d]", key, n), Value: shownStep(&steps[n])})
				}
				continue
			}
			to = append(to, Setting{key, shownValue(f.Name, field), is})
		}
	}
	return to
}

// shownStep writes a step without what it would be anyway: text alone is a
// command of the shell.
func shownStep(s *Step) string {
	plain := Step{}
	plain.setDefaults()
	var items []string
	for _, x := range describe(nil, reflect.ValueOf(*s), reflect.ValueOf(plain)) {
		if !x.Default && !(x.Key == "name" && s.Name == s.Run.Shell) {
			items = append(items, x.Key+" = "+x.Value)
		}
	}
	if len(items) == 1 && s.Run.Shell != "" {
		return shownRun(s.Run)
	}
	return inBraces(items)
}

// shownValue writes the value of a field. The field's name tells apart what Go's
// type does not.
func shownValue(name string, v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case Secret:
		return x.String()
	case time.Duration:
		return strconv.Quote(shownDuration(x))
	case Source:
		return shownSource(x)
	case Run:
		return shownRun(x)
	case map[string]any:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(x)) {
			items = append(items, key+" = "+shownJSON(x[key]))
		}
		return inBraces(items)
	case build.Result:
		return strconv.Quote(x.String())
	case int64: // all of them are sizes
		if x == Off {
			return "0"
		}
		return strconv.Quote(FormatSize(x))
	case int:
		if x == Off && name != "Priority" {
			return "0"
		}
	case string:
		return strconv.Quote(shownText(name, x))
	case bool:
		return strconv.FormatBool(x != strings.HasPrefix(name, "No")) // the file says it the other way round
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = shownValue(name, v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Struct:
		var items []string
		for _, s := range describe(nil, v, reflect.Value{}) {
			items = append(items, s.Key+" = "+s.Value)
		}
		return inBraces(items)
	case reflect.Map:
		m := map[string]string{}
		for at := v.MapRange(); at.Next(); {
			m[fmt.Sprint(at.Key().Interface())] = shownValue(name, at.Value())
		}
		var items []string
		for _, key := range slices.Sorted(maps.Keys(m)) {
			items = append(items, key+" = "+m[key])
		}
		return inBraces(items)
	}
	return shownJSON(v.Interface())
}

func inBraces(items []string) string {
	if len(items) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

func shownJSON(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}

func shownText(name, s string) string {
	switch {
	case name == "PasswordSHA256":
		return "…"
	case strings.Contains(s, "://"):
		u, err := url.Parse(s)
		if err != nil && strings.Contains(s, "@") {
			return "(not a valid url)" // there may be a password in it
		}
		if err != nil || u.User == nil {
			return s
		}
		if _, ok := u.User.Password(); !ok && strings.HasPrefix(u.Scheme, "http") {
			u.User = url.User("xxxxx") // a token
		}
		return u.Redacted()
	}
	return s
}

func shownDuration(d time.Duration) string {
	if d == Off {
		return "0"
	}
	if d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func shownSource(s Source) string {
	if s.Kind != SourceGit {
		return strconv.Quote(string(s.Kind))
	}
	text := "{ git = " + strconv.Quote(shownText("", s.URL))
	if s.Branch != "" {
		text += ", branch = " + strconv.Quote(s.Branch)
	}
	return text + " }"
}

func shownRun(r Run) string {
	if r.Shell != "" {
		return strconv.Quote(r.Shell)
	}
	return shownValue("", reflect.ValueOf(r.Argv))
}

// flagSettings are the flags that are not as they would be without being said.
func flagSettings(f build.Flags) (all []Setting) {
	v, plain := reflect.ValueOf(f), reflect.ValueOf(build.DefaultFlags())
	for i := range v.NumField() {
		if on := v.Field(i).Bool(); on != plain.Field(i).Bool() {
			all = append(all, Setting{Key: snakeCase(v.Type().Field(i).Name), Value: strconv.FormatBool(on)})
		}
	}
	return all
}
