package worker

import (
	"strings"
	"testing"
)

func TestValidRef(t *testing.T) {
	for name, want := range map[string]bool{
		"main": true, "feature/x-1": true, "v1.0": true, "ünï": true, "a@b": true,
		"": false, "-x": false, "@": false, "a..b": false, "a b": false, "a~1": false, "a^": false, "a:b": false,
		"a?": false, "a*": false, "a[": false, "a\\b": false, "a\x00b": false, "a\n": false, "/a": false, "a/": false,
		"a//b": false, ".a": false, "a/.b": false, "a.lock": false, "a.lock/b": false, "a.": false, "a@{1}": false,
		strings.Repeat("a", 256): false,
	} {
		if got := validRef(name); got != want {
			t.Errorf("validRef(%q) = %v", name, got)
		}
	}
}

func TestGitSource(t *testing.T) {
	for _, c := range []struct {
		s  Source
		ok bool
	}{
		{Source{URL: "https://u:geheim@h/x.git", Branch: "main", Revision: "v1"}, true},
		{Source{URL: "../x"}, true},
		{Source{}, false},
		{Source{URL: "-uexec"}, false},
		{Source{URL: "ext::sh -c true"}, false},
		{Source{URL: "https://u:geheim@h/\nx"}, false},
		{Source{URL: "https://u:geheim@h/" + strings.Repeat("x", maxURL)}, false},
		{Source{URL: "x", Branch: "-x"}, false},
		{Source{URL: "x", Revision: "a..b"}, false},
	} {
		err := c.s.CheckGit()
		if (err == nil) != c.ok {
			t.Errorf("%.60q: %v", c.s.URL, err)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestSourceWithoutPassword(t *testing.T) {
	s := Source{URL: "https://u:geheim@h/x.git"}
	if got := s.Redacted(); strings.Contains(got, "geheim") || !strings.Contains(got, "h/x.git") {
		t.Error(got)
	}
	for in, want := range map[string]string{
		"https://ghp_geheim@h/x.git": "https://xxxxx@h/x.git", "HTTPS://geheim@h/x.git": "https://xxxxx@h/x.git",
		"ssh://git@h/x.git": "ssh://git@h/x.git", "git@h:x.git": "git@h:x.git", "/srv/x.git": "/srv/x.git",
		"https://h/x.git": "https://h/x.git", "file:///x.git": "file:///x.git",
	} {
		if got := (Source{URL: in}).Redacted(); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"fatal: unable to access 'https://u:geheim@h/x.git/'": "fatal: unable to access 'https://xxxxx@h/x.git/'",
		"password geheim refused":                             "password xxxxx refused",
		"nothing":                                             "nothing",
	} {
		if got := s.Redact(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The password is taken out as it was written and as it is, whether url.Parse likes
// the URL or not.
func TestPasswordWithEscapes(t *testing.T) {
	for _, password := range []string{"gehe%69m!", "gehe%zzim", "ge:he[im", "a@geheim"} {
		s := Source{URL: "https://u:" + password + "@h/x.git"}
		for _, in := range []string{"fatal: unable to access '" + s.URL + "/'", "password " + password + " refused", "password geheim! refused"} {
			if in = s.Redact(in); strings.Contains(in, "gehe") && password == "gehe%69m!" || strings.Contains(in, password) {
				t.Errorf("%s: %s", password, in)
			}
		}
		if got := s.Redacted(); strings.Contains(got, "geh") {
			t.Errorf("%s: %s", password, got)
		}
	}
	for _, url := range []string{"git@h:x.git", "https://h/@x", "/a:b@c"} {
		if got := (Source{URL: url}).Redact("h/@x a:b@c git@h:x.git"); got != "h/@x a:b@c git@h:x.git" {
			t.Errorf("%s: %s", url, got)
		}
	}
}

func TestNamesCommit(t *testing.T) {
	for rev, want := range map[string]bool{
		strings.Repeat("a0", 20): true, strings.Repeat("f", 64): true,
		"": false, "main": false, strings.Repeat("A", 40): false, strings.Repeat("a", 41): false,
	} {
		if got := (Source{Revision: rev}).NamesCommit(); got != want {
			t.Errorf("%q: %v", rev, got)
		}
	}
}
