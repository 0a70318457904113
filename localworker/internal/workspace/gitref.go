package workspace

import (
	"fmt"
	"net/url"
	"strings"

	"bothy/runner/worker"
)

const (
	maxRef = 255
	maxURL = 4096
)

// validGit refuses what git could take for an option or a command.
func validGit(s worker.Source) error {
	switch {
	case s.URL == "":
		return fmt.Errorf("git source without a url")
	case len(s.URL) > maxURL, strings.HasPrefix(s.URL, "-"), strings.ContainsFunc(s.URL, control):
		return fmt.Errorf("git source: url %.80q is not valid", redactURL(s.URL))
	case strings.HasPrefix(s.URL, "ext::"):
		return fmt.Errorf("git source: urls of the kind ext:: are commands and not allowed")
	case s.Branch != "" && !validRef(s.Branch):
		return fmt.Errorf("git source: branch %.80q is not valid", s.Branch)
	case s.Revision != "" && !validRef(s.Revision):
		return fmt.Errorf("git source: revision %.80q is not valid", s.Revision)
	}
	return nil
}

func control(r rune) bool { return r < 0x20 || r == 0x7f }

// validRef holds the rules of git-check-ref-format(1) for a branch or tag. Commit
// ids obey them too.
func validRef(name string) bool {
	if name == "" || len(name) > maxRef || name == "@" || strings.HasPrefix(name, "-") ||
		strings.HasSuffix(name, ".") || strings.Contains(name, "..") || strings.Contains(name, "@{") ||
		strings.ContainsAny(name, " ~^:?*[\\") || strings.ContainsFunc(name, control) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// commitID tells whether rev is the whole id of a commit (SHA-1 or SHA-256).
func commitID(rev string) bool {
	return (len(rev) == 40 || len(rev) == 64) && strings.Trim(rev, "0123456789abcdef") == ""
}

// redactURL returns the URL without its password.
func redactURL(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "(not a valid url)"
}

// redact takes the URL's password out of a text, as git may repeat it.
func redact(text, rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.User == nil {
		return text
	}
	text = strings.ReplaceAll(text, u.User.String()+"@", "xxxxx@")
	if p, ok := u.User.Password(); ok && p != "" {
		text = strings.ReplaceAll(text, p, "xxxxx")
	}
	return text
}
