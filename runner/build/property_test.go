package build

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSetNormalises(t *testing.T) {
	tests := []struct {
		value, want any
		text        string
	}{
		{nil, nil, ""},
		{true, true, "true"},
		{7, int64(7), "7"},
		{uint8(7), int64(7), "7"},
		{int64(math.MinInt64), int64(math.MinInt64), "-9223372036854775808"},
		{1.0, int64(1), "1"},
		{1e18, int64(1e18), "1000000000000000000"},
		{1e20, 1e20, "100000000000000000000"},
		{0.25, 0.25, "0.25"},
		{1e-7, 1e-7, "0.0000001"},
		{json.Number("1e3"), int64(1000), "1000"},
		{"a\xffb", "a\ufffdb", "a\ufffdb"},
		{[]string{"<a>", "b"}, []any{"<a>", "b"}, `["<a>","b"]`},
		{map[string]int{"b": 2, "a": 1}, map[string]any{"a": int64(1), "b": int64(2)}, `{"a":1,"b":2}`},
		{[]any{1, []any{2.5}}, []any{int64(1), []any{2.5}}, `[1,[2.5]]`},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"},
	}
	for _, tt := range tests {
		p := Properties{}
		if err := p.Set("x", tt.value, "test"); err != nil {
			t.Errorf("Set(%v): %v", tt.value, err)
			continue
		}
		if got := p["x"]; !reflect.DeepEqual(got.Value, tt.want) || got.Text() != tt.text {
			t.Errorf("Set(%v) kept %#v, text %q; want %#v, %q", tt.value, got.Value, got.Text(), tt.want, tt.text)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Properties
		if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, p) {
			t.Errorf("%#v went through JSON %s as %#v, %v", p, data, back, err)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxValueLen+1)
	cycle := map[string]any{}
	cycle["self"] = cycle
	tests := []struct {
		name         string
		key          string
		value        any
		source, want string
	}{
		{"empty name", "", 1, "s", "without a name"},
		{"space in name", "a b", 1, "s", "only letters"},
		{"long name", strings.Repeat("n", MaxNameLen+1), 1, "s", "at most 256"},
		{"long source", "a", 1, strings.Repeat("s", MaxSourceLen+1), "at most 256"},
		{"long string", "a", long, "s", "at most 65536"},
		{"long list", "a", []string{long}, "s", "at most 65536"},
		{"huge list", "a", []string{strings.Repeat(long, 10)}, "s", "as JSON"},
		{"long after repair", "a", strings.Repeat("\xffa", MaxValueLen/2), "s", "at most 65536"},
		{"not a number", "a", math.NaN(), "s", "NaN"},
		{"a function", "a", func() {}, "s", "unsupported type"},
		{"a cycle", "a", cycle, "s", "cycle"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Properties{}
			err := p.Set(tt.key, tt.value, tt.source)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if len(p) != 0 {
				t.Errorf("a refused property was kept: %v", p)
			}
		})
	}
}

func TestValuesOf64KiBWork(t *testing.T) {
	for _, unit := range []string{"x", "\x00", "<", "\""} {
		p := Properties{}
		if err := p.Set("x", strings.Repeat(unit, 64<<10), strings.Repeat("s", 256)); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Properties
		if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, p) {
			t.Errorf("64 KiB of %q did not survive JSON: %v", unit, err)
		}
	}
}

// What is written without package json is what it would write.
func TestPlainPropertiesInJSON(t *testing.T) {
	var texts []string
	for c := range 256 {
		texts = append(texts, "a"+string(byte(c))+"b", string(rune(c)))
	}
	for _, s := range append(texts, "", "plain text", "\u2028") {
		for _, p := range []Property{{Value: s, Source: "Test"}, {Value: "x", Source: s}, {Value: []any{s}, Source: s}} {
			got, err := p.MarshalJSON()
			want, werr := json.Marshal([2]any{p.Value, p.Source})
			if err != nil || werr != nil || string(got) != string(want) {
				t.Errorf("%q: %s, %v; want %s, %v", s, got, err, want, werr)
			}
		}
	}
}

func TestSetDefaultFillsOnlyGaps(t *testing.T) {
	p := Properties{"null": {nil, "a"}, "set": {"x", "a"}}
	for _, name := range []string{"null", "set", "new"} {
		if err := p.SetDefault(name, "default", "b"); err != nil {
			t.Fatal(err)
		}
	}
	want := Properties{"null": {nil, "a"}, "set": {"x", "a"}, "new": {"default", "b"}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %v, want %v", p, want)
	}
}

func TestCloneIsIndependentAndNeverNil(t *testing.T) {
	var none Properties
	c := none.Clone()
	c["a"] = Property{1, "s"}
	d := c.Clone()
	d["a"] = Property{2, "s"}
	if c["a"].Value != 1 || none.Get("a") != nil {
		t.Errorf("clone shares its map: %v %v", none, c)
	}
}

func TestPropertyJSONRefuses(t *testing.T) {
	for _, bad := range []string{`{}`, `[]`, `["x"]`, `["x","y","z"]`, `["x",1]`, `[1e999,"s"]`, `["x","` + strings.Repeat("s", 300) + `"]`,
		`["` + strings.Repeat("x", MaxValueLen+1) + `","s"]`, `["` + strings.Repeat("x", maxRawValue) + `","s"]`} {
		var p Property
		if err := json.Unmarshal([]byte(bad), &p); err == nil {
			t.Errorf("decoded %.60s as %v, want an error", bad, p)
		}
	}
	var p Properties
	if err := json.Unmarshal([]byte(`{"a b":[1,"s"]}`), &p); err == nil {
		t.Error("decoded a property with a space in its name")
	}
}

func TestResolveOrder(t *testing.T) {
	// Every layer sets the names of all that it should lose against.
	set := func(value string, names ...string) map[string]any {
		m := map[string]any{}
		for _, n := range names {
			m[n] = value
		}
		return m
	}
	p, err := Resolve(Layers{
		Global:          Properties{"p1": {"global", "bothy.toml"}, "p2": {"global", "bothy.toml"}, "d5": {"global", "bothy.toml"}},
		Changes:         []map[string]any{set("change 1", "p2", "p2b"), set("change 2", "p2b", "p3")},
		Request:         Properties{"p3": {"request", "Force Build Form"}, "p4": {"request", "Force Build Form"}},
		BuilderName:     "test",
		Builder:         set("builder", "p4", "p6", "os_id"),
		BuilderDefaults: set("builder default", "d5", "d5b", "d7"),
		OS:              set("os", "os_id", "os_version_id", "os_name"),
		Worker:          set("worker", "p6", "os_version_id", "p8", "workername"),
		WorkerName:      "bot1",
		WorkerDefaults:  set("worker default", "d7", "d7b", "os_id_like"),
		Build:           map[string]any{"p8": "build", "p10": "build", "buildnumber": 3},
		Prepared:        set("prepared", "p10"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Properties{
		"p1":  {"global", "bothy.toml"},
		"p2":  {"change 1", SourceChange},
		"p2b": {"change 2", SourceChange},
		"p3":  {"request", "Force Build Form"},
		"p4":  {"builder", SourceBuilder},
		"d5":  {"global", "bothy.toml"},
		"d5b": {"builder default", SourceBuilder},
		"p6":  {"worker", SourceWorker},
		"d7":  {"builder default", SourceBuilder},
		"d7b": {"worker default", SourceWorker},
		"p8":  {"build", SourceBuild},
		"p10": {"prepared", SourceWorker},

		"buildername": {"test", SourceBuilder},
		"workername":  {"bot1", SourceWorker},
		"buildnumber": {int64(3), SourceBuild},

		"os_id":               {"os", SourceOSRelease},
		"os_id_like":          {nil, SourceOSRelease},
		"os_version_id":       {"worker", SourceWorker},
		"os_version_codename": {nil, SourceOSRelease},
		"os_name":             {"os", SourceOSRelease},
	}
	for name, w := range want {
		if got, ok := p[name]; !ok || got != w {
			t.Errorf("%s = %v, want %v", name, got, w)
		}
	}
	if len(p) != len(want) {
		t.Errorf("%d properties, want %d: %v", len(p), len(want), p)
	}
}

func TestResolveNamesTheLayerOfAnError(t *testing.T) {
	_, err := Resolve(Layers{Builder: map[string]any{"bad name": 1}, Worker: map[string]any{"worse name": 1}})
	if err == nil || !strings.Contains(err.Error(), "builder") || !strings.Contains(err.Error(), "bad name") {
		t.Errorf("error %v does not name the layer and the property", err)
	}
}
