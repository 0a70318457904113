package hostile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bothy/runner/internal/testrig"
)

// A well-known module that is not ours is vetted and tested on several workers
// side by side.
func TestForeignModule(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and tests a module")
	}
	const module = "github.com/spf13/pflag"
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	from := strings.TrimSpace(string(out))
	if err != nil || from == "" {
		if out, err := exec.Command("go", "mod", "download", module).CombinedOutput(); err != nil {
			testrig.Missing(t, "%s cannot be had: %v\n%s", module, err, out)
		}
		if out, err = exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output(); err != nil {
			t.Fatal(err)
		}
		from = strings.TrimSpace(string(out))
	}
	s := newScene(t, "")
	if err := os.CopyFS(s.Path("pflag"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(s.Path("pflag"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Write("pflag/bothy.toml", `
[machine]
pass_env = ["GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "GOTOOLCHAIN"]
memory_per_build = "256MiB"

[web]
listen = "127.0.0.1:0"

[[workers]]
name = "bot"
count = 3

[[builders]]
name = "vet"
source = "copy"
steps = [{ name = "vet", run = ["go", "vet", "./..."] }]

[[builders]]
name = "test"
source = "copy"
steps = [
  { name = "build", run = ["go", "build", "./..."] },
  { name = "test", run = ["go", "test", "-count=1", "./..."], timeout = "5m" },
]

[[builders]]
name = "other"
source = "copy"
env = { GOARCH = "arm64", GOOS = "linux", CGO_ENABLED = "0" }
steps = [{ name = "build", run = ["go", "build", "./..."] }]
`)
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN", "GOSUMDB"} {
		v, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		s.Env = append(s.Env, name+"="+strings.TrimSpace(string(v)))
	}
	p := s.Prepare("run")
	p.Cmd.Dir = s.Path("pflag")
	p.Launch()
	p.Exits(0)
	p.Prints("3 succeeded", "ok  \t"+module)
	for _, b := range s.Records(s.Path("pflag/.bothy")).Builds() {
		if !strings.HasPrefix(b.Worker, "bot-") {
			t.Errorf("%s ran on %s", b.Builder, b.Worker)
		}
	}
}
