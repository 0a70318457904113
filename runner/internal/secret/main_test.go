package secret

import (
	"os"
	"path/filepath"
	"testing"

	"bothy/runner/config"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes a file, with its directories.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
}

// chain returns the Chain of some providers, with their defaults.
func chain(t *testing.T, dir string, environ []string, providers ...config.SecretProvider) *Chain {
	t.Helper()
	conf := &config.Config{Dir: dir, Secrets: providers}
	if _, err := conf.Complete(); err != nil {
		t.Fatal(err)
	}
	c, err := New(conf, environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
