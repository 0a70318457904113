package cli

import "testing"

func TestClosest(t *testing.T) {
	verbs := []string{"run", "serve", "check", "doctor", "version"}
	for word, want := range map[string]string{
		"rnu": "run", "ru": "run", "srve": "serve", "chekc": "check", "docter": "doctor", "verison": "version",
		"frobnicate": "", "x": "", "": "",
	} {
		if got := closest(word, verbs); got != want {
			t.Errorf("closest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"same", "same", 0}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"äöü", "äöu", 1},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
