package config

import "github.com/invopop/jsonschema"

// or makes s accept what other accepts too.
func or(s, other *jsonschema.Schema) {
	table := *s
	*s = jsonschema.Schema{AnyOf: []*jsonschema.Schema{other, &table}}
}

func orText(s *jsonschema.Schema) { or(s, nonEmpty()) }

func nonEmpty() *jsonschema.Schema {
	one := uint64(1)
	return &jsonschema.Schema{Type: "string", MinLength: &one}
}

func anyOf(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }

// The types below are texts, numbers or lists in the file.
type (
	DocDuration     struct{}
	DocAnyDuration  struct{}
	DocSize         struct{}
	DocSizeOrAuto   struct{}
	DocNumberOrAuto struct{}
	DocTexts        struct{}
	DocRun          struct{}
	DocCondition    struct{}
	DocResult       struct{}
	DocModes        struct{}
)

const (
	durationPattern = `^(\d+(\.\d*)?d)?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))*$`
	sizePattern     = `^\d+(\.\d+)? *(B|[kK]B|[MGT]B|[KMGT]iB)?$`
)

func notNegative() *jsonschema.Schema { return &jsonschema.Schema{Type: "number", Minimum: "0"} }

func (DocDuration) JSONSchema() *jsonschema.Schema {
	text := nonEmpty()
	text.Pattern = durationPattern
	return anyOf(text, notNegative())
}

func (DocAnyDuration) JSONSchema() *jsonschema.Schema {
	text := nonEmpty()
	text.Pattern = "^-?" + durationPattern[1:]
	return anyOf(text, &jsonschema.Schema{Type: "number"})
}

func (DocSize) JSONSchema() *jsonschema.Schema {
	return anyOf(&jsonschema.Schema{Type: "string", Pattern: sizePattern}, &jsonschema.Schema{Type: "integer", Minimum: "0"})
}

func (DocSizeOrAuto) JSONSchema() *jsonschema.Schema {
	s := DocSize{}.JSONSchema()
	s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Const: "auto"})
	return s
}

func (DocNumberOrAuto) JSONSchema() *jsonschema.Schema {
	return anyOf(&jsonschema.Schema{Const: "auto"}, &jsonschema.Schema{Type: "number", ExclusiveMinimum: "0"})
}

func (DocTexts) JSONSchema() *jsonschema.Schema {
	text := &jsonschema.Schema{Type: "string"}
	return anyOf(text, &jsonschema.Schema{Type: "array", Items: text})
}

func (DocRun) JSONSchema() *jsonschema.Schema {
	one := uint64(1)
	return anyOf(nonEmpty(), &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: &one})
}

func (DocCondition) JSONSchema() *jsonschema.Schema {
	return anyOf(&jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "boolean"})
}

func (DocResult) JSONSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, name := range resultNames() {
		s.Enum = append(s.Enum, name)
	}
	return s
}

func (DocModes) JSONSchema() *jsonschema.Schema {
	mode := &jsonschema.Schema{Type: "string"}
	for _, m := range []ReportMode{ModeAll, ModePassing, ModeWarnings, ModeFailing, ModeException, ModeCancelled, ModeProblem, ModeChange} {
		mode.Enum = append(mode.Enum, string(m))
	}
	return anyOf(mode, &jsonschema.Schema{Type: "array", Items: mode})
}
