package cli

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Env is what a command may touch of the process it runs in, so that a test can
// stand in for the process.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // "NAME=value"; the last of a name counts
	Dir            string   // the working directory, absolute
}

// ProcessEnv returns the environment of this process. Dir is empty when the
// working directory is gone.
func ProcessEnv() Env {
	dir, _ := os.Getwd()
	return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Dir: dir}
}

// Getenv returns the value of an environment variable, "" when it is not set.
func (e Env) Getenv(name string) string {
	for i := len(e.Environ) - 1; i >= 0; i-- {
		key, value, ok := strings.Cut(e.Environ[i], "=")
		if ok && (key == name || runtime.GOOS == "windows" && strings.EqualFold(key, name)) {
			return value
		}
	}
	return ""
}

// path makes a path that a person typed absolute.
func (e Env) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(e.Dir, name)
}

// show shortens an absolute path for a person: relative when it lies below the
// working directory.
func (e Env) show(path string) string {
	if e.Dir == "" || !filepath.IsAbs(path) {
		return path
	}
	rel, err := filepath.Rel(e.Dir, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return rel
}
