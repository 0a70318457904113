package runner_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"bothy/runner"
	"bothy/runner/config"
)

func TestConnBeforeStart(t *testing.T) {
	t.Parallel()
	r, err := runner.Open(&config.Config{Dir: t.TempDir()}, runner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before Start", "after Shutdown"} {
		if c, err := r.InProcessConn(); err == nil {
			c.Close()
			t.Errorf("a connection %s", when)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestForegroundEndsAtOnce: in the foreground the control socket is opened beside
// the first build, and may come after the end. TestMain looks for goroutines.
func TestForegroundEndsAtOnce(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Dir: t.TempDir()}
	for range 20 {
		r, err := runner.Open(&config.Config{Dir: cfg.Dir}, runner.Options{Foreground: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(r.BaseDir(), "socket")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the record of a control socket that nobody serves: %v", err)
		}
	}
}
