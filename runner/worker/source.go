package worker

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	maxRef = 255  // bytes; what fits a file name, as git keeps refs
	maxURL = 4096 // bytes
)

// CheckGit refuses what git could take for an option or a command: every kind of
// worker asks it before git sees a source. The error carries no password.
func (s Source) CheckGit() error {
	switch {
	case s.URL == "":
		return errors.New("git source without a url")
	case len(s.URL) > maxURL, strings.HasPrefix(s.URL, "-"), strings.ContainsFunc(s.URL, control):
		return fmt.Errorf("git source: url %.80q is not valid", s.Redacted())
	case strings.HasPrefix(s.URL, "ext::"):
		return errors.New("git source: urls of the kind ext:: are commands and not allowed")
	case s.Branch != "" && !validRef(s.Branch):
		return fmt.Errorf("git source: branch %.80q is not valid", s.Branch)
	case s.Revision != "" && !validRef(s.Revision):
		return fmt.Errorf("git source: revision %.80q is not valid", s.Revision)
	}
	return nil
}

// NamesCommit tells whether Revision is the whole id of a commit (SHA-1 or
// SHA-256), which cannot come to mean another one.
func (s Source) NamesCommit() bool {
	return (len(s.Revision) == 40 || len(s.Revision) == 64) && strings.Trim(s.Revision, "0123456789abcdef") == ""
}

// Redacted returns the URL without its password, and over http without a name
// that stands alone, which is a token: "https://TOKEN@host/x.git". What is no URL
// but a path, or HOST:PATH, can hold neither.
func (s Source) Redacted() string {
	scheme, _, ok := strings.Cut(s.URL, "://")
	if !ok {
		return s.URL
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "(not a valid url)"
	}
	if _, ok := u.User.Password(); !ok && u.User != nil && strings.HasPrefix(strings.ToLower(scheme), "http") {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// Redact takes the URL's password out of a text, as git may repeat it.
func (s Source) Redact(text string) string {
	// Not by url.Parse: git takes what it refuses, and repeats it as it was written.
	_, rest, _ := strings.Cut(s.URL, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return text
	}
	text = strings.ReplaceAll(text, rest[:at+1], "xxxxx@")
	_, password, _ := strings.Cut(rest[:at], ":")
	if password == "" {
		return text
	}
	text = strings.ReplaceAll(text, password, "xxxxx")
	if plain, err := url.PathUnescape(password); err == nil {
		text = strings.ReplaceAll(text, plain, "xxxxx")
	}
	return text
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
