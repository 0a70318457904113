package build

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func testEnv() Env {
	return Env{
		Props: Properties{
			"full":  {"value", "t"},
			"empty": {"", "t"},
			"zero":  {int64(0), "t"},
			"no":    {false, "t"},
			"yes":   {true, "t"},
			"null":  {nil, "t"},
			"n":     {int64(12), "t"},
			"f":     {1e21, "t"},
			"list":  {[]any{"a", int64(1)}, "t"},
			"none":  {[]any{}, "t"},
			"uni":   {"äöü", "t"},
			"tmpl":  {"%(prop:full)s", "t"},
			"a.b-c": {"dotted", "t"},
		},
		Worker: map[string]any{"os_id": "debian", "numcpus": 4, "list": []string{}},
		Kw:     map[string]any{"arg": "kwval"},
		Source: func(codebase, attr string) (any, bool) {
			v, ok := map[string]any{":branch": "main", ":revision": nil, "lib:branch": "dev"}[codebase+":"+attr]
			return v, ok
		},
		Secret: func(name string) (string, error) {
			if name == "token" {
				return "s3cret", nil
			}
			return "", errors.New("not found")
		},
	}
}

// The table of buildbot-semantics.md 3.11: for each operator the text for a set
// value, "", 0, false, null and a missing one. Null counts as missing.
func TestOperators(t *testing.T) {
	names := []string{"full", "empty", "zero", "no", "null", "missing"}
	tests := map[string][]string{
		"":         {"value", "", "0", "false", "", ""},
		":-":       {"value", "", "0", "false", "", ""},
		":-R":      {"value", "", "0", "false", "R", "R"},
		":~R":      {"value", "R", "R", "R", "R", "R"},
		":+R":      {"R", "R", "R", "R", "", ""},
		":?|T|F":   {"T", "T", "T", "T", "F", "F"},
		":#?|T|F":  {"T", "F", "F", "F", "F", "F"},
		":?:T:F":   {"T", "T", "T", "T", "F", "F"},
		":#?äTäF":  {"T", "F", "F", "F", "F", "F"},
		":?||":     {"", "", "", "", "", ""},
		":?|T|F|G": {"T", "T", "T", "T", "F|G", "F|G"},
	}
	for op, want := range tests {
		for i, name := range names {
			in := "<%(prop:" + name + op + ")s>"
			got, err := Expand(in, testEnv())
			if err != nil || got != "<"+want[i]+">" {
				t.Errorf("%s = %q, %v; want %q", in, got, err, "<"+want[i]+">")
			}
		}
	}
}

func TestExpand(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"date +%s", "date +%s"},
		{"100%", "100%"},
		{"100%% %d %", "100%% %d %"},
		{"%%(prop:full)s", "%(prop:full)s"},
		{"%%%(prop:full)s", "%%(prop:full)s"},
		{"%(prop:full)s%%(%(prop:full)s", "value%(value"},
		{"%(prop:full)s%", "value%"},
		{"a%(prop:n)sb%(prop:yes)sc", "a12btruec"},
		{"%(prop:f)s", "1000000000000000000000"},
		{"%(prop:list)s", `["a",1]`},
		{"%(prop:a.b-c)s", "dotted"},
		{"%(prop:tmpl)s", "%(prop:full)s"}, // values are not templates
		{"%(prop:none:~R)s%(worker:list:#?|T|F)s", "RF"},
		{"%(worker:os_id)s-%(worker:numcpus)s-%(worker:nope:-x)s", "debian-4-x"},
		{"%(kw:arg)s%(kw:nope)s", "kwval"},
		{"%(src::branch)s %(src:lib:branch)s %(src:lib:nope:-n)s", "main dev n"},
		{"%(src::revision:-unknown)s", "unknown"},
		{"%(secret:token)s", "s3cret"},
		{"%(prop:nope:?|%(secret:gone)s|ok)s", "ok"}, // what does not apply is not looked at
		{"%(prop:got_revision:-%(src::revision:-unknown)s)s", "unknown"},
		{"%(prop:nope:-%(prop:nope:-%(prop:full)s!)s!)s", "value!!"},
		{"%(prop:nope:-f(x) (y))s", "f(x) (y)"},
		{"%(prop:full:?|(a|b)|c)s", "(a|b)"},
		{"%(prop:full:?|%(prop:null:?|1|2)s|3)s", "2"},
		{"%(prop:nope:-%%(y))s", "%(y)"},
		{"%(prop:nope:-100%)s", "100%"},
		{"%(prop:nope:-a:-b)s", "a:-b"},
		{"[%(prop:n)5s]", "[   12]"},
		{"[%(prop:n)-5s]", "[12   ]"},
		{"[%(prop:n)05s]", "[   12]"},
		{"[%(prop:uni)5s]", "[  äöü]"},
		{"[%(prop:uni).2s]", "[äö]"},
		{"[%(prop:uni)-4.1s]", "[ä   ]"},
		{"[%(prop:uni).0s]", "[]"},
		{"[%(prop:nope:-%(prop:n)s)4s]", "[  12]"},
		{"[%(prop:full)1s]", "[value]"},
		{"[%(prop:nope)3s]", "[   ]"},
	}
	for _, tt := range tests {
		got, err := Expand(tt.in, testEnv())
		if err != nil || got != tt.want {
			t.Errorf("Expand(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestAnEmptyEnvHasNothing(t *testing.T) {
	got, err := Expand("%(prop:a)s%(worker:a)s%(kw:a)s%(src::a)s.", Env{})
	if err != nil || got != "." {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSecretsHavePaths(t *testing.T) {
	env := Env{Secret: func(name string) (string, error) { return "<" + name + ">", nil }}
	for in, want := range map[string]string{
		"%(secret:team/ci|password)s":                "<team/ci|password>",
		`%(secret:a\|b|user@example.com+x y)s`:       `<a\|b|user@example.com+x y>`,
		"%(prop:x:?|%(secret:a|b)s|%(secret:c|d)s)s": "<c|d>",
		"%(secret:a/b:+set)s":                        "set",
	} {
		if got, err := Expand(in, env); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		in     string
		offset int
		msg    string
	}{
		{"ab%(prop:x", 2, "without its"},
		{"%(secret:a*b)s", 10, "a key has only"},
		{"%(prop:a/b)s", 8, "a key has only"},
		{"ab%(prop:x:-(a)s", 2, "without its"},
		{"%(prop:x)", 9, `want "s"`},
		{"%(prop:x) some", 9, `want "s"`},
		{"%(prop:x)d", 9, `want "s"`},
		{"%(prop:x)5", 10, `want "s"`},
		{"%(prop:x)5000s", 9, "above 4096"},
		{"%(prop:x).99999s", 10, "above 4096"},
		{"%()s", 2, "no selector"},
		{"%(name)s", 2, "no selector"},
		{"%(prop)s", 2, "without a key"},
		{"%(env:HOME)s", 2, `unknown selector "env"`},
		{"%(prop:)s", 7, "key missing"},
		{"%(prop::-x)s", 7, "key missing"},
		{"%(prop:a b)s", 8, "a key has only"},
		{"%(src:branch)s", 6, "src::ATTRIBUTE"},
		{"%(src::)s", 7, "attribute missing"},
		{"%(prop:x:)s", 9, "operator missing"},
		{"%(prop:x:!y)s", 9, `unknown operator '!'`},
		{"%(prop:x:#y)s", 10, `want "?"`},
		{"%(prop:x:#)s", 10, `want "?"`},
		{"%(prop:x:?)s", 10, "want a delimiter"},
		{"%(prop:x:?(a(b))s)s", 10, "want a delimiter"},
		{"%(prop:x:?\xffa\xffb)s", 10, "want a delimiter"},
		{"%(prop:x:?|T)s", 12, "want a second '|'"},
		{"ok %(prop:x:-%(prop:y)d)s", 22, `want "s"`},
		{"ok %(prop:x:?|a|%(bad:y)s)s", 18, `unknown selector "bad"`},
		{strings.Repeat("%(prop:x:-", 40) + strings.Repeat(")s", 40), 330, "nested more than"},
		{strings.Repeat("x", MaxTemplateLen+1), MaxTemplateLen, "at most"},
	}
	for _, tt := range tests {
		_, err := Parse(tt.in)
		var te *TemplateError
		if !errors.As(err, &te) || te.Offset != tt.offset || !strings.Contains(te.Msg, tt.msg) {
			t.Errorf("Parse(%.40q): %v; want offset %d and %q", tt.in, err, tt.offset, tt.msg)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	env := testEnv()
	env.Props["big"] = Property{strings.Repeat("x", MaxValueLen), "t"}
	env.Kw["chan"] = make(chan int)
	tests := []struct {
		in     string
		env    Env
		offset int
		msg    string
	}{
		{"ab%(secret:gone)s", env, 2, `secret "gone": not found`},
		{"ab%(secret:gone:-default)s", env, 2, `secret "gone"`}, // no operator makes a missing secret good
		{"%(secret:token)s", Env{}, 0, "no secrets"},
		{"a%(kw:chan)s", env, 1, "unsupported type"},
		{strings.Repeat("%(prop:big)s", MaxTextLen/MaxValueLen+1), env, 12 * MaxTextLen / MaxValueLen, "bytes of text"},
	}
	for _, tt := range tests {
		_, err := Expand(tt.in, tt.env)
		var te *TemplateError
		if !errors.As(err, &te) || te.Offset != tt.offset || !strings.Contains(err.Error(), tt.msg) {
			t.Errorf("Expand(%.40q): %v; want offset %d and %q", tt.in, err, tt.offset, tt.msg)
		}
	}
}

func TestRefs(t *testing.T) {
	tmpl, err := Parse("x%(prop:a:-%(src:lib:rev:?|%(kw:c)s|%(secret:d)s)s)s%(worker:e)s %%(prop:f)s")
	if err != nil {
		t.Fatal(err)
	}
	want := []Ref{{"prop", "a", 1}, {"src", "lib:rev", 11}, {"kw", "c", 27}, {"secret", "d", 36}, {"worker", "e", 52}}
	if got := tmpl.Refs(); !reflect.DeepEqual(got, want) {
		t.Errorf("refs %v, want %v", got, want)
	}
}

func TestTruthy(t *testing.T) {
	for _, s := range []string{"", " ", "0", "false", "False", "NO", " no\n"} {
		if Truthy(s) {
			t.Errorf("Truthy(%q) is true", s)
		}
	}
	for _, s := range []string{"1", "00", "yes", "true", "off", "none", "x"} {
		if !Truthy(s) {
			t.Errorf("Truthy(%q) is false", s)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"", "plain %s 100%", "%(prop:full)s", "%%(x)s", "%(prop:x:-%(src::revision:~y)-10s)s", "%(prop:x:?|a|b)s",
		"%(prop:x:#?%a%b)s", "%(secret:token).3s", "%(prop:x", "%(prop:x:?\ufffd\xff\xff)s", "%(src:a:b:+(()))s", "%(kw:arg:?äaäb)s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		b, err2 := Parse(s)
		if (err == nil) != (err2 == nil) || !reflect.DeepEqual(a, b) {
			t.Fatalf("Parse is not deterministic: %v, %v", err, err2)
		}
		if err != nil {
			var te *TemplateError
			if !errors.As(err, &te) || te.Offset < 0 || te.Offset > len(s) {
				t.Fatalf("error without an offset in the template: %v", err)
			}
			if !strings.Contains(s, "%(") {
				t.Fatalf("plain text %q is refused: %v", s, err)
			}
			return
		}
		for i, r := range a.Refs() {
			if !strings.HasPrefix(s[r.Offset:], "%("+r.Selector+":"+r.Key) {
				t.Fatalf("ref %v is not at its offset", r)
			}
			if i > 0 && a.Refs()[i-1].Offset >= r.Offset {
				t.Fatalf("refs out of order: %v", a.Refs())
			}
		}
		env := testEnv()
		env.Secret = func(name string) (string, error) { return name, nil }
		x, err := a.Render(env)
		y, err2 := b.Render(env)
		if x != y || err != nil || err2 != nil {
			t.Fatalf("Render: %q, %v and then %q, %v", x, err, y, err2)
		}
		if !strings.Contains(s, "%(") && x != s {
			t.Fatalf("plain text %q became %q", s, x)
		}
		// Text quoted with "%%(" comes back.
		if q, err := Expand(strings.ReplaceAll(s, "%(", "%%("), env); !strings.Contains(s, "%%(") && (err != nil || q != s) {
			t.Fatalf("quoted %q came back as %q, %v", s, q, err)
		}
	})
}

func FuzzPropertyJSON(f *testing.F) {
	for _, s := range []string{`["x","s"]`, `[1.0,"s"]`, `[1e18,""]`, `[{"a":[1,null,true]},"s"]`, `[-0,"s"]`, `[]`, `[1,2]`, `["\ud800","s"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Property
		if p.UnmarshalJSON(data) != nil {
			return
		}
		again := Properties{}
		if err := again.Set("x", p.Value, p.Source); err != nil {
			t.Fatalf("a decoded property is refused: %v", err)
		}
		if !reflect.DeepEqual(again["x"], p) {
			t.Fatalf("decoded %#v, set %#v", p, again["x"])
		}
		out, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Property
		if err := back.UnmarshalJSON(out); err != nil || !reflect.DeepEqual(back, p) {
			t.Fatalf("%#v went through JSON %s as %#v, %v", p, out, back, err)
		}
	})
}
