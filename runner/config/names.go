package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names, in characters.
const (
	maxWorkerName  = 50 // Buildbot: M/config/master.py _check_workers
	maxStepName    = 50 // Buildbot: BuildStep.name
	maxBuilderName = 100
)

// checkWorkerName returns what is wrong with a worker's name, "" if nothing.
func checkWorkerName(name string) string {
	for i, r := range name {
		switch {
		case r == '_' || r == '-' || unicode.IsLetter(r):
		case r >= '0' && r <= '9':
			if i == 0 {
				return fmt.Sprintf("worker name %q begins with a digit", name)
			}
		default:
			return fmt.Sprintf("worker name %q: only letters, digits, _ and - are allowed", name)
		}
	}
	switch {
	case name == "":
		return "the worker has no name"
	case utf8.RuneCountInString(name) > maxWorkerName:
		return fmt.Sprintf("worker name %.60q has more than %d characters", name, maxWorkerName)
	case name == "debug" || name == "change" || name == "status": // Buildbot: _check_workers
		return fmt.Sprintf("worker name %q is reserved", name)
	}
	return ""
}

// checkBuilderName returns what is wrong with the name of a builder, which
// becomes part of paths and URLs, or of something else that is named like one.
func checkBuilderName(what, name string) string {
	for i, r := range name {
		switch {
		case unicode.IsLetter(r) || r >= '0' && r <= '9':
		case i > 0 && strings.ContainsRune("._-+", r):
		case i == 0 && strings.ContainsRune("._-+", r):
			return fmt.Sprintf("%s name %q begins with %q", what, name, string(r))
		default:
			return fmt.Sprintf("%s name %q: only letters, digits and . _ - + are allowed", what, name)
		}
	}
	switch {
	case name == "":
		return "the " + what + " has no name"
	case utf8.RuneCountInString(name) > maxBuilderName:
		return fmt.Sprintf("%s name %.60q has more than %d characters", what, name, maxBuilderName)
	case strings.HasSuffix(name, "."): // Windows drops it from file names
		return fmt.Sprintf("%s name %q ends with a dot", what, name)
	case isDevice(name):
		return fmt.Sprintf("%s name %q is a device on Windows", what, name)
	}
	return ""
}

// isDevice reports whether Windows takes a file of that name for a device.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return true
	}
	port, ok := strings.CutPrefix(base, "com")
	if !ok {
		port, ok = strings.CutPrefix(base, "lpt")
	}
	return ok && len(port) == 1 && port[0] >= '0' && port[0] <= '9'
}

// stepName returns the name of a step that has none.
func stepName(s *Step) string {
	name := s.Func
	switch {
	case s.Run.Shell != "":
		name, _, _ = strings.Cut(strings.TrimSpace(s.Run.Shell), "\n")
	case len(s.Run.Argv) > 0:
		name = strings.Join(s.Run.Argv, " ")
	}
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name)
	if name = strings.TrimSpace(name); name == "" {
		return "step"
	}
	return shorten(name, maxStepName)
}

// shorten cuts a text to at most n characters.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// uniqueStepNames gives every step a name of its own: of equal ones all but the
// first get _1, _2 and so on. Buildbot: Build.setUniqueStepName; unlike there a
// name made up so is never one that another step already has.
func uniqueStepNames(steps []Step) {
	used := make(map[string]bool, len(steps))
	for i := range steps {
		used[steps[i].Name] = true
	}
	first := make(map[string]bool, len(steps))
	count := map[string]int{}
	for i := range steps {
		name := steps[i].Name
		for first[steps[i].Name] {
			count[name]++
			suffix := fmt.Sprintf("_%d", count[name])
			next := shorten(name, maxStepName-len(suffix)) + suffix
			if !used[next] {
				steps[i].Name = next
			}
		}
		first[steps[i].Name], used[steps[i].Name] = true, true
	}
}

// isOneLine reports whether s may stand in a mail header or a table: no line
// ends, no control characters.
func isOneLine(s string) bool {
	return !strings.ContainsFunc(s, unicode.IsControl)
}
