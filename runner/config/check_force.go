package config

import (
	"slices"
	"strconv"
	"strings"

	"bothy/runner/build"
)

func (k *checker) force(at *pathTo, f *Force) {
	taken := unique{}
	// Buildbot: BaseParameter reserves the first three; the others are in every form.
	for _, name := range []string{"owner", "builderNames", "builderid", "scheduler", "priority", "branch", "revision", "repository", "project", "reason", "username"} {
		taken[name] = name
	}
	k.fieldKeys(at.key("reason"), &f.Reason)
	k.fieldKeys(at.key("username"), &f.Username)
	k.fields(at.key("parameters"), "", f.Parameters, taken, 1)
}

// fields checks fields side by side. taken are the full names of all before.
func (k *checker) fields(at *pathTo, parent string, fields []Parameter, taken unique, depth int) {
	for i := range fields {
		p := &fields[i]
		at := at.index(i).named(p.Name)
		if p.Type != ParameterNested || p.Name != "" {
			if err := build.CheckName(p.Name); err != nil {
				k.errorf(at.key("name"), "%v", err)
			} else {
				k.fieldName(at.key("name"), p.FullName(parent), taken)
			}
		}
		if !oneOf(k, at.key("type"), p.Type, ParameterString, ParameterText, ParameterInt, ParameterBool, ParameterChoice,
			ParameterFixed, ParameterUsername, ParameterNested) {
			continue
		}
		k.fieldKeys(at, p)
		if p.Type != ParameterNested {
			continue
		}
		switch {
		case len(p.Fields) == 0:
			k.missing(at.key("fields"), "the list of fields")
		case depth >= maxFieldNesting:
			k.errorf(at.key("fields"), "fields nested more than %d deep", maxFieldNesting)
		default:
			k.fields(at.key("fields"), p.FullName(parent), p.Fields, taken, depth+1)
		}
	}
}

// fieldName checks that no two fields of a form are entered under one name.
func (k *checker) fieldName(at *pathTo, name string, taken unique) {
	if before, ok := taken[name]; ok {
		k.errorf(at, "the name %q is taken: by another field, or by one that every form has", before)
	}
	taken[name] = name
}

// fieldKeys checks what a field of a known type says.
func (k *checker) fieldKeys(at *pathTo, p *Parameter) {
	if p.Type == ParameterChoice && len(p.Choices) == 0 {
		k.missing(at.key("choices"), "the list of choices")
	}
	for _, only := range []struct {
		key   string
		there bool
		types []ParameterType
	}{
		{"choices", len(p.Choices) > 0, []ParameterType{ParameterChoice}},
		{"multiple", p.Multiple, []ParameterType{ParameterChoice}},
		{"strict", p.Open, []ParameterType{ParameterChoice}},
		{"need_email", p.NoEmail, []ParameterType{ParameterUsername}},
		{"fields", len(p.Fields) > 0, []ParameterType{ParameterNested}},
		{"columns", p.Columns != 0, []ParameterType{ParameterNested}},
		{"cols", p.Cols != 0, []ParameterType{ParameterText}},
		{"rows", p.Rows != 0, []ParameterType{ParameterText}},
		{"size", p.Size != 0, []ParameterType{ParameterString, ParameterInt, ParameterUsername}},
		{"max_size", p.MaxSize != 0, []ParameterType{ParameterString, ParameterText, ParameterUsername, ParameterChoice}},
		{"regex", p.Regex != "", []ParameterType{ParameterString, ParameterText, ParameterUsername, ParameterChoice}},
	} {
		if only.there && !slices.Contains(only.types, p.Type) {
			k.errorf(at.key(only.key), "%s is for type = %s, not for type = %q", only.key, quotedTypes(only.types), p.Type)
		}
	}
	atLeast(k, at.key("size"), p.Size, 0)
	atLeast(k, at.key("cols"), p.Cols, 0)
	atLeast(k, at.key("rows"), p.Rows, 0)
	if p.MaxSize < 0 || p.MaxSize > maxFieldSize {
		k.errorf(at.key("max_size"), "%d is not between 1 and %d", p.MaxSize, maxFieldSize)
	}
	if p.Columns < 0 || p.Columns > maxFieldColumns {
		k.errorf(at.key("columns"), "%d is not between 1 and %d", p.Columns, maxFieldColumns)
	}
	if _, err := compileFieldRegex(p.Regex); err != nil {
		k.errorf(at.key("regex"), "%q is not a regular expression (RE2 syntax)", p.Regex)
		return
	}
	k.defaultOf(at.key("default"), p)
}

// quotedTypes writes types for people: "text" or "int".
func quotedTypes(types []ParameterType) string {
	quoted := make([]string, len(types))
	for i, t := range types {
		quoted[i] = strconv.Quote(string(t))
	}
	return strings.Join(quoted, " or ")
}

// defaultOf checks that a field's default is one of its values.
func (k *checker) defaultOf(at *pathTo, p *Parameter) {
	ok := true
	switch v := p.Default.(type) {
	case nil:
	case string:
		ok = p.Type != ParameterInt && p.Type != ParameterBool && p.Type != ParameterNested && !p.Multiple
		k.choiceIsThere(at, p, v)
	case bool:
		ok = p.Type == ParameterBool || p.Type == ParameterFixed
	case int64, int:
		ok = p.Type == ParameterInt || p.Type == ParameterFixed
	case []any:
		ok = p.Multiple || p.Type == ParameterFixed
		for i, e := range v {
			if s, isText := e.(string); isText {
				k.choiceIsThere(at.index(i), p, s)
			} else if p.Multiple {
				ok = false
			}
		}
	default:
		ok = p.Type == ParameterFixed
	}
	if !ok {
		k.errorf(at, "is not a value for type = %q", p.Type)
	}
}

func (k *checker) choiceIsThere(at *pathTo, p *Parameter, value string) {
	if p.Type == ParameterChoice && !p.Open && !slices.Contains(p.Choices, value) {
		k.suggest(at, k.closest(value, p.Choices), "%q is not one of the choices", value)
	}
}
