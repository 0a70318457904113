package web_test

import (
	"net/http"
	"strings"
	"testing"

	"bothy/runner/config"
)

// An address with a slash too many leads to the one without, as it was written.
func TestSlashTooMany(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "true")}})
	for path, want := range map[string]string{
		"builders/":          "../builders",
		"builders/a%2Fb%3F/": "../../builders/a%2Fb%3F",
		"%2Fexample.org/":    "../%2Fexample.org",
	} {
		resp, _ := r.get(path)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: %s to %q, want %q", path, resp.Status, got, want)
		}
	}
}

// Each word of a search is looked for in each row.
func TestListSearchIsBounded(t *testing.T) {
	r := newRig(t, &config.Config{Builders: []config.Builder{builder("b", "true")}})
	for _, path := range []string{"builders", "workers"} {
		for n, want := range map[int]int{500: http.StatusOK, 501: http.StatusBadRequest} { // words
			if resp, _ := r.get(path + "?q=" + strings.TrimSuffix(strings.Repeat("a+", n), "+") + "a"); resp.StatusCode != want {
				t.Errorf("%s: %d words: %s", path, n, resp.Status)
			}
		}
	}
}
