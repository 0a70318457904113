package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers are the packages of architecture.md ("Who owns what") from the top
// down: a package may import those that come later, and those of its own entry.
// A name stands for the packages below it too, unless they have their own entry.
var layers = []string{
	"bothy",
	"bothy/runner/internal/bench",   // a program that measures
	"bothy/runner/internal/testrig", // runs the program, in tests
	"bothy/runner/cli",
	"bothy/runner",
	"bothy/runner/internal/web",
	"bothy/runner/internal/api",
	"bothy/runner/internal/engine",
	"bothy/runner/internal/secret",
	"bothy/runner/internal/trigger",
	"bothy/runner/internal/latent",
	"bothy/runner/internal/remote",
	"bothy/runner/internal/remote/wire",
	"bothy/runner/internal/queue",
	"bothy/runner/internal/control",
	"bothy/runner/internal/basedir",
	"bothy/runner/internal/store",
	"bothy/runner/internal/logs",
	"bothy/runner/internal/artifacts",
	"bothy/runner/internal/junit",
	"bothy/localworker",
	"bothy/runner/config",
	"bothy/runner/internal/auth",
	"bothy/runner/worker",
	"bothy/runner/build",
	"bothy/osrelease",
	"bothy/mail",
}

// narrow lists packages that may import less than their place allows: each of
// ours that is named, and the standard library where std is true.
var narrow = map[string]struct {
	ours []string
	std  bool // nothing but ours and the standard library
}{
	"bothy/runner/worker":               {ours: []string{"bothy/runner/build"}, std: true},
	"bothy/runner/build":                {std: true},
	"bothy/osrelease":                   {std: true},
	"bothy/mail":                        {},
	"bothy/localworker":                 {ours: []string{"bothy/localworker", "bothy/runner/worker", "bothy/osrelease"}},
	"bothy/runner/internal/queue":       {ours: []string{"bothy/runner/worker"}, std: true},
	"bothy/runner/internal/auth":        {},
	"bothy/runner/internal/artifacts":   {std: true},
	"bothy/runner/internal/junit":       {std: true},
	"bothy/runner/internal/remote/wire": {},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	GoFiles    []string // without tests
}

// repoRoot is the module's root as seen from this package.
const repoRoot = "../../.."

func TestImportsPointDownwards(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			for _, p := range listPackages(t, goos) {
				for _, wrong := range misplaced(p) {
					t.Error(wrong)
				}
			}
		})
	}
}

// misplaced says what is wrong with the imports of p.
func misplaced(p goPackage) (wrong []string) {
	from := layer(p.ImportPath)
	if from < 0 {
		return []string{p.ImportPath + " has no place in architecture.md; give it one there and in layers"}
	}
	limits, limited := narrow[layers[from]]
	for _, imported := range p.Imports {
		if !strings.HasPrefix(imported, "bothy/") {
			host, _, _ := strings.Cut(imported, "/")
			if limits.std && strings.Contains(host, ".") {
				wrong = append(wrong, fmt.Sprintf("%s imports %s; it may import the standard library only", p.ImportPath, imported))
			}
			continue
		}
		to := layer(imported)
		switch {
		case to < 0:
			wrong = append(wrong, fmt.Sprintf("%s imports %s, which has no place in layers", p.ImportPath, imported))
		case to < from:
			wrong = append(wrong, fmt.Sprintf("%s imports %s, which is above it", p.ImportPath, imported))
		case limited && to != from && !slices.Contains(limits.ours, layers[to]):
			wrong = append(wrong, fmt.Sprintf("%s imports %s; of ours it may import only %q", p.ImportPath, imported, limits.ours))
		}
	}
	return wrong
}

func TestMisplaced(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		wrong        bool
	}{
		{"bothy/runner", "bothy/localworker", false},
		{"bothy/localworker", "bothy/runner", true},
		{"bothy/localworker", "bothy/runner/config", true},
		{"bothy/localworker", "bothy/localworker/internal/spawn", false},
		{"bothy/runner/internal/store", "bothy/runner/internal/engine", true},
		{"bothy/runner/worker", "fmt", false},
		{"bothy/runner/worker", "golang.org/x/sys/unix", true},
		{"bothy/runner/config", "github.com/BurntSushi/toml", false},
		{"bothy/osrelease", "bothy/mail", true},
		{"bothy/stray", "fmt", true},
		{"bothy/runner", "bothy/stray", true},
	} {
		if got := misplaced(goPackage{ImportPath: c.pkg, Imports: []string{c.imports}}); (len(got) > 0) != c.wrong {
			t.Errorf("%s importing %s: found %q, want something: %v", c.pkg, c.imports, got, c.wrong)
		}
	}
}

// layer returns the place of the longest entry that is pkg or stands for it; -1
// when there is none.
func layer(pkg string) int {
	best := -1
	for i, l := range layers {
		below := l != "bothy" && l != "bothy/runner" && strings.HasPrefix(pkg, l+"/")
		if (pkg == l || below) && (best < 0 || len(l) > len(layers[best])) {
			best = i
		}
	}
	return best
}

// listPackages returns our packages as they are on a system, without those that
// hold only tests: nobody can import them, and they may look at everything.
func listPackages(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,GoFiles", "./...")
	cmd.Dir = repoRoot
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		p.GoFiles = slices.DeleteFunc(p.GoFiles, func(name string) bool { return name == "doc.go" })
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages only", len(all))
	}
	return all
}

func TestLayer(t *testing.T) {
	for pkg, want := range map[string]string{
		"bothy":                            "bothy",
		"bothy/runner":                     "bothy/runner",
		"bothy/runner/cli":                 "bothy/runner/cli",
		"bothy/localworker/internal/spawn": "bothy/localworker",
		"bothy/runner/internal/engine/enginetest": "bothy/runner/internal/engine",
		"bothy/runner/internal/unheard":           "",
		"bothy/stray":                             "",
	} {
		got := ""
		if i := layer(pkg); i >= 0 {
			got = layers[i]
		}
		if got != want {
			t.Errorf("layer(%q) is %q, want %q", pkg, got, want)
		}
	}
}
