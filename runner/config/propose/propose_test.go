package propose

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/config"

	"github.com/google/go-cmp/cmp"
)

// writeFiles puts files into a new directory.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// steps returns the builders of a configuration with their steps, one line each.
func steps(t *testing.T, toml []byte) string {
	t.Helper()
	c, warnings, err := config.Parse("bothy.toml", toml)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v in\n%s", err, warnings, toml)
	}
	var lines []string
	for _, b := range c.Builders {
		line := b.Name + ":"
		for _, s := range b.Steps {
			line += " " + s.Run.Shell + ";"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestDir(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		found []string
		want  string
		note  string // in the comments
	}{
		"nothing": {want: "hello: echo hello from bothy;"},
		"go": {
			files: map[string]string{"go.mod": "module x\n"},
			found: []string{"go.mod"},
			want:  "go: go vet ./...; go build ./...; go test ./...;",
		},
		"everything, in order": {
			files: map[string]string{
				"Makefile": "all:\n\ttrue\n", "go.mod": "module x\n", "Cargo.toml": "", "Taskfile.yml": "tasks:\n  test: x\n",
				"package.json": `{"scripts": {"test": "jest"}}`, "pyproject.toml": "[tool.ruff]\n",
			},
			found: []string{"go.mod", "Cargo.toml", "package.json", "pyproject.toml", "Taskfile.yml", "Makefile"},
			want: "go: go vet ./...; go build ./...; go test ./...;\ncargo: cargo build --all-targets; cargo test;\n" +
				"npm: npm install; npm test;\npython: ruff check .;\ntask: task test;\nmake: make all;",
		},
		"npm with a lock file": {
			files: map[string]string{
				"package.json":      `{"scripts": {"test": "jest", "lint": "eslint .", "start": "node ."}}`,
				"package-lock.json": "{}",
			},
			found: []string{"package.json"},
			want:  "npm: npm ci; npm run lint; npm test;",
		},
		"npm without a test": {
			files: map[string]string{"package.json": `{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}`},
			want:  "hello: echo hello from bothy;",
		},
		"npm without scripts": {
			files: map[string]string{"package.json": `{}`},
			want:  "hello: echo hello from bothy;",
		},
		"package.json that is none": {
			files: map[string]string{"package.json": "{\n\x00", "go.mod": ""},
			found: []string{"go.mod"},
			want:  "go: go vet ./...; go build ./...; go test ./...;",
			note:  "# package.json was left out: not valid JSON: ",
		},
		"package.json with hostile text": {
			files: map[string]string{"package.json": "{\"scripts\": \"\u2028\n[[workers]]\nname = 5\"}"},
			want:  "hello: echo hello from bothy;",
			note:  "# package.json was left out: ",
		},
		"a file that is too large": {
			files: map[string]string{"Makefile": strings.Repeat("#", maxFileSize+1)},
			want:  "hello: echo hello from bothy;",
			note:  "# Makefile was left out: larger than 1024 KiB",
		},
		"one line as large as allowed": {
			files: map[string]string{"Makefile": strings.Repeat("#", maxFileSize-6) + "\ntest:"},
			found: []string{"Makefile"},
			want:  "make: make test;",
		},
		"makefile": {
			files: map[string]string{"Makefile": ".PHONY: all check\nall := x\ncheck ::= x\nX = y:all\n# all: no\ntest lint: deps\n\tall: no\ndeps:\n"},
			found: []string{"Makefile"},
			want:  "make: make test;",
		},
		"the makefile that make takes": {
			files: map[string]string{"GNUmakefile": "check::\n", "Makefile": "all:\n"},
			found: []string{"GNUmakefile"},
			want:  "make: make check;",
		},
		"makefile without the usual targets": {
			files: map[string]string{"Makefile": "install:\n"},
			want:  "hello: echo hello from bothy;",
		},
		"taskfile": {
			files: map[string]string{"Taskfile.yaml": "version: '3'\nvars:\n  build: no\ntasks:\n  # lint: no\n  test:\n    deps: [x]\n    lint: no\n  'check':\n    cmds: [x]\nincludes:\n  build: no\n"},
			found: []string{"Taskfile.yaml"},
			want:  "task: task check; task test;",
		},
		"python": {
			files: map[string]string{"pyproject.toml": "[project.optional-dependencies]\ndev = [\"pytest>=8\", \"ruff\"]\n"},
			found: []string{"pyproject.toml"},
			want:  "python: ruff check .; pytest;",
		},
		"python without tools": {
			files: map[string]string{"pyproject.toml": "[project]\nname = \"x\"\n"},
			want:  "hello: echo hello from bothy;",
		},
	} {
		t.Run(name, func(t *testing.T) {
			toml, found, err := Dir(writeFiles(t, c.files))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.found, found); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.want, steps(t, toml)); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(string(toml), c.note) {
				t.Errorf("no %q in\n%s", c.note, toml)
			}
		})
	}
}

func TestDirThatIsNone(t *testing.T) {
	dir := writeFiles(t, map[string]string{"file": ""})
	if _, _, err := Dir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if _, _, err := Dir(filepath.Join(dir, "file")); err == nil {
		t.Error("a file was taken for a directory")
	}
	if err := os.Mkdir(filepath.Join(dir, "go.mod"), 0o700); err != nil {
		t.Fatal(err)
	}
	toml, found, err := Dir(dir)
	if err != nil || found != nil || !strings.Contains(string(toml), "go.mod was left out: not a regular file") {
		t.Errorf("go.mod is a directory: found %v, %v in\n%s", found, err, toml)
	}
}

func TestProposalHasNoHiddenText(t *testing.T) {
	// Nothing of a build file but the names this package knows gets into the
	// proposal: it is shell text that will be run.
	toml, _, err := Dir(writeFiles(t, map[string]string{
		"Makefile":     "test;rm: x\ntest: x\n",
		"package.json": `{"scripts": {"test": "x", "$(rm -rf)": "x"}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(toml), "rm ") || strings.Contains(string(toml), "$(") {
		t.Errorf("got\n%s", toml)
	}
}

func FuzzDir(f *testing.F) {
	f.Add("package.json", []byte(`{"scripts": {"test": "jest"}}`))
	f.Add("Makefile", []byte("all: x\n\ttrue\ntest check:\n"))
	f.Add("Taskfile.yml", []byte("tasks:\n  test:\n    cmds: [x]\n"))
	f.Add("pyproject.toml", []byte("[tool.pytest.ini_options]\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		for i := range tools {
			if tools[i].files[0] != name {
				continue
			}
			b, err := tools[i].propose(t.TempDir(), content)
			var notes []string
			if err != nil {
				notes = []string{reason(err)}
			}
			var builders []builder
			if err == nil && len(b.steps) > 0 {
				builders = []builder{b}
			}
			steps(t, write(builders, []string{name}, notes))
		}
	})
}
