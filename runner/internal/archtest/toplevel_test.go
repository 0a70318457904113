package archtest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that the top of the repository may hold, dot files aside.
// architecture.md, first paragraph.
var topLevel = []string{
	"main.go", "runner", "localworker", "osrelease", "mail", "testdata", "go.mod", "go.sum", "README.md", "Taskfile.yml",
}

func TestTopLevel(t *testing.T) {
	names := topLevelNames(t)
	for _, must := range []string{"main.go", "go.mod", "runner"} {
		if !slices.Contains(names, must) {
			t.Fatalf("no %s among %q: looked in the wrong place", must, names)
		}
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s does not belong at the top level", name)
		}
	}
}

// topLevelNames asks git, which knows what is ignored; without git or a
// repository everything there counts.
func topLevelNames(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = repoRoot
	var names []string
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		for name := range strings.Lines(string(out)) {
			first, _, _ := strings.Cut(strings.Trim(name, "\"\n"), "/")
			names = append(names, first)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	entries, err := os.ReadDir(repoRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
