package cli

import (
	"path/filepath"
	"testing"
)

func TestGetenv(t *testing.T) {
	e := Env{Environ: []string{"A=1", "B=x=y", "A=2", "EMPTY=", "odd"}}
	for name, want := range map[string]string{"A": "2", "B": "x=y", "EMPTY": "", "odd": "", "none": ""} {
		if got := e.Getenv(name); got != want {
			t.Errorf("Getenv(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestShow(t *testing.T) {
	dir := t.TempDir()
	e := Env{Dir: dir}
	below, beside := filepath.Join(dir, "a", "b"), filepath.Join(filepath.Dir(dir), "other")
	for path, want := range map[string]string{
		below: filepath.Join("a", "b"), dir: ".", beside: beside, "relative": "relative", dir + "x": dir + "x",
	} {
		if got := e.show(path); got != want {
			t.Errorf("show(%q) = %q, want %q", path, got, want)
		}
	}
	if got := (Env{}).show(below); got != below {
		t.Errorf("without a working directory: %q, want %q", got, below)
	}
}
