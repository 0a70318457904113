package api

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"bothy/runner/build"
)

func validJSON(b []byte) bool { return json.Valid(b) && utf8.Valid(b) }

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c", "\x00\x1f\x7f", "é…\u2028😀", "\xff\xc3\x28", "\xed\xa0\x80", "\xf0\x9f\x98", "\r\n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		if c := appendString(nil, []byte(s)); string(b) != string(c) {
			t.Errorf("%q: %s as text, %s as bytes", s, b, c)
		}
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %s: %v", s, b, err)
		}
		var want strings.Builder
		for _, r := range s { // each bad byte is one U+FFFD
			want.WriteRune(r)
		}
		if got != want.String() {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func TestAppendProperties(t *testing.T) {
	p := build.Properties{}
	for name, v := range map[string]any{"s": "a<b>", "n": 3, "f": 1.5, "none": nil, "on": true, "list": []any{"x", 1}} {
		if err := p.Set(name, v, "Here"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, `{}`},
		{[]string{"unheard"}, `{}`},
		{[]string{"n", "s", "n"}, `{"n":[3,"Here"],"s":["a<b>","Here"]}`},
		{[]string{"*"}, `{"f":[1.5,"Here"],"list":[["x",1],"Here"],"n":[3,"Here"],"none":[null,"Here"],"on":[true,"Here"],"s":["a<b>","Here"]}`},
	} {
		if got := string(appendProperties(nil, p, c.names...)); got != c.want {
			t.Errorf("%q: %s, want %s", c.names, got, c.want)
		}
	}
}
