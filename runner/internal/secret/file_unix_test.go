//go:build unix

package secret

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bothy/runner/config"
)

// Nobody writes to the pipe: to open it would wait for ever.
func TestPipesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secrets", "x"), "", 0o600)
	pipe := filepath.Join(dir, "secrets", "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := chain(t, dir, nil, config.SecretProvider{Kind: config.SecretDir})
	if _, err := c.Lookup(t.Context(), "pipe"); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("dir: %v", err)
	}
	if _, err := c.Resolve(t.Context(), config.Secret{File: pipe}); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("file: %v", err)
	}
}
