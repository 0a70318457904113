package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"
)

func copyOf(dir string) worker.Source { return worker.Source{Kind: worker.SourceCopy, Dir: dir} }

func TestCopyOfAGitWorkTree(t *testing.T) {
	needGit(t)
	src := t.TempDir()
	base := filepath.Join(src, ".bothy")
	gitIn(t, src, "init", "-q")
	write(t, src, map[string]string{
		".gitignore": "ignored\n*.o\n", "tracked": "1", "dirty": "1", "removed": "1", "sub/deep/file": "1", "moved/inner": "1",
	})
	gitIn(t, src, "add", ".")
	gitIn(t, src, "commit", "-qm", "one")
	write(t, src, map[string]string{
		"dirty": "2", "untracked": "1", "ignored/x": "1", "a.o": "1", "sub/new\nline": "1", "ünï": "1",
		".bothy/state.db": "1", // not ignored here
		"nested/own":      "1", "nested/.gitignore": "junk\n", "nested/junk": "1",
	})
	gitIn(t, filepath.Join(src, "nested"), "init", "-q")
	os.Remove(filepath.Join(src, "removed"))
	// Tracked moved/inner is now behind a symlink that leads out of the tree.
	outside := t.TempDir()
	write(t, outside, map[string]string{"inner": "secret"})
	os.RemoveAll(filepath.Join(src, "moved"))
	if err := os.Symlink(outside, filepath.Join(src, "moved")); err != nil {
		t.Fatal(err)
	}

	a := newArea(t, Options{Dir: filepath.Join(base, "workers", "bot1"), BaseDir: base})
	d := prepare(t, a, request(1, copyOf(src), worker.WorkspaceFresh))
	wantNames(t, d.Path, ".gitignore", "tracked", "dirty", "untracked", "sub/deep/file", "sub/new\nline", "ünï",
		"nested/own", "nested/.gitignore", "moved")
	if got := read(t, filepath.Join(d.Path, "dirty")); got != "2" {
		t.Errorf("dirty file holds %q", got)
	}
	if to, err := os.Readlink(filepath.Join(d.Path, "moved")); to != outside {
		t.Errorf("symlink leads to %q, %v", to, err)
	}
	release(t, d, worker.DropDir)
	if _, err := os.Lstat(d.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("fresh directory is still there: %v", err)
	}
	if read(t, filepath.Join(outside, "inner")) != "secret" {
		t.Error("removal followed a symlink")
	}
}

func TestCopyOfASubdirectoryOfAWorkTree(t *testing.T) {
	needGit(t)
	src := t.TempDir()
	gitIn(t, src, "init", "-q")
	write(t, src, map[string]string{".gitignore": "*.o\n", "top": "", "part/a": "", "part/a.o": ""})
	d := prepare(t, newArea(t, Options{}), request(1, copyOf(filepath.Join(src, "part")), worker.WorkspaceFresh))
	wantNames(t, d.Path, "a")
}

func TestCopyOfSubmodules(t *testing.T) {
	needGit(t)
	lib, src := t.TempDir(), t.TempDir()
	gitIn(t, lib, "init", "-q")
	write(t, lib, map[string]string{"lib.c": "1", ".gitignore": "*.o\n"})
	gitIn(t, lib, "add", ".")
	gitIn(t, lib, "commit", "-qm", "lib")
	gitIn(t, src, "init", "-q")
	gitIn(t, src, "submodule", "--quiet", "add", lib, "lib")
	gitIn(t, src, "submodule", "--quiet", "add", lib, "unfetched")
	gitIn(t, src, "commit", "-qm", "main")
	gitIn(t, src, "submodule", "--quiet", "deinit", "-f", "unfetched")
	write(t, src, map[string]string{"lib/lib.c": "2", "lib/x.o": ""})
	d := prepare(t, newArea(t, Options{}), request(1, copyOf(src), worker.WorkspaceFresh))
	wantNames(t, d.Path, ".gitmodules", "lib/lib.c", "lib/.gitignore", "unfetched/")
	if got := read(t, filepath.Join(d.Path, "lib/lib.c")); got != "2" {
		t.Errorf("file of a submodule holds %q", got)
	}
}

// A project inside a home directory that is itself kept in git and ignores it.
func TestCopyOfADirectoryIgnoredByTheRepositoryAroundIt(t *testing.T) {
	needGit(t)
	home := t.TempDir()
	gitIn(t, home, "init", "-q")
	write(t, home, map[string]string{".gitignore": "*\n", "project/main.c": "1"})
	d := prepare(t, newArea(t, Options{}), request(1, copyOf(filepath.Join(home, "project")), worker.WorkspaceFresh))
	wantNames(t, d.Path, "main.c")
}

func TestCopyOutsideGit(t *testing.T) {
	src := t.TempDir()
	base := filepath.Join(src, ".bothy")
	write(t, src, map[string]string{"a": "text", "d/b": "", ".hidden": "", ".bothy/state.db": "", "sub/.bothy/file": ""})
	old := time.Date(2001, 2, 3, 4, 5, 6, 789, time.UTC)
	if err := os.Chmod(filepath.Join(src, "a"), 0o751); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(src, "empty"), 0o755)
	os.Chmod(filepath.Join(src, "d"), 0o555)
	t.Cleanup(func() { os.Chmod(filepath.Join(src, "d"), 0o755) })
	for _, name := range []string{"a", "d"} {
		if err := os.Chtimes(filepath.Join(src, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	a := newArea(t, Options{Dir: filepath.Join(base, "workers", "bot1"), BaseDir: base})
	d, err := a.Prepare(t.Context(), noExec(t), request(1, copyOf(src), worker.WorkspaceFresh))
	if inRepository(src) {
		t.Skip("SKIPPED: the directory for temporary files is in a git repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, d.Path, "a", "d/b", ".hidden", "empty/", "sub/.bothy/file")
	for name, mode := range map[string]fs.FileMode{"a": 0o751, "d": 0o555 | fs.ModeDir} {
		info, err := os.Lstat(filepath.Join(d.Path, name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(old) {
			t.Errorf("%s: time %v, want %v", name, info.ModTime(), old)
		}
		if runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("%s: mode %v, want %v", name, info.Mode(), mode)
		}
	}
	// A step that writes in place must not change the person's file.
	f, err := os.OpenFile(filepath.Join(d.Path, "a"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("more")
	f.Close()
	if got := read(t, filepath.Join(src, "a")); got != "text" {
		t.Errorf("source holds %q", got)
	}
	release(t, d, worker.DropDir)
}

func TestKeptCopyFollowsTheSourceAndKeepsProducts(t *testing.T) {
	src := t.TempDir()
	old := time.Now().Add(-time.Hour)
	files := map[string]string{"same": "1", "changed": "1", "gone": "1", "dir/gone": "1", "becomes": "1", "edited": "1"}
	write(t, src, files)
	for name := range files {
		if err := os.Chtimes(filepath.Join(src, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	a := newArea(t, Options{})
	d := prepare(t, a, request(1, copyOf(src), worker.WorkspaceKeep))
	first := d.Path
	before, err := os.Stat(filepath.Join(d.Path, "same"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, d.Path, map[string]string{"out/product.o": "built", "edited": "by a step", "dir2/product": "built"})
	release(t, d, worker.DropDir)

	write(t, src, map[string]string{"changed": "22", "dir2/new": "1"})
	os.Remove(filepath.Join(src, "gone"))
	os.RemoveAll(filepath.Join(src, "dir"))
	os.Remove(filepath.Join(src, "becomes"))
	write(t, src, map[string]string{"becomes/dir": "1"})

	d = prepare(t, a, request(2, copyOf(src), worker.WorkspaceKeep))
	if d.Path != first {
		t.Errorf("second build got %s, not %s", d.Path, first)
	}
	wantNames(t, d.Path, "same", "changed", "becomes/dir", "edited", "dir2/new", "dir2/product", "out/product.o")
	for name, want := range map[string]string{"changed": "22", "edited": "1", "out/product.o": "built"} {
		if got := read(t, filepath.Join(d.Path, name)); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	after, err := os.Stat(filepath.Join(d.Path, "same"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("a file that did not change was copied again")
	}
	release(t, d, worker.DropDir)
}

// A change within the resolution of file times, of the same size.
func TestKeptCopySeesAChangeWithoutANewTime(t *testing.T) {
	src := t.TempDir()
	a := newArea(t, Options{})
	write(t, src, map[string]string{"f": "1"})
	info, _ := os.Stat(filepath.Join(src, "f"))
	release(t, prepare(t, a, request(1, copyOf(src), worker.WorkspaceKeep)), worker.DropDir)
	write(t, src, map[string]string{"f": "2"})
	os.Chtimes(filepath.Join(src, "f"), info.ModTime(), info.ModTime())
	d := prepare(t, a, request(2, copyOf(src), worker.WorkspaceKeep))
	if got := read(t, filepath.Join(d.Path, "f")); got != "2" {
		t.Errorf("kept file holds %q", got)
	}
}

func TestKeptCopyNeverWritesThroughSymlinks(t *testing.T) {
	src, outside := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"d/f": "1", "g": "1"})
	write(t, outside, map[string]string{"f": "theirs"})
	a := newArea(t, Options{})
	d := prepare(t, a, request(1, copyOf(src), worker.WorkspaceKeep))
	os.RemoveAll(filepath.Join(d.Path, "d"))
	os.Remove(filepath.Join(d.Path, "g"))
	if err := os.Symlink(outside, filepath.Join(d.Path, "d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "f"), filepath.Join(d.Path, "g")); err != nil {
		t.Fatal(err)
	}
	release(t, d, worker.DropDir)
	d = prepare(t, a, request(2, copyOf(src), worker.WorkspaceKeep))
	wantNames(t, d.Path, "d/f", "g")
	if got := read(t, filepath.Join(outside, "f")); got != "theirs" {
		t.Errorf("file outside holds %q", got)
	}
}

func TestKeptCopyWithADamagedListStartsAnew(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"f": "1"})
	a := newArea(t, Options{})
	d := prepare(t, a, request(1, copyOf(src), worker.WorkspaceKeep))
	write(t, d.Path, map[string]string{"product": ""})
	release(t, d, worker.DropDir)
	if err := os.WriteFile(d.Path+".files", []byte(manifestMagic+"cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	d = prepare(t, a, request(2, copyOf(src), worker.WorkspaceKeep))
	wantNames(t, d.Path, "f")
}

func TestFilesThatVanishMeanwhileAreLeftOut(t *testing.T) {
	src, to := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"a": "1", "d/b": "1"})
	from, err := os.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	dst, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	// As listed before "vanished" and "d2" were removed.
	list := tree{files: []string{"a", "d/b", "d/vanished", "d2/c", "vanished"}, dirs: []string{"d", "d2"}}
	if err := (&copier{src: from, dst: dst, list: list}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNames(t, to, "a", "d/b", "d2/")
}

func TestCopyEndsWithTheContext(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"a": "1"})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the operator said so")
	cancel(why)
	a := newArea(t, Options{})
	_, err := a.Prepare(ctx, plainExec, request(1, copyOf(src), worker.WorkspaceFresh))
	if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := Leftovers(a.o.Dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestSourceErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": ""})
	a := newArea(t, Options{BaseDir: dir})
	for _, c := range []struct {
		src  worker.Source
		want string
	}{
		{worker.Source{Kind: "ftp"}, `unknown source "ftp"`},
		{copyOf("rel"), "not absolute"},
		{copyOf(filepath.Join(dir, "none")), "none"},
		{copyOf(filepath.Join(dir, "file")), "not a directory"},
		{copyOf(dir), "base directory"},
		{worker.Source{Kind: worker.SourceTree, Dir: filepath.Join(dir, "none")}, "none"},
	} {
		_, err := a.Prepare(t.Context(), noExec(t), request(1, c.src, worker.WorkspaceFresh))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q in it", c.src, err, c.want)
		}
	}
}
