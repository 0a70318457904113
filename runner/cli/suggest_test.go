package cli

import "testing"

func TestDidYouMean(t *testing.T) {
	verbs := []string{"run", "serve", "check", "doctor", "version"}
	for word, want := range map[string]string{
		"rnu": "run", "ru": "run", "srve": "serve", "chekc": "check", "docter": "doctor", "verison": "version",
		"frobnicate": "", "x": "", "": "",
	} {
		if want != "" {
			want = ` (did you mean "` + want + `"?)`
		}
		if got := didYouMean(word, verbs); got != want {
			t.Errorf("didYouMean(%q) = %q, want %q", word, got, want)
		}
	}
}
