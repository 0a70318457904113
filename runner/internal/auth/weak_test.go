package auth

import (
	"strings"
	"testing"
)

func TestWeakness(t *testing.T) {
	for password, want := range map[string]string{
		"":                      "only 0 characters",
		"s3cret":                "only 6 characters",
		"ääääääääääää":          "only 1 different",
		"abababababababab":      "only 2 different",
		"Password-2026!":        "tried first",
		"changeme123456":        "tried first",
		"1234567890123456":      "tried first",
		"Linux-Box-1234567":     "made of the name",
		"correct horse battery": "",
		"nVt4W2q1Zx0pL9sK":      "",
	} {
		got := Weakness("linux-box", password)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", password, got, want)
		}
		if len(password) > 8 && strings.Contains(got, password) {
			t.Errorf("the password is shown: %s", got)
		}
	}
}
