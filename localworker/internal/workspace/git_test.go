package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bothy/runner/worker"
)

// remote makes a repository with two branches and a tag, and returns commit ids.
func remote(t *testing.T) (dir string, ids map[string]string) {
	t.Helper()
	needGit(t)
	dir, ids = t.TempDir(), map[string]string{}
	gitIn(t, dir, "init", "-q")
	ids["first"] = commit(t, dir, "f", "1")
	gitIn(t, dir, "tag", "v1")
	gitIn(t, dir, "checkout", "-q", "-b", "side")
	ids["side"] = commit(t, dir, "side", "1")
	gitIn(t, dir, "checkout", "-q", "main")
	ids["main"] = commit(t, dir, "f", "2")
	return dir, ids
}

func commit(t *testing.T, dir, name, text string) string {
	t.Helper()
	write(t, dir, map[string]string{name: text})
	gitIn(t, dir, "add", ".")
	gitIn(t, dir, "commit", "-qm", "change "+name)
	return gitIn(t, dir, "rev-parse", "HEAD")
}

func gitSource(url string) worker.Source { return worker.Source{Kind: worker.SourceGit, URL: url} }

func TestGitSource(t *testing.T) {
	dir, ids := remote(t)
	a := newArea(t, Options{})
	for i, c := range []struct{ branch, revision, want string }{
		{"", "", "main"},
		{"main", "", "main"},
		{"side", "", "side"},
		{"", "v1", "first"},
		{"main", ids["first"], "first"},
		{"main", ids["first"][:10], "first"},
		{"", "side", "side"},
	} {
		src := gitSource(dir)
		src.Branch, src.Revision = c.branch, c.revision
		d := prepare(t, a, request(int64(i+1), src, worker.WorkspaceFresh))
		if got := d.Properties["got_revision"]; got != ids[c.want] {
			t.Errorf("branch %q revision %q: got_revision %v, want that of %s", c.branch, c.revision, got, c.want)
		}
		if got := gitIn(t, d.Path, "rev-parse", "HEAD"); got != ids[c.want] {
			t.Errorf("branch %q revision %q: HEAD is %s", c.branch, c.revision, got)
		}
		if got := gitIn(t, d.Path, "status", "--porcelain"); got != "" {
			t.Errorf("not clean: %s", got)
		}
		if got := gitIn(t, d.Path, "remote", "get-url", "origin"); got != dir {
			t.Errorf("origin is %q", got)
		}
		release(t, d, worker.DropDir)
	}
}

func TestGitSourceIsUpdated(t *testing.T) {
	dir, _ := remote(t)
	a := newArea(t, Options{})
	fresh := prepare(t, a, request(1, gitSource(dir), worker.WorkspaceFresh))
	kept := prepare(t, a, request(2, gitSource(dir), worker.WorkspaceKeep))
	write(t, kept.Path, map[string]string{"product": "built", "f": "changed by a step"})
	write(t, filepath.Join(kept.Path, ".git"), map[string]string{"index.lock": ""}) // a step was killed
	release(t, kept, worker.DropDir)
	write(t, fresh.Path, map[string]string{"product": "built"})
	release(t, fresh, worker.DropDir)

	gitIn(t, dir, "branch", "-D", "side") // and a branch takes the place of a directory of branches
	gitIn(t, dir, "branch", "side/x")
	id := commit(t, dir, "f", "3")
	fresh = prepare(t, a, request(3, gitSource(dir), worker.WorkspaceFresh))
	wantFiles := func(d *Dir, want ...string) {
		t.Helper()
		entries, _ := os.ReadDir(d.Path)
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s holds %q, want %q", d.Path, got, want)
		}
		if d.Properties["got_revision"] != id || read(t, filepath.Join(d.Path, "f")) != "3" {
			t.Errorf("%s is at %v", d.Path, d.Properties)
		}
	}
	wantFiles(fresh, ".git", "f")
	again := prepare(t, a, request(4, gitSource(dir), worker.WorkspaceKeep))
	if again.Path != kept.Path {
		t.Errorf("kept directory is %s, was %s", again.Path, kept.Path)
	}
	wantFiles(again, ".git", "f", "product")
}

// A commit that no branch holds any more, as after a forced push.
func TestGitRevisionOnNoBranch(t *testing.T) {
	dir, ids := remote(t)
	gitIn(t, dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	gitIn(t, dir, "reset", "-q", "--hard", ids["first"])
	a := newArea(t, Options{})
	src := gitSource(dir)
	src.Revision = ids["main"]
	for i, ws := range []worker.Workspace{worker.WorkspaceFresh, worker.WorkspaceKeep, worker.WorkspaceKeep} {
		d := prepare(t, a, request(int64(i), src, ws))
		if got := read(t, filepath.Join(d.Path, "f")); got != "2" {
			t.Errorf("%s: f holds %q", ws, got)
		}
		release(t, d, worker.DropDir)
	}
}

func TestGitErrorsNameWhatFailed(t *testing.T) {
	dir, _ := remote(t)
	a := newArea(t, Options{})
	empty := t.TempDir()
	gitIn(t, empty, "init", "-q")
	for i, c := range []struct {
		src  worker.Source
		want string
	}{
		{worker.Source{URL: filepath.Join(dir, "none")}, "does not appear to be a git repository"},
		{worker.Source{URL: empty}, "git fetch: fatal: couldn't find remote ref HEAD"},
		{worker.Source{URL: dir, Branch: "none"}, `branch "none" does not exist`},
		{worker.Source{URL: dir, Revision: "none"}, `revision "none" does not exist`},
		{worker.Source{URL: dir, Revision: strings.Repeat("0", 40)}, "revision 0000"},
		{worker.Source{URL: dir, Branch: "--upload-pack=x"}, `branch "--upload-pack=x" is not valid`},
		{worker.Source{URL: dir, Revision: "a..b"}, "not valid"},
		{worker.Source{URL: "--upload-pack=x"}, "not valid"},
		{worker.Source{URL: "ext::sh -c true"}, "ext::"},
		{worker.Source{}, "without a url"},
		{worker.Source{URL: "http://me:hunter2@127.0.0.1:1/x"}, "git fetch: fatal: unable to access"},
	} {
		c.src.Kind = worker.SourceGit
		_, err := a.Prepare(t.Context(), plainExec, request(int64(i), c.src, worker.WorkspaceFresh))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: error %v, want %q in it", c.src, err, c.want)
		}
	}
	if left, err := Leftovers(a.o.Dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// Without its own repository a kept directory is below somebody else's, most
// often the person's project: nothing may be checked out there.
func TestKeptGitDirectoryNeverTouchesTheRepositoryAroundIt(t *testing.T) {
	dir, _ := remote(t)
	project := t.TempDir()
	gitIn(t, project, "init", "-q")
	id := commit(t, project, "mine", "1")
	write(t, project, map[string]string{"mine": "dirty"})
	a := newArea(t, Options{Dir: filepath.Join(project, ".bothy", "workers", "bot1")})
	for i, damage := range []string{".git", ".git/HEAD", ".git/objects"} {
		d := prepare(t, a, request(int64(2*i), gitSource(dir), worker.WorkspaceKeep))
		if err := os.RemoveAll(filepath.Join(d.Path, damage)); err != nil {
			t.Fatal(err)
		}
		release(t, d, worker.DropDir)
		d = prepare(t, a, request(int64(2*i+1), gitSource(dir), worker.WorkspaceKeep))
		if got := read(t, filepath.Join(d.Path, "f")); got != "2" {
			t.Errorf("f holds %q", got)
		}
		release(t, d, worker.DropDir)
	}
	if got := gitIn(t, project, "rev-parse", "HEAD"); got != id || read(t, filepath.Join(project, "mine")) != "dirty" {
		t.Errorf("the project is now at %s", got)
	}
}

func TestDamagedCloneIsMadeAnew(t *testing.T) {
	dir, _ := remote(t)
	a := newArea(t, Options{})
	release(t, prepare(t, a, request(1, gitSource(dir), worker.WorkspaceFresh)), worker.DropDir)
	mirrors, _ := filepath.Glob(filepath.Join(a.o.Dir, "test/git/*.git"))
	if len(mirrors) != 1 {
		t.Fatalf("clones: %q", mirrors)
	}
	write(t, mirrors[0], map[string]string{"packed-refs.lock": "", "shallow.lock": ""})
	release(t, prepare(t, a, request(2, gitSource(dir), worker.WorkspaceFresh)), worker.DropDir)
	if err := os.RemoveAll(filepath.Join(mirrors[0], "objects")); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "f", "3")
	d := prepare(t, a, request(3, gitSource(dir), worker.WorkspaceFresh))
	if got := read(t, filepath.Join(d.Path, "f")); got != "3" {
		t.Errorf("f holds %q", got)
	}
}

// A git that was killed leaves locks; with that of its maintenance a clone would
// never be packed again.
func TestLocksInACloneAreRemoved(t *testing.T) {
	dir, _ := remote(t)
	a := newArea(t, Options{})
	d := prepare(t, a, request(1, gitSource(dir), worker.WorkspaceFresh))
	release(t, d, worker.DropDir)
	mirrors, _ := filepath.Glob(filepath.Join(a.o.Dir, "test/git/*.git"))
	if len(mirrors) != 1 {
		t.Fatalf("clones: %q", mirrors)
	}
	locks := map[string]string{"packed-refs.lock": "", "refs/heads/main.lock": "", "objects/maintenance.lock": "", "objects/info/commit-graph.lock": ""}
	write(t, mirrors[0], locks)
	prepare(t, a, request(2, gitSource(dir), worker.WorkspaceFresh))
	for name := range locks {
		if _, err := os.Lstat(filepath.Join(mirrors[0], name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestBuildsSideBySideShareACloneButNoDirectory(t *testing.T) {
	dir, ids := remote(t)
	a := newArea(t, Options{})
	dirs := make([]*Dir, 6)
	var wg sync.WaitGroup
	for i := range dirs {
		ws := worker.WorkspaceFresh
		if i%2 == 1 {
			ws = worker.WorkspaceKeep
		}
		wg.Go(func() {
			d, err := a.Prepare(t.Context(), plainExec, request(int64(i), gitSource(dir), ws))
			if err != nil {
				t.Error(err)
				return
			}
			dirs[i] = d
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, d := range dirs {
		if d == nil || seen[d.Path] || d.Properties["got_revision"] != ids["main"] {
			t.Fatalf("directory %+v shared or wrong", d)
		}
		seen[d.Path] = true
	}
}

func TestGitEndsWithTheContext(t *testing.T) {
	dir, _ := remote(t)
	a := newArea(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the operator said so")
	calls := 0
	run := func(ctx context.Context, c worker.Command, s worker.Sink) (worker.Exit, error) {
		if calls++; calls == 2 {
			cancel(why)
		}
		return plainExec(ctx, c, s)
	}
	if _, err := a.Prepare(ctx, run, request(1, gitSource(dir), worker.WorkspaceFresh)); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if left, err := Leftovers(a.o.Dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestGitEnvironment(t *testing.T) {
	got := strings.Join(gitEnv([]string{"HOME=/h", "GIT_DIR=/other", "BOTHY_TOKEN=secret", "GIT_SSH_COMMAND=ssh -4", "LC_ALL=de_DE"}), " ")
	if want := "HOME=/h GIT_SSH_COMMAND=ssh -4 GIT_TERMINAL_PROMPT=0 LC_ALL=C"; got != want {
		t.Errorf("environment %q, want %q", got, want)
	}
}

func TestComplaint(t *testing.T) {
	for _, c := range []struct{ stderr, want string }{
		{"", ""},
		{"Receiving: 1%\rReceiving: 2%\rfatal: early EOF\n", "fatal: early EOF"},
		{"error: pathspec 'x' did not match\nhint: try y\n", "error: pathspec 'x' did not match"},
		{"git@host: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\nPlease make sure\nit exists.\n",
			"git@host: Permission denied (publickey)."},
		{"fatal: Could not read from remote repository.\n", "fatal: Could not read from remote repository."},
		{"usage: git\nlast words\n", "last words"},
	} {
		if got := complaint([]byte(c.stderr)); got != c.want {
			t.Errorf("complaint(%q) = %q, want %q", c.stderr, got, c.want)
		}
	}
}
