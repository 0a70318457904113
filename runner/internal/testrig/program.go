//go:build linux

package testrig

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// program is what scenes run; Main sets it.
var program string

// Program returns the path of the program under test.
func Program() string { return program }

// Main is for TestMain: it builds the program, runs the tests, up to parallel of
// those that may at a time, and returns the exit code.
func Main(m *testing.M, parallel int) int {
	dir, err := os.MkdirTemp("", "bothy-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other users run it too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bothy"), "bothy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return Run(m, filepath.Join(dir, "bothy"), parallel)
}

// Run is [Main] with a program that there is.
func Run(m *testing.M, path string, parallel int) int {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = path
	return m.Run()
}
