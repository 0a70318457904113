//go:build unix

package localworker

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bothy/runner/worker"
)

// Links that lead out of the build's directory are refused, and so is what is no
// file; a pipe nobody writes to keeps nobody waiting.
func TestFetchNoFile(t *testing.T) {
	b := fetching(t, "in/a")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"out": secret, "up": "../../../../../../../../etc/passwd", "dir": filepath.Dir(secret), "inside": "in/a", "loop": "loop", "all": "in",
	} {
		if err := os.Symlink(to, filepath.Join(b.Dir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(b.Dir(), "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	names, _, err := b.Find(t.Context(), patterns(t, "**"), 100)
	if got := strings.Join(names, " "); err != nil || got != "all dir in/a inside loop out pipe up" {
		t.Errorf("found %q, %v", got, err)
	}
	for _, name := range append(names, "dir/secret") {
		var got bytes.Buffer
		err := b.Fetch(t.Context(), name, &got, 1<<20)
		if name == "in/a" || name == "inside" {
			if err != nil || got.String() != "text of in/a" {
				t.Errorf("%s: %q, %v", name, &got, err)
			}
			continue
		}
		if name != "dir/secret" && !errors.Is(err, worker.ErrNoFile) && !errors.Is(err, worker.ErrDir) || err == nil || got.Len() > 0 {
			t.Errorf("%s: %q, %v", name, &got, err)
		}
	}
}
