package propose

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func goModule(string, []byte) (builder, error) {
	return builder{"go", []string{"go vet ./...", "go build ./...", "go test ./..."}}, nil
}

func cargo(string, []byte) (builder, error) {
	return builder{"cargo", []string{"cargo build --all-targets", "cargo test"}}, nil
}

// npm runs the usual scripts that package.json has.
func npm(dir string, content []byte) (b builder, err error) {
	var pkg struct {
		Scripts map[string]string `json:"scripts"`
	}
	if err := json.Unmarshal(content, &pkg); err != nil {
		return b, fmt.Errorf("not valid JSON: %w", err)
	}
	for _, script := range []string{"lint", "build", "test"} {
		command, ok := pkg.Scripts[script]
		if !ok || strings.Contains(command, "no test specified") { // what npm init writes
			continue
		}
		if script == "test" {
			b.steps = append(b.steps, "npm test")
		} else {
			b.steps = append(b.steps, "npm run "+script)
		}
	}
	if len(b.steps) == 0 {
		return b, nil
	}
	install := "npm install"
	if _, err := os.Stat(filepath.Join(dir, "package-lock.json")); err == nil {
		install = "npm ci"
	} else if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	return builder{"npm", append([]string{install}, b.steps...)}, nil
}

// python runs the tools that pyproject.toml mentions.
func python(_ string, content []byte) (b builder, _ error) {
	b.name = "python"
	if bytes.Contains(content, []byte("ruff")) {
		b.steps = append(b.steps, "ruff check .")
	}
	if bytes.Contains(content, []byte("pytest")) {
		b.steps = append(b.steps, "pytest")
	}
	return b, nil
}

// task runs the usual tasks that the Taskfile has.
func task(_ string, content []byte) (builder, error) {
	names, err := taskNames(content)
	return builder{"task", commands("task ", names, "lint", "build", "check", "test")}, err
}

// taskNames returns the keys below "tasks:". Only the layout that everybody uses
// is understood, so that no YAML parser is needed: one key a line, indented
// alike.
func taskNames(content []byte) (names []string, err error) {
	inside, indent := false, 0
	err = eachLine(content, func(line string) {
		text := strings.TrimLeft(line, " ")
		switch depth := len(line) - len(text); {
		case text == "" || strings.HasPrefix(text, "#"):
		case depth == 0:
			key, _, _ := strings.Cut(text, ":")
			inside, indent = key == "tasks", 0
		case inside && (indent == 0 || depth == indent):
			indent = depth
			if key, _, ok := strings.Cut(text, ":"); ok {
				names = append(names, strings.Trim(key, `"'`))
			}
		}
	})
	return names, err
}

// makefile runs the usual targets that the makefile has.
func makefile(_ string, content []byte) (builder, error) {
	targets, err := makeTargets(content)
	return builder{"make", commands("make ", targets, "all", "check", "test")}, err
}

// makeTargets returns the targets of the explicit rules.
func makeTargets(content []byte) (targets []string, err error) {
	err = eachLine(content, func(line string) {
		before, after, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "\t") || strings.ContainsAny(before, "#=") ||
			strings.HasPrefix(strings.TrimLeft(after, ":"), "=") { // "x := y" is no rule
			return
		}
		targets = append(targets, strings.Fields(before)...)
	})
	return targets, err
}

// commands returns the wanted ones of names, each with its prefix.
func commands(prefix string, names []string, wanted ...string) (lines []string) {
	for _, w := range wanted {
		if slices.Contains(names, w) {
			lines = append(lines, prefix+w)
		}
	}
	return lines
}

func eachLine(content []byte, f func(string)) error {
	s := bufio.NewScanner(bytes.NewReader(content))
	s.Buffer(nil, maxFileSize+1)
	for s.Scan() {
		f(s.Text())
	}
	return s.Err()
}
