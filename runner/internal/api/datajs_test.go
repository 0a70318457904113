package api

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// missing skips a test for want of a tool. In CI, where everything must be
// there, it fails.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

// Buildbot's own JavaScript client works with this master: it queries, keeps
// collections up to date, and controls.
func TestDataJS(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "%s is needed to run buildbot-data-js", tool)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.cjs"} {
		data, err := os.ReadFile(filepath.Join("testdata", "datajs", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "package-lock.json" && strings.Contains(string(data), `"resolved"`) {
			t.Error("the lock file names a registry: npm install --omit-lockfile-registry-resolved")
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		missing(t, "buildbot-data-js cannot be installed: %v\n%s", err, out)
	}
	r := newRig(t, basic())
	out, err := run("node", "client.cjs", r.srv.URL+"/")
	if err != nil || strings.Count(out, "ok ") != 6 {
		t.Errorf("%v\n%s", err, out)
	}
}
