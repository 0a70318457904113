package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

func TestSchemaIsCurrent(t *testing.T) {
	r := &jsonschema.Reflector{
		RequiredFromJSONSchemaTags: true,
		ExpandedStruct:             true,
		Anonymous:                  true,
		Namer:                      func(t reflect.Type) string { return strings.TrimPrefix(t.Name(), "Doc") },
	}
	if err := r.AddGoComments("bothy/runner/config", "."); err != nil {
		t.Fatal(err)
	}
	for key, comment := range r.CommentMap {
		if strings.HasSuffix(key, "DocFile") || !strings.Contains(key, ".Doc") {
			delete(r.CommentMap, key)
			continue
		}
		r.CommentMap[key] = strings.ReplaceAll(comment, "\n", " ")
	}
	s := r.Reflect(&DocFile{})
	s.Title = FileName
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", b.String())
}

// schemaKeys returns the keys of an object of the schema, sorted.
func schemaKeys(t *testing.T, root map[string]any, name string) []string {
	t.Helper()
	s := root
	if name != "" {
		s = root["$defs"].(map[string]any)[name].(map[string]any)
		if alternatives, ok := s["anyOf"].([]any); ok {
			s = alternatives[len(alternatives)-1].(map[string]any)
		}
	}
	return slices.Sorted(maps.Keys(s["properties"].(map[string]any)))
}

// anyKind asks for the keys of every kind.
func anyKind[T any](common func(*table, *T) string, each []ofKind[T]) []string {
	keys := keysOf(func(t *table, x *T) { common(t, x) })
	for _, k := range each {
		keys = append(keys, keysOf(k.read)...)
	}
	return keys
}

func method[T any](read func(*T, *table)) []string {
	return keysOf(func(t *table, x *T) { read(x, t) })
}

func TestSchemaKnowsTheKeys(t *testing.T) {
	root := loadSchema(t)
	for name, keys := range map[string][]string{
		"":          method((*Config).read),
		"Web":       method((*Web).read),
		"Remote":    method((*Remote).read),
		"Machine":   method((*Machine).read),
		"Store":     method((*Store).read),
		"Mail":      method((*Mail).read),
		"Worker":    anyKind(workerKeys, workerKinds()),
		"Builder":   keysOf(readBuilder),
		"Step":      method((*Step).read),
		"Lock":      keysOf(readLock),
		"Scheduler": anyKind(schedulerKeys, schedulerKinds()),
		"Parameter": keysOf(readParameter),
		"Reason":    keysOf(readField),
		"Report":    anyKind(reportKeys, reportKinds()),
		"Provider":  anyKind(providerKeys, providerKinds()),
	} {
		slices.Sort(keys)
		if diff := cmp.Diff(slices.Compact(keys), schemaKeys(t, root, name)); diff != "" {
			t.Errorf("%s (-decoder +schema):\n%s", name, diff)
		}
	}
}

func loadSchema(t *testing.T) map[string]any {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// validator knows as much of JSON Schema as schema.json uses, and refuses the
// rest.
type validator struct{ defs map[string]any }

func (v *validator) check(schema, value any, at string) error {
	if schema == true {
		return nil
	}
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: schema %v is not understood", at, schema)
	}
	for _, word := range slices.Sorted(maps.Keys(s)) {
		if err := v.word(word, s[word], s, value, at); err != nil {
			return err
		}
	}
	return nil
}

func (v *validator) word(word string, want any, s map[string]any, value any, at string) error {
	object, _ := value.(map[string]any)
	list, _ := value.([]any)
	text, isText := value.(string)
	number, isNumber := asNumber(value)
	fail := func() error { return fmt.Errorf("%s: %v does not fit %s %v", at, value, word, want) }
	ok := true
	switch word {
	case "$schema", "$defs", "title", "description", "default":
	case "$ref":
		return v.check(v.defs[strings.TrimPrefix(want.(string), "#/$defs/")], value, at)
	case "type":
		ok = isOfType(value, want.(string))
	case "enum":
		ok = slices.Contains(want.([]any), normal(value))
	case "const":
		ok = want == value
	case "anyOf":
		var last error
		for _, alternative := range want.([]any) {
			if last = v.check(alternative, value, at); last == nil {
				return nil
			}
		}
		return last
	case "properties":
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if sub, there := want.(map[string]any)[key]; there {
				if err := v.check(sub, object[key], at+"."+key); err != nil {
					return err
				}
			}
		}
	case "additionalProperties":
		known, _ := s["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if _, there := known[key]; there {
				continue
			}
			if want == false {
				return fmt.Errorf("%s: unknown key %s", at, key)
			}
			if err := v.check(want, object[key], at+"."+key); err != nil {
				return err
			}
		}
	case "required":
		for _, key := range want.([]any) {
			if _, there := object[key.(string)]; object != nil && !there {
				return fmt.Errorf("%s: %s is missing", at, key)
			}
		}
	case "items":
		for i := range list {
			if err := v.check(want, list[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "minItems":
		ok = list == nil || float64(len(list)) >= want.(float64)
	case "minProperties":
		ok = object == nil || float64(len(object)) >= want.(float64)
	case "maxProperties":
		ok = object == nil || float64(len(object)) <= want.(float64)
	case "minLength":
		ok = !isText || float64(utf8.RuneCountInString(text)) >= want.(float64)
	case "maxLength":
		ok = !isText || float64(utf8.RuneCountInString(text)) <= want.(float64)
	case "pattern":
		ok = !isText || regexp.MustCompile(want.(string)).MatchString(text)
	case "minimum":
		ok = !isNumber || number >= want.(float64)
	case "maximum":
		ok = !isNumber || number <= want.(float64)
	case "exclusiveMinimum":
		ok = !isNumber || number > want.(float64)
	default:
		return fmt.Errorf("%s: the word %q is not understood", at, word)
	}
	if !ok {
		return fail()
	}
	return nil
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// normal returns v as JSON would have it.
func normal(v any) any {
	if n, ok := asNumber(v); ok {
		return n
	}
	switch v.(type) {
	case string, bool:
		return v
	}
	return nil
}

func isOfType(v any, name string) bool {
	number, isNumber := asNumber(v)
	switch name {
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "array":
		_, ok := v.([]any)
		return ok
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "integer":
		return isNumber && number == math.Trunc(number)
	case "number":
		return isNumber
	}
	return false
}

// plainLists turns the decoder's lists of tables into plain ones.
func plainLists(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainLists(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainLists(v[i])
		}
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plainLists(v[i])
		}
		return list
	}
	return v
}

// againstSchema validates a TOML text.
func againstSchema(t *testing.T, text []byte) error {
	t.Helper()
	root := loadSchema(t)
	var values map[string]any
	if _, err := toml.Decode(string(text), &values); err != nil {
		return err
	}
	if values == nil {
		values = map[string]any{}
	}
	v := &validator{defs: root["$defs"].(map[string]any)}
	return v.check(root, plainLists(values), "file")
}

func TestSchemaAcceptsExamples(t *testing.T) {
	files := examples(t, "*.toml")
	err := filepath.WalkDir("../../testdata", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == FileName {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := againstSchema(t, readFile(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		ofFile(t, file) // the decoder takes it too
	}
}

func TestSchemaRefusesWhatParseRefuses(t *testing.T) {
	const builder = "[[builders]]\nname = \"test\"\n"
	for _, text := range []string{
		"titel = \"x\"",
		"title = 5",
		"title = \"\"",
		"[machine]\ncpus = \"many\"",
		"[machine]\nmemory = \"lots\"",
		"[machine]\nmemory_per_build = \"auto\"",
		"[store]\nkeep_logs = \"soon\"",
		"[store]\nkeep_builds = -1",
		"[store]\nkeep_builds = 1.5",
		"[mail]\ntls = \"strattls\"",
		"[mail]\nusername = \"x\"\npassword = { secret = \"x\", env = \"y\" }",
		"[[workers]]\nname = \"bot1\"\nkind = \"lokal\"",
		"[[workers]]\nname = \"bot1\"\nmax_builds = 0",
		"[[workers]]\nname = \"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\"",
		"[[workers]]\ncount = 2",
		builder + "steps = []",
		builder,
		builder + "steps = [\"\"]",
		builder + "steps = [{ run = [] }]",
		builder + "steps = [{ run = \"x\", env = { A = 1 } }]",
		builder + "steps = [{ run = \"x\", decode_rc = { 1 = \"fine\" } }]",
		builder + "steps = [{ run = \"x\", halt_on_failur = true }]",
		builder + "steps = [{ run = \"x\", timeout = \"5 parsecs\" }]",
		builder + "steps = [{ run = \"x\", logfiles = { a = { file = \"x\" } } }]",
		builder + "steps = [\"x\"]\nsource = { branch = \"main\" }",
		builder + "steps = [\"x\"]\nsource = \"git\"",
		builder + "steps = [\"x\"]\nworkspace = \"clean\"",
		builder + "steps = [\"x\"]\nlocks = [{ name = \"a\", mode = \"shared\" }]\n[[locks]]\nname = \"a\"",
		builder + "steps = [\"x\"]\ncpus = 0",
		builder + "steps = [\"x\"]\n[[schedulers]]\nname = \"a\"\nkind = \"never\"\nbuilders = [\"test\"]",
		builder + "steps = [\"x\"]\n[[reports]]\nkind = \"mail\"\nto = \"a@b.c\"\nmode = \"failign\"",
		builder + "steps = [\"x\"]\n[[schedulers]]\nname = \"a\"\nkind = \"force\"\nbuilders = [\"test\"]\nreason = { name = \"x\" }",
		builder + "steps = [\"x\"]\n[[schedulers]]\nname = \"a\"\nkind = \"force\"\nbuilders = [\"test\"]\nparameters = [{ name = \"a\", type = \"date\" }]",
		"[[web.users]]\nname = \"a\"",
		"[[web.tokens]]\nname = \"a\"",
		"[[secrets]]\nkind = \"vault\"\naddress = \"\"",
		"[[workers]]\nname = \"a\"\nkind = \"remote\"\npassword_sha256 = \"abc\"",
	} {
		if err := againstSchema(t, []byte(text)); err == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
		p := &problems{}
		if c := parse(p, "x", []byte(text)); c != nil {
			c.check(p)
		}
		if len(p.errs) == 0 {
			t.Errorf("Parse accepts\n%s", text)
		}
	}
}
