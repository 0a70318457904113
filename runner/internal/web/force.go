package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/api"
	"bothy/runner/internal/engine"
)

// forceForm is a form that asks for builds.
type forceForm struct {
	Scheduler string // "": the one every builder has
	Label     string
	Button    string
	Off       bool // the scheduler is turned off
	Open      bool // it was sent, and something in it is wrong
	Fields    []formField
}

// formField is a field of a form as it is shown.
type formField struct {
	config.Parameter
	ID       string
	FullName string
	Value    string
	Chosen   []string // of several choices
	On       bool     // of a bool
	Wrong    string   // what is wrong with what was entered
	Fields   []formField
}

// Is reports whether a choice is chosen.
func (f formField) Is(choice string) bool { return slices.Contains(f.Chosen, choice) }

// Other is what is chosen that is not among the choices.
func (f formField) Other() string {
	for _, v := range f.Chosen {
		if !slices.Contains(f.Choices, v) {
			return v
		}
	}
	return ""
}

// plainForm is what every builder can be asked by.
func plainForm() *config.Scheduler {
	s := &config.Scheduler{Force: config.Force{Label: "Force a build", Button: "Force build", Parameters: []config.Parameter{{
		Name: "properties", Type: config.ParameterText, Label: "Properties", Tooltip: "NAME=VALUE, one a line", Cols: 40, Rows: 3,
	}}}}
	s.Force.Reason = config.Parameter{Name: "reason", Type: config.ParameterString, Label: "Reason", Size: 40}
	s.Force.Username = config.Parameter{Name: "username", Type: config.ParameterFixed}
	return s
}

// forceForms are the forms for a builder: those of its force schedulers, or else
// the one that every builder has.
func (c *call) forceForms(builder string) []forceForm {
	var forms []forceForm
	conf := c.s.Config()
	for i := range conf.Schedulers {
		if s := &conf.Schedulers[i]; s.Kind == config.SchedulerForce && slices.Contains(s.Builders, builder) {
			forms = append(forms, c.forceForm(s, s.Force.Username.Name))
		}
	}
	if len(forms) == 0 {
		forms = append(forms, c.forceForm(plainForm(), "username"))
	}
	return forms
}

func (c *call) forceForm(s *config.Scheduler, username string) forceForm {
	f := forceForm{Scheduler: s.Name, Label: s.Force.Label, Button: s.Force.Button, Off: s.Name != "" && !c.enabled(s.Name)}
	var entered url.Values
	var wrong map[string]string
	if n := c.Note; n != nil && n.Fields != nil && n.Entered.Get("scheduler") == s.Name {
		entered, wrong, f.Open = n.Entered, n.Fields, true
	}
	known := c.Who.Name != ""
	f.Fields = formFields("", cmp.Or(s.Name, "force"), s.Form(), entered, wrong, func(p *config.Parameter) bool {
		return p.Hide || p.Type == config.ParameterUsername && known && p.Name == username || p.Type == config.ParameterFixed && s.Name == ""
	})
	return f
}

// formFields are fields as they are shown: with what was entered before, or what
// they are if nothing is.
func formFields(parent, id string, all []config.Parameter, entered url.Values, wrong map[string]string, skip func(*config.Parameter) bool) []formField {
	var fields []formField
	for i := range all {
		p := &all[i]
		if skip(p) {
			continue
		}
		name := p.FullName(parent)
		f := formField{Parameter: *p, FullName: name, ID: "f-" + id + "-" + name, Wrong: wrong[name]}
		if p.Type == config.ParameterNested {
			if f.Fields = formFields(name, id, p.Fields, entered, wrong, skip); len(f.Fields) > 0 {
				fields = append(fields, f)
			}
			continue
		}
		switch given, sent := entered[name], entered != nil; {
		case sent:
			f.Chosen, f.On = given, len(given) > 0
			if len(given) > 0 {
				f.Value = given[0]
			}
		default:
			f.On, _ = p.Default.(bool)
			if list, ok := p.Default.([]any); ok {
				for _, v := range list {
					f.Chosen = append(f.Chosen, fmt.Sprint(v))
				}
			} else if p.Default != nil {
				f.Value = fmt.Sprint(p.Default)
				f.Chosen = []string{f.Value}
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// enabled reports whether a scheduler is on.
func (c *call) enabled(name string) bool {
	for _, s := range c.s.Engine.Schedulers() {
		if s.Name == name {
			return s.Enabled
		}
	}
	return false
}

// force asks for a build, as a form says.
func (c *call) force(f url.Values) (string, error) {
	builder := c.r.PathValue("builder")
	conf := c.s.Config()
	if !slices.ContainsFunc(conf.Builders, func(b config.Builder) bool { return b.Name == builder }) {
		return "", notFound("builder %s is not configured", shorten(builder, 80))
	}
	name := f.Get("scheduler")
	var subs []engine.Submission
	if name == "" {
		sub, err := c.plainForced(builder, f)
		if err != nil {
			return "", err
		}
		subs = append(subs, sub)
	} else {
		i := slices.IndexFunc(conf.Schedulers, func(s config.Scheduler) bool {
			return s.Name == name && s.Kind == config.SchedulerForce && slices.Contains(s.Builders, builder)
		})
		if i < 0 {
			return "", notFound("there is no force scheduler %q for this builder", shorten(name, 80))
		}
		if !c.enabled(name) {
			return "", conflict("the scheduler %s is turned off", name)
		}
		filled, err := conf.Schedulers[i].Fill(c.Who.Name, formValues("", conf.Schedulers[i].Form(), f))
		if err != nil {
			return "", err
		}
		if subs, err = api.Forced(filled, []string{builder}, c.Who); err != nil {
			return "", err
		}
	}
	tickets, err := c.s.Engine.Submit(c.ctx(), subs...)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is asked for as request %d", builder, tickets[0].ID), nil
}

// formValues are what was entered, as [config.Scheduler.Fill] takes it. A box
// that is not ticked says no.
func formValues(parent string, fields []config.Parameter, f url.Values) map[string]any {
	all := map[string]any{}
	for i := range fields {
		p := &fields[i]
		name := p.FullName(parent)
		given := f[name]
		switch {
		case p.Type == config.ParameterNested:
			maps.Copy(all, formValues(name, p.Fields, f))
		case p.Hide:
		case p.Type == config.ParameterBool:
			all[name] = len(given) > 0
		case len(given) == 1:
			all[name] = given[0]
		case len(given) > 1:
			var list []any
			for _, v := range given {
				list = append(list, v)
			}
			all[name] = list
		}
	}
	return all
}

// plainForced is what the form says that every builder has.
func (c *call) plainForced(builder string, f url.Values) (engine.Submission, error) {
	s := engine.Submission{
		Builder: builder, Reason: f.Get("reason"), Branch: f.Get("branch"), Revision: f.Get("revision"), Who: c.Who.Owner(),
		Properties: build.Properties{},
	}
	wrong := config.FormError{}
	if text := strings.TrimSpace(f.Get("priority")); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			wrong["priority"] = "a whole number is wanted"
		}
		s.Priority = int(n)
	}
	set := func(field, name, value string) {
		if value == "" {
			return
		}
		if err := s.Properties.Set(name, value, config.FormSource); err != nil {
			wrong[field] = err.Error()
		}
	}
	set("repository", "repository", f.Get("repository"))
	set("project", "project", f.Get("project"))
	set("reason", "owner", c.Who.Owner())
	for line := range strings.Lines(f.Get("properties")) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		switch {
		case line == "":
		case !ok:
			wrong["properties"] = fmt.Sprintf("%q is not NAME=VALUE", shorten(line, 40))
		default:
			set("properties", strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	if len(wrong) > 0 {
		return s, wrong
	}
	return s, nil
}
