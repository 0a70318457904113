package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// modernc.org/sqlite is generated against one version of modernc.org/libc and
// breaks in strange ways with another ("Fragile modernc.org/libc dependency" in
// its documentation).
func TestLibcIsTheOneOfSQLite(t *testing.T) {
	const libc = "modernc.org/libc"
	ours := required(t, filepath.Join(repoRoot, "go.mod"), libc)
	cmd := exec.Command("go", "list", "-m", "-f", "{{.GoMod}}", "modernc.org/sqlite")
	cmd.Dir = repoRoot
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	theirs := required(t, strings.TrimSpace(string(out)), libc)
	if ours != theirs {
		t.Errorf("go.mod requires %s %s; modernc.org/sqlite needs %s", libc, ours, theirs)
	}
}

// required returns the version of module that a go.mod file requires.
func required(t *testing.T, file, module string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for l := range bytes.Lines(data) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(string(l)), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	t.Fatalf("%s does not require %s", file, module)
	return ""
}

// Tools must not become requirements of those who embed us.
func TestToolsStayOutOfGoMod(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repoRoot, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for l := range bytes.Lines(data) {
		line := strings.TrimSpace(string(l))
		for _, word := range []string{"tool", "replace", "toolchain"} {
			if strings.HasPrefix(line, word+" ") {
				t.Errorf("go.mod has %q; tools are pinned in .ci/tools.mod", line)
			}
		}
		if line != "go 1.26.0" && strings.HasPrefix(line, "go ") {
			t.Errorf("go.mod has %q; a newer line shuts people out", line)
		}
	}
}
