package workspace

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"bothy/runner/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plainExec runs commands without containment.
func plainExec(ctx context.Context, c worker.Command, sink worker.Sink) (worker.Exit, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return worker.Exit{Code: -1, Signal: "SIGKILL", Stopped: worker.Cancelled}, nil
	}
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		return worker.Exit{}, err
	}
	_ = sink.Output("", worker.Stderr, errs.Bytes())
	return worker.Exit{Code: cmd.ProcessState.ExitCode()}, sink.Output("", worker.Stdout, out.Bytes())
}

// noExec fails the test when a command is run.
func noExec(t *testing.T) Exec {
	return func(_ context.Context, c worker.Command, _ worker.Sink) (worker.Exit, error) {
		t.Errorf("unexpected command %q", c.Argv)
		return worker.Exit{Code: 1}, nil
	}
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED: git is not installed, git work trees and sources are not tested")
	}
}

// gitIn runs git as a person would.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{
		"-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main",
		"-c", "protocol.file.allow=always",
	}, args...)...)
	cmd.Dir, cmd.Env = dir, gitEnv(nil)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func newArea(t *testing.T, o Options) *Area {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "workers", "bot1")
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// request returns a request of a counter that is used once per test.
func request(counter int64, src worker.Source, ws worker.Workspace) Request {
	return Request{Builder: "test", Number: counter, Token: worker.Token{Epoch: 1, Counter: counter}, Source: src, Workspace: ws}
}

func prepare(t *testing.T, a *Area, r Request) *Dir {
	t.Helper()
	d, err := a.Prepare(t.Context(), plainExec, r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func release(t testing.TB, d *Dir, keep worker.KeepDir) string {
	t.Helper()
	kept, left, err := d.Release(keep)
	if err == nil && left != "" {
		err = d.area.RemoveLeftover(left)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// write makes files with their parents.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		writeFile(t, dir, name, text)
	}
}

func writeFile(tb testing.TB, dir, name, text string) {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// names lists what is below dir, without directories that are not empty.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if e.IsDir() {
			if sub, _ := os.ReadDir(p); len(sub) > 0 || rel == "." {
				return nil
			}
			rel += "/"
		}
		all = append(all, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	slices.Sort(want)
	got := names(t, dir)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
