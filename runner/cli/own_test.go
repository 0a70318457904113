package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bothy/runner/build"
)

// The project's own configurations are good.
func TestOwnConfigurations(t *testing.T) {
	for _, name := range []string{"demo", "self"} {
		var out bytes.Buffer
		env := Env{Stdout: &out, Stderr: &out, Dir: testdataDir(t)}
		if code := Main(context.Background(), []string{"check", filepath.Join(name, "bothy.toml")}, env); code != exitOK {
			t.Errorf("check of %s: exit code %d\n%s", name, code, &out)
		}
		if strings.Contains(out.String(), "warning") {
			t.Errorf("check of %s has warnings:\n%s", name, &out)
		}
	}
}

// The demo does what the README says: three builders pass, one fails on purpose.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a Go program")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the demo has a shell script")
	}
	dir := filepath.Join(t.TempDir(), "demo") // the run leaves its state there
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdataDir(t), "demo"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".bothy")); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	env := Env{Stdout: &out, Stderr: &errs, Environ: os.Environ(), Dir: filepath.Dir(dir)}
	if code := Main(context.Background(), []string{"run", "-c", "demo/bothy.toml"}, env); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	for _, want := range []string{
		"test #1: success in ", "program #1: success in ", "measure #1: success in ", "broken #1: failure in ",
		"program #1 smoke | all languages greet\n", "program #1 clean up | removed .bothy/greeter\n",
		"measure #1 where | worker gauge speaks de on ", "measure #1 warm up | warm\n",
		"broken #1 compare | the greeting is misspelt\n", "broken #1 report | this runs all the same\n",
		"all: 1 failed, 3 succeeded\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not said: %q", want)
		}
	}
	if strings.Contains(out.String(), "| this is not run") {
		t.Errorf("a step ran after the one that failed")
	}
	if errs.Len() > 0 {
		t.Errorf("on stderr:\n%s", &errs)
	}
	if t.Failed() {
		t.Log("\n" + out.String())
	}
}

func testdataDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Every result has a word of its own that fits its column, and a place in the
// count at the end.
func TestResultWords(t *testing.T) {
	seen := map[string]bool{}
	for r := build.None; r <= build.Cancelled; r++ {
		word := resultWord(r)
		if len(word) > wordWidth || seen[word] {
			t.Errorf("result %d is called %q", r, word)
		}
		seen[word] = true
		if got := countText(map[build.Result]int{r: 2}); !strings.HasPrefix(got, "2 ") {
			t.Errorf("two of %v are counted as %q", r, got)
		}
	}
}
