package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"bothy/runner/build"
)

// FormSource is the source of the properties that a form gives. Buildbot:
// ForceScheduler.
const FormSource = "Force Build Form"

// Filled is what a form says once it is filled in.
type Filled struct {
	Owner  string // who asks, perhaps ""
	Reason string // for the request: who and why
	// Priority, Branch, Revision, Repository and Project are "" or 0 if nothing
	// was entered.
	Priority                              int
	Branch, Revision, Repository, Project string
	// Properties are those of the scheduler, and what was entered, of the source
	// [FormSource]; owner and reason among them.
	Properties build.Properties
}

// FormError says what is wrong with what was entered, by the full name of the
// field.
type FormError map[string]string

// Error returns the texts, sorted by field.
func (e FormError) Error() string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(e)) {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", name, e[name])
	}
	return b.String()
}

// Fill fills in a force scheduler's form: values by full name of the field, as
// JSON decodes them, single or in a list as Buildbot's page sends them. Others
// are ignored. Owner is who asks, if that is known; if not, the field username
// is asked. What is wrong is a [FormError].
func (s *Scheduler) Fill(owner string, values map[string]any) (Filled, error) {
	f := filling{values: values, wrong: FormError{}}
	got := f.fields("", s.Form(), func(p *Parameter) bool {
		return owner != "" && p.Type == ParameterUsername && p.Name == s.Force.Username.Name
	})
	take := func(name string) string {
		text, _ := got[name].(string)
		delete(got, name)
		return text
	}
	out := Filled{
		Owner: owner, Branch: take("branch"), Revision: take("revision"), Repository: take("repository"), Project: take("project"),
		Properties: build.Properties{},
	}
	if name := take("username"); owner == "" {
		out.Owner = name
	}
	if n, ok := got["priority"].(int64); ok {
		if n < math.MinInt32 || n > math.MaxInt32 {
			f.wrong["priority"] = fmt.Sprintf("%d is out of range", n)
		}
		out.Priority = int(n)
		delete(got, "priority")
	}
	reason, _ := got["reason"].(string)
	// Buildbot: ForceScheduler.reasonString
	out.Reason = fmt.Sprintf("A build was forced by '%s': %s", out.Owner, reason)
	got["owner"] = out.Owner
	fixed := maps.Clone(s.Properties)
	if fixed == nil {
		fixed = map[string]any{}
	}
	fixed["scheduler"] = s.Name
	for name, value := range fixed {
		if err := out.Properties.Set(name, value, "Scheduler"); err != nil {
			return Filled{}, fmt.Errorf("scheduler %q: %w", s.Name, err)
		}
	}
	for name, value := range got {
		if err := out.Properties.Set(name, value, FormSource); err != nil {
			f.wrong[name] = err.Error()
		}
	}
	if len(f.wrong) > 0 {
		return Filled{}, f.wrong
	}
	return out, nil
}

// filling is a form while it is filled in.
type filling struct {
	values map[string]any
	wrong  FormError
}

// fields returns the values of fields by name, those of unnamed nested ones
// among them.
func (f *filling) fields(parent string, fields []Parameter, skip func(*Parameter) bool) map[string]any {
	got := map[string]any{}
	for i := range fields {
		p := &fields[i]
		name := p.FullName(parent)
		switch {
		case skip(p):
		case p.Type == ParameterNested:
			inner := f.fields(name, p.Fields, skip)
			if p.Name == "" {
				maps.Copy(got, inner)
			} else {
				got[p.Name] = inner
			}
		default:
			v, err := p.value(f.values[name])
			if err != nil {
				f.wrong[name] = err.Error()
			}
			got[p.Name] = v
		}
	}
	return got
}

// value returns what a field says when given was entered, nil for nothing.
func (p *Parameter) value(given any) (any, error) {
	if p.Type == ParameterFixed {
		return p.orZero(), nil
	}
	list, ok := given.([]any)
	if !ok {
		list = []any{given}
	}
	list = slices.DeleteFunc(slices.Clone(list), isBlank)
	switch {
	case len(list) == 0 && p.Required:
		return nil, fmt.Errorf("'%s' needs to be specified", p.Label) // Buildbot: BaseParameter.getFromKwargs
	case len(list) == 0:
		return p.orZero(), nil
	case !p.Multiple && len(list) > 1:
		return nil, fmt.Errorf("'%s' takes one value, got %d", p.Label, len(list))
	}
	for i := range list {
		var err error
		if list[i], err = p.one(list[i]); err != nil {
			return nil, err
		}
	}
	if p.Multiple {
		return list, nil
	}
	return list[0], nil
}

// isBlank reports whether nothing was entered.
func isBlank(v any) bool {
	s, isText := v.(string)
	return v == nil || isText && strings.TrimSpace(s) == ""
}

// orZero is the value when nothing is entered.
func (p *Parameter) orZero() any {
	switch {
	case p.Default != nil:
		return p.Default
	case p.Type == ParameterInt:
		return int64(0)
	case p.Type == ParameterBool:
		return false
	case p.Multiple:
		return []any{}
	}
	return ""
}

// one returns a single entered value as the field's type has it.
func (p *Parameter) one(v any) (any, error) {
	switch p.Type {
	case ParameterInt:
		return p.whole(v)
	case ParameterBool:
		return p.truth(v)
	}
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("'%s' wants text", p.Label)
	}
	if most := p.MaxSize; most > 0 && len(s) > most {
		return nil, fmt.Errorf("'%s' has %d bytes, at most %d are allowed", p.Label, len(s), most)
	}
	if p.Regex != "" {
		re, err := compileFieldRegex(p.Regex)
		if err != nil {
			return nil, fmt.Errorf("'%s': %w", p.Label, err)
		}
		if !re.MatchString(s) {
			return nil, fmt.Errorf("%s:'%s' does not match pattern '%s'", p.Label, s, p.Regex) // Buildbot: getFromKwargs
		}
	}
	switch {
	case p.Type == ParameterChoice && !p.Open && !slices.Contains(p.Choices, s):
		return nil, fmt.Errorf("'%s' is not one of the choices of '%s'", s, p.Label)
	case p.Type == ParameterUsername && !p.NoEmail && !isNamedAddress(s):
		// Buildbot: UserNameParameter.parse_from_arg
		return nil, fmt.Errorf("%s: please fill in email address in the form 'User <email@email.com>'", p.Name)
	}
	return s, nil
}

// compileFieldRegex compiles a pattern that begins where the text does.
func compileFieldRegex(s string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + s + ")") }

func isNamedAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name != ""
}

func (p *Parameter) whole(v any) (any, error) {
	var text string
	switch v := v.(type) {
	case string:
		text = strings.TrimSpace(v)
	case json.Number:
		text = v.String()
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v), nil
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("'%s' wants a whole number", p.Label)
	}
	return n, nil
}

func (p *Parameter) truth(v any) (any, error) {
	if on, ok := v.(bool); ok {
		return on, nil
	}
	s, _ := v.(string)
	switch strings.ToLower(strings.TrimSpace(s)) { // Buildbot: the booleans of the REST interface
	case "true", "on", "yes", "1":
		return true, nil
	case "false", "off", "no", "0":
		return false, nil
	}
	return nil, fmt.Errorf("'%s' wants true or false", p.Label)
}
