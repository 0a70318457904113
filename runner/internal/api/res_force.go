package api

import (
	"context"

	"bothy/runner/config"
)

// forceRow is a form that asks for builds, and whether it may be used.
type forceRow struct {
	*config.Scheduler
	enabled bool
}

// forceResource are the fields of a force scheduler. Buildbot:
// data/forceschedulers.py.
func forceResource() *resource[forceRow] {
	return newResource(resource[forceRow]{
		schema: schema{name: "forcescheduler", plural: "forceschedulers"},
		list:   listForce,
		fields: []field[forceRow]{
			{column: column{name: "name", kind: text}, get: func(f *forceRow) value { return str(f.Name) }},
			{column: column{name: "button_name", kind: text}, get: func(f *forceRow) value { return str(f.Force.Button) }},
			{column: column{name: "label", kind: text}, get: func(f *forceRow) value { return str(f.Force.Label) }},
			{column: column{name: "builder_names", kind: texts}, get: func(f *forceRow) value { return strs(f.Builders) }},
			{column: column{name: "enabled", kind: boolean}, get: func(f *forceRow) value { return truth(f.enabled) }},
			{column: column{name: "all_fields", kind: object, doc: "the form: fields, some of which hold others; a value is sent under the fullName"}, put: func(b []byte, f *forceRow, _ *query) []byte {
				return appendForm(b, "", f.Form())
			}},
		},
	})
}

func listForce(_ context.Context, c *call, _ *query) (page[forceRow], error) {
	rows := c.a.forceRows()
	if name, ok := c.args.text("schedulername"); ok {
		return single(rows, func(f *forceRow) bool { return f.Name == name })
	}
	b, err := c.builder()
	if b == nil {
		return page[forceRow]{rows: rows}, err
	}
	var of []forceRow
	for _, f := range rows {
		for _, name := range f.Builders {
			if name == b.Name {
				of = append(of, f)
				break
			}
		}
	}
	return page[forceRow]{rows: of}, nil
}

func (a *API) forceRows() []forceRow {
	n := a.names()
	enabled := map[string]bool{}
	for _, s := range n.schedulers {
		enabled[s.Name] = s.Enabled
	}
	var rows []forceRow
	for i := range n.conf.Schedulers {
		if s := &n.conf.Schedulers[i]; s.Kind == config.SchedulerForce {
			rows = append(rows, forceRow{s, enabled[s.Name]})
		}
	}
	return rows
}

// formTypes are Buildbot's names of the types of parameters.
var formTypes = map[config.ParameterType]string{
	config.ParameterString: "text", config.ParameterText: "textarea", config.ParameterChoice: "list",
}

// appendForm writes fields as Buildbot's page knows them (BaseParameter.getSpec).
func appendForm(b []byte, parent string, fields []config.Parameter) []byte {
	b = append(b, '[')
	for i := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendParameter(b, parent, &fields[i])
	}
	return append(b, ']')
}

func appendParameter(b []byte, parent string, p *config.Parameter) []byte {
	typ, ok := formTypes[p.Type]
	if !ok {
		typ = string(p.Type)
	}
	name := p.FullName(parent)
	b = append(b, '{')
	add := func(key string, v any) {
		if len(b) > 0 && b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = appendAny(b, v)
	}
	add("name", p.Name)
	add("fullName", name)
	add("label", p.Label)
	add("tablabel", p.Label)
	add("type", typ)
	add("default", formDefault(p))
	add("required", p.Required)
	add("multiple", p.Multiple)
	add("hide", p.Hide)
	add("tooltip", p.Tooltip)
	add("autopopulate", nil)
	var regex, maxsize any
	if p.Regex != "" {
		regex = p.Regex
	}
	if p.MaxSize > 0 {
		maxsize = int64(p.MaxSize)
	}
	add("regex", regex)
	add("maxsize", maxsize)
	switch p.Type {
	case config.ParameterString, config.ParameterInt, config.ParameterUsername:
		add("size", int64(p.Size))
	case config.ParameterText:
		add("cols", int64(p.Cols))
		add("rows", int64(p.Rows))
	case config.ParameterChoice:
		add("choices", p.Choices)
		add("strict", !p.Open)
	}
	switch p.Type {
	case config.ParameterUsername:
		add("need_email", !p.NoEmail)
	case config.ParameterNested:
		add("layout", "vertical")
		add("columns", int64(p.Columns))
		b = append(b, `,"fields":`...)
		b = appendForm(b, name, p.Fields)
	}
	return append(b, '}')
}

func formDefault(p *config.Parameter) any {
	if p.Default == nil && p.Type != config.ParameterNested {
		return ""
	}
	return p.Default
}
