package greet

import "testing"

func TestIn(t *testing.T) {
	for _, c := range []struct{ language, name, want string }{
		{"en", "Ada", "Hello, Ada!"},
		{"de", " Ada ", "Hallo, Ada!"},
		{"fr", "", "Bonjour, tous!"},
		{"tlh", "", "Hello, everybody!"},
	} {
		if got := In(c.language, c.name); got != c.want {
			t.Errorf("In(%q, %q) = %q, want %q", c.language, c.name, got, c.want)
		}
	}
}
