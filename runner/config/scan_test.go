package config

import (
	"fmt"
	"testing"

	"github.com/BurntSushi/toml"
)

// sameShape compares what the scanner found with what the decoder read.
func sameShape(text string, n *node, v any, where string) error {
	switch v := v.(type) {
	case map[string]any:
		if n.table == nil {
			return fmt.Errorf("%s: want a table", where)
		}
		if len(n.table) != len(v) {
			return fmt.Errorf("%s: %d keys, want %d", where, len(n.table), len(v))
		}
		for key, e := range v {
			if n.table[key] == nil {
				return fmt.Errorf("%s: no key %q", where, key)
			}
			if err := sameShape(text, n.table[key], e, where+"."+key); err != nil {
				return err
			}
		}
	case []map[string]any:
		if len(n.items) != len(v) {
			return fmt.Errorf("%s: %d tables, want %d", where, len(n.items), len(v))
		}
		for i := range v {
			if err := sameShape(text, n.items[i], v[i], fmt.Sprint(where, i)); err != nil {
				return err
			}
		}
	case []any:
		if len(n.items) != len(v) {
			return fmt.Errorf("%s: %d elements, want %d", where, len(n.items), len(v))
		}
		for i := range v {
			if err := sameShape(text, n.items[i], v[i], fmt.Sprint(where, i)); err != nil {
				return err
			}
		}
	case string:
		if n.literal == notString {
			return fmt.Errorf("%s: want a string", where)
		}
		if got := n.text(text); got != v {
			return fmt.Errorf("%s: %q, want %q", where, got, v)
		}
	default:
		if n.literal != notString || n.table != nil || n.items != nil {
			return fmt.Errorf("%s: want a plain value", where)
		}
	}
	return nil
}

func checkShape(t *testing.T, text string) {
	t.Helper()
	root, limit := scan(text)
	if limit != nil || invalidUTF8(text) >= 0 {
		return
	}
	values, err := decode(text)
	if err != nil {
		return
	}
	if err := sameShape(text, root, values, ""); err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
}

func TestScannerAgreesWithDecoder(t *testing.T) {
	for _, pattern := range []string{"*.toml", "bad/*.toml"} {
		for _, file := range examples(t, pattern) {
			checkShape(t, string(readFile(t, file)))
		}
	}
	for _, text := range scanSeeds {
		if _, err := toml.Decode(text, new(map[string]any)); err != nil {
			t.Errorf("not valid, so nothing is tested: %v in\n%s", err, text)
		}
		checkShape(t, text)
	}
}

var scanSeeds = []string{
	"a.b.c = 1\na.b.d = 2\n[x.y]\nz = 3\n[x]\nw = 4\n",
	"[[a]]\nb = 1\n[a.c]\nd = 2\n[[a]]\nb = 3\n[[a.e]]\nf = 4\n[[a.e]]\nf = 5\n",
	"a = { b.c = 1, b.d = { e = [1, [2, { f = 3 }]] }, \"g h\" = 'i' }\n",
	"a = [ # comment ]\n  \"]\", ']', # more\n  \"\"\"]\"\"\", '''\n]''',\n]\n",
	"a = \"\"\"\"two quotes\"\" here\"\"\"\"\"\nb = ''''one''''\nc = \"\"\ne = \"\"\"\"\"\"\nf = ''\ng = ''''''\n",
	"a = \"\\\"\\\\\\u00e9\\U0001F600\\x41\\e\\b\\f\\t\\n\\r\"\nb = 'C:\\x'\n",
	"a = \"\"\"\\\n   \\\n  x \\   \n\n y\"\"\"\r\nb = \"\"\"\r\nx\r\n\"\"\"\r\n",
	"d = 1979-05-27 07:32:00\ne = [1979-05-27 07:32:00, 07:32:00]\nf = { g = 1979-05-27 07:32:00 , h = -inf }\n",
	"\"a.b\" = 1\n'c d'.\"e\" . f = 2\n[\"x\".y]\n",
	"a = {\n  b = 1, # comment }\n  c = 2,\n}\n",
}

func FuzzScan(f *testing.F) {
	for _, text := range scanSeeds {
		f.Add(text)
	}
	for _, file := range examples(f, "*.toml") {
		f.Add(string(readFile(f, file)))
	}
	f.Add("1.0.0=0\n1=0") // the decoder accepts it
	f.Fuzz(func(t *testing.T, text string) { checkShape(t, text) })
}

func TestPositionWithinStrings(t *testing.T) {
	for _, c := range []struct {
		text         string
		offset       int // in the value
		line, column int
	}{
		{`a = "xyz"`, 0, 1, 6},
		{`a = "xyz"`, 2, 1, 8},
		{`a = "xyz"`, 3, 1, 9}, // the end is where the quote is
		{`a = "é\tz"`, 2, 1, 7},
		{`a = "é\tz"`, 3, 1, 9},
		{`a = "\u00e9z"`, 1, 1, 6}, // within what an escape stands for
		{`a = "\u00e9z"`, 2, 1, 12},
		{`a = 'x\z'`, 2, 1, 8},
		{"a = \"\"\"\nx\ny\"\"\"", 0, 2, 1},
		{"a = \"\"\"\nx\ny\"\"\"", 2, 3, 1},
		{"a = \"\"\"x\\\n   y\"\"\"", 1, 2, 4},
		{"a = '''\r\nx'''", 0, 2, 1},
		{`a = 5`, 3, 1, 5},
	} {
		o, limit := newOrigin("x", c.text)
		if limit != nil {
			t.Fatal(limit)
		}
		n, ok := o.find(top("a"))
		if !ok {
			t.Fatalf("%q: not found", c.text)
		}
		value := ""
		if n.literal != notString {
			value = n.text(c.text)
		}
		if line, column := o.positions()(o.within(n, value, c.offset)); line != c.line || column != c.column {
			t.Errorf("%q, byte %d: %d:%d, want %d:%d", c.text, c.offset, line, column, c.line, c.column)
		}
	}
}
