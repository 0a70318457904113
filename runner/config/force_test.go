package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bothy/runner/build"

	"github.com/google/go-cmp/cmp"
)

func ExampleScheduler_Fill() {
	c := &Config{
		Builders: []Builder{{Name: "test", Steps: []Step{Shell("make %(prop:target)s")}}},
		Schedulers: []Scheduler{{
			Name: "button", Kind: SchedulerForce, Builders: []string{"test"},
			Force: Force{Parameters: []Parameter{{Name: "target", Type: ParameterChoice, Choices: []string{"all", "clean"}, Default: "all"}}},
		}},
	}
	if _, err := c.Complete(); err != nil {
		fmt.Println(err)
		return
	}
	filled, err := c.Schedulers[0].Fill("ana", map[string]any{"target": "clean", "reason": "to try"})
	fmt.Println(filled.Reason, filled.Properties["target"].Value, err)
	_, err = c.Schedulers[0].Fill("ana", map[string]any{"target": "cleen"})
	fmt.Println(err)
	// Output:
	// A build was forced by 'ana': to try clean <nil>
	// target: 'cleen' is not one of the choices of 'target'
}

func buttonOf(t *testing.T) *Scheduler {
	t.Helper()
	c := ofFile(t, testdata+"/full.toml")
	return &c.Schedulers[slices.IndexFunc(c.Schedulers, func(s Scheduler) bool { return s.Name == "button" })]
}

func TestForm(t *testing.T) {
	var names []string
	var walk func(parent string, fields []Parameter)
	walk = func(parent string, fields []Parameter) {
		for i := range fields {
			p := &fields[i]
			if p.Type == ParameterNested {
				walk(p.FullName(parent), p.Fields)
				continue
			}
			names = append(names, p.FullName(parent))
			if p.Label == "" || p.Size == 0 && (p.Type == ParameterString || p.Type == ParameterInt) {
				t.Errorf("field %s is not complete: %+v", p.FullName(parent), p)
			}
		}
	}
	walk("", buttonOf(t).Form())
	want := []string{
		"username", "reason", "priority", "branch", "revision", "repository", "project",
		"who", "notes", "level", "many", "n", "clean", "origin", "target_host", "target_port", "asked-by",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestFill(t *testing.T) {
	s := buttonOf(t)
	defaults := map[string]any{
		"who": "you", "notes": "", "level": "low", "many": []any{"a"}, "n": int64(3), "clean": true, "origin": "form",
		"target": map[string]any{"host": "", "port": int64(0)}, "asked-by": "",
	}
	with := func(over map[string]any) map[string]any {
		all := map[string]any{}
		for k, v := range defaults {
			all[k] = v
		}
		for k, v := range over {
			all[k] = v
		}
		return all
	}
	for name, c := range map[string]struct {
		owner  string
		values string // JSON
		want   Filled // without properties
		props  map[string]any
	}{
		"nothing but what must be": {
			"ana", `{"reason": "because", "who": "me"}`,
			Filled{Owner: "ana", Reason: "A build was forced by 'ana': because", Priority: 3},
			map[string]any{"owner": "ana", "reason": "because", "who": "me"},
		},
		"nobody is logged in": {
			"", `{"reason": "because", "who": "me", "username": "ben"}`,
			Filled{Owner: "ben", Reason: "A build was forced by 'ben': because", Priority: 3},
			map[string]any{"owner": "ben", "reason": "because", "who": "me"},
		},
		"somebody else is named": {
			"ana", `{"reason": "because", "who": "me", "username": "ben"}`,
			Filled{Owner: "ana", Reason: "A build was forced by 'ana': because", Priority: 3},
			map[string]any{"owner": "ana", "reason": "because", "who": "me"},
		},
		"everything, in lists": {
			"ana", `{"reason": ["all"], "who": ["me"], "notes": ["a\nb"], "level": ["other"], "many": ["b", "a", " "], "n": ["-7"], "clean": [false],
				"origin": ["elsewhere"], "target_host": ["h"], "target_port": [80], "asked-by": ["x"], "priority": "5", "branch": "main",
				"revision": "abc", "repository": "r", "project": "p", "owner": "eve", "unheard": 1, "builderid": 2}`,
			Filled{Owner: "ana", Reason: "A build was forced by 'ana': all", Priority: 5, Branch: "main", Revision: "abc", Repository: "r", Project: "p"},
			map[string]any{
				"owner": "ana", "reason": "all", "who": "me", "notes": "a\nb", "level": "other", "many": []any{"b", "a"}, "n": int64(-7), "clean": false,
				"target": map[string]any{"host": "h", "port": int64(80)}, "asked-by": "x",
			},
		},
		"blanks are nothing": {
			"ana", `{"reason": "x", "who": "y", "n": " ", "many": [], "level": null, "clean": "", "priority": ""}`,
			Filled{Owner: "ana", Reason: "A build was forced by 'ana': x", Priority: 3},
			map[string]any{"owner": "ana", "reason": "x", "who": "y"},
		},
		"truth in words": {
			"ana", `{"reason": "x", "who": "y", "clean": "Off"}`,
			Filled{Owner: "ana", Reason: "A build was forced by 'ana': x", Priority: 3},
			map[string]any{"owner": "ana", "reason": "x", "who": "y", "clean": false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var values map[string]any
			if err := json.Unmarshal([]byte(c.values), &values); err != nil {
				t.Fatal(err)
			}
			got, err := s.Fill(c.owner, values)
			if err != nil {
				t.Fatal(err)
			}
			form, fixed := map[string]any{}, map[string]any{}
			for name, p := range got.Properties {
				switch p.Source {
				case FormSource:
					form[name] = p.Value
				case "Scheduler":
					fixed[name] = p.Value
				default:
					t.Errorf("property %s is from %q", name, p.Source)
				}
			}
			if diff := cmp.Diff(with(c.props), form); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]any{"full": true, "scheduler": "button"}, fixed); diff != "" {
				t.Error(diff)
			}
			got.Properties = nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, ok := s.Properties["scheduler"]; ok {
		t.Error("filling in the form changed the configuration")
	}
}

func TestFillRefuses(t *testing.T) {
	s := buttonOf(t)
	s.Force.Username.NoEmail = false
	_, err := s.Fill("", map[string]any{
		"reason": "BECAUSE", "many": []any{"c"}, "n": 1.5, "clean": "perhaps", "notes": 5.0, "level": []any{"a", "b"},
		"target_port": "x", "username": "ben", "priority": 1e12,
	})
	var wrong FormError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	want := FormError{
		"reason":      "Why:'BECAUSE' does not match pattern '[a-z]'",
		"who":         "'Who' needs to be specified",
		"many":        "'c' is not one of the choices of 'many'",
		"n":           "'n' wants a whole number",
		"clean":       "'clean' wants true or false",
		"notes":       "'notes' wants text",
		"level":       "'level' takes one value, got 2",
		"target_port": "'port' wants a whole number",
		"username":    "username: please fill in email address in the form 'User <email@email.com>'",
		"priority":    "1000000000000 is out of range",
	}
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Error(diff)
	}
	if text := wrong.Error(); !strings.HasPrefix(text, "clean: 'clean' wants true or false; level: ") {
		t.Errorf("prints as %q", text)
	}
	for name, values := range map[string]map[string]any{
		"reason":   {"who": "x", "reason": strings.Repeat("x", 101)},
		"notes":    {"who": "x", "reason": "x", "notes": strings.Repeat("x", 64<<10+1)},
		"username": {"who": "x", "reason": "x", "username": ""},
	} {
		_, err := s.Fill("", values)
		if errors.As(err, &wrong); err == nil || wrong[name] == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzFill(f *testing.F) {
	c := &Config{
		Builders: []Builder{{Name: "test", Steps: []Step{Shell("true")}}},
		Schedulers: []Scheduler{{
			Name: "button", Kind: SchedulerForce, Builders: []string{"test"},
			Force: Force{Parameters: []Parameter{
				{Name: "s", Regex: "[a-z]*$"}, {Name: "i", Type: ParameterInt}, {Name: "b", Type: ParameterBool},
				{Name: "c", Type: ParameterChoice, Choices: []string{"x", "y"}, Multiple: true},
				{Name: "n", Type: ParameterNested, Fields: []Parameter{{Name: "u", Type: ParameterUsername, Required: true}}},
			}},
		}},
	}
	if _, err := c.Complete(); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		`{}`, `{"s": "abc", "i": "5", "b": true, "c": ["x"], "n_u": "Ana <a@b.c>"}`, `{"s": [1], "i": 1e99, "b": {}, "c": [[]], "n_u": []}`,
		`{"priority": -1, "branch": ["a", "b"], "username": "x"}`, `{"i": 9223372036854775808, "s": "\u0000"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var values map[string]any
		if json.Unmarshal([]byte(s), &values) != nil {
			return
		}
		got, err := c.Schedulers[0].Fill("", values)
		var wrong FormError
		switch {
		case err != nil && (!errors.As(err, &wrong) || len(wrong) == 0):
			t.Errorf("an error about no field: %v", err)
		case err == nil:
			if _, isInt := got.Properties["i"].Value.(int64); !isInt {
				t.Errorf("i is %v", got.Properties["i"].Value)
			}
			for name, p := range got.Properties {
				if err := (build.Properties{}).Set(name, p.Value, p.Source); err != nil {
					t.Errorf("property %s: %v", name, err)
				}
			}
		}
	})
}
