package workspace

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"
)

var none = worker.Source{Kind: worker.SourceNone}

func TestTreeIsUsedInPlaceAndNeverTouched(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"f": "1"})
	a := newArea(t, Options{KeepFailed: 5})
	for i, ws := range []worker.Workspace{worker.WorkspaceFresh, worker.WorkspaceKeep} {
		for _, keep := range []worker.KeepDir{worker.DropDir, worker.RetainDir} {
			d, err := a.Prepare(t.Context(), noExec(t), request(int64(i), worker.Source{Kind: worker.SourceTree, Dir: src}, ws))
			if err != nil {
				t.Fatal(err)
			}
			if kept := release(t, d, keep); d.Path != src || kept != "" {
				t.Errorf("directory %s, kept %q", d.Path, kept)
			}
		}
	}
	wantNames(t, src, "f")
	if _, err := os.Lstat(a.o.Dir); err == nil {
		t.Error("the worker's directory was made for a tree")
	}
}

func TestFreshAndKeptDirectories(t *testing.T) {
	a := newArea(t, Options{})
	f1 := prepare(t, a, request(1, none, worker.WorkspaceFresh))
	f2 := prepare(t, a, request(2, none, worker.WorkspaceFresh))
	k1 := prepare(t, a, request(3, none, worker.WorkspaceKeep))
	k2 := prepare(t, a, request(4, none, worker.WorkspaceKeep))
	paths := []string{f1.Path, f2.Path, k1.Path, k2.Path}
	slices.Sort(paths)
	if len(slices.Compact(paths)) != 4 {
		t.Fatalf("running builds share a directory: %q", paths)
	}
	write(t, k1.Path, map[string]string{"k1": ""})
	write(t, k2.Path, map[string]string{"k2": ""})
	if kept := release(t, k1, worker.RetainDir); kept != k1.Path {
		t.Errorf("kept %q", kept)
	}
	release(t, k2, worker.DropDir)
	// The last build of the builder is the one that began last.
	past := time.Now().Add(-time.Minute)
	if err := os.Chtimes(k1.Path+".used", past, past); err != nil {
		t.Fatal(err)
	}
	again := prepare(t, a, request(5, none, worker.WorkspaceKeep))
	if again.Path != k2.Path {
		t.Errorf("next build got %s, want %s", again.Path, k2.Path)
	}
	wantNames(t, again.Path, "k2")
	other := request(6, none, worker.WorkspaceKeep)
	other.Builder = "other"
	if d := prepare(t, a, other); strings.HasPrefix(d.Path, filepath.Dir(again.Path)) {
		t.Errorf("builders share %s", d.Path)
	}
	// One token, two builds: refused, not shared.
	if _, err := a.Prepare(t.Context(), noExec(t), request(1, none, worker.WorkspaceFresh)); err == nil {
		t.Error("a second build got the directory of a running one")
	}
}

func TestFailedDirectoriesAreKeptAndCapped(t *testing.T) {
	a := newArea(t, Options{KeepFailed: 2})
	var kept []string
	for i := range int64(12) {
		r := request(i, none, worker.WorkspaceFresh)
		r.Builder = fmt.Sprint("b", i%3)
		d := prepare(t, a, r)
		write(t, d.Path, map[string]string{"log": "text"})
		kept = append(kept, release(t, d, worker.RetainDir))
	}
	for i, path := range kept {
		_, err := os.Lstat(filepath.Join(path, "log"))
		if want := i >= 10; (err == nil) != want {
			t.Errorf("directory %d kept: %v, want %v", i, err == nil, want)
		}
	}

	off := newArea(t, Options{})
	d := prepare(t, off, request(1, none, worker.WorkspaceFresh))
	if kept := release(t, d, worker.RetainDir); kept != "" {
		t.Errorf("kept %q", kept)
	}
	if _, err := os.Lstat(d.Path); err == nil {
		t.Error("fresh directory is still there")
	}
}

// A directory that cannot be moved aside must not stay for ever: the disk may be
// full because of it.
func TestFailedDirectoryThatCannotBeKept(t *testing.T) {
	a := newArea(t, Options{KeepFailed: 2})
	d := prepare(t, a, request(1, none, worker.WorkspaceFresh))
	write(t, filepath.Dir(filepath.Dir(d.Path)), map[string]string{"failed": "not a directory"})
	kept, left, err := d.Release(worker.RetainDir)
	if err == nil || kept != "" || left != d.Path {
		t.Errorf("kept %q, left %q, %v", kept, left, err)
	}
}

func TestFailedDirectoriesAreCappedInBytes(t *testing.T) {
	a := newArea(t, Options{KeepFailed: 100, KeepFailedBytes: 250})
	var kept []string
	for i, size := range []int{100, 100, 100, 300} {
		d := prepare(t, a, request(int64(i), none, worker.WorkspaceFresh))
		write(t, d.Path, map[string]string{"d/f": strings.Repeat("x", size)})
		kept = append(kept, release(t, d, worker.RetainDir))
		if i == 2 {
			if _, err := os.Lstat(kept[0]); err == nil {
				t.Error("the oldest was not removed")
			}
			if _, err := os.Lstat(kept[1]); err != nil {
				t.Error(err)
			}
		}
	}
	if kept[3] != "" {
		t.Errorf("one larger than the cap was kept as %s", kept[3])
	}
}

func TestLeftoversOfACrashAreRemoved(t *testing.T) {
	first := newArea(t, Options{KeepFailed: 5})
	crashed := prepare(t, first, request(1, none, worker.WorkspaceFresh))
	write(t, crashed.Path, map[string]string{"f": ""})
	kept := prepare(t, first, request(2, none, worker.WorkspaceKeep))
	failed := prepare(t, first, request(3, none, worker.WorkspaceFresh))
	failedPath := release(t, failed, worker.RetainDir)
	half := filepath.Join(first.o.Dir, "test", "git", "new-1")
	write(t, half, map[string]string{"HEAD": ""})

	a := newArea(t, first.o)
	left, err := Leftovers(a.o.Dir)
	running := request(1, none, worker.WorkspaceFresh)
	running.Token.Epoch = 2
	d := prepare(t, a, running)
	if err != nil || !slices.Equal(left, []string{crashed.Path, half}) {
		t.Fatalf("leftovers %q, %v", left, err)
	}
	for _, dir := range left {
		if err := a.RemoveLeftover(dir); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{crashed.Path: false, half: false, kept.Path: true, failedPath: true, d.Path: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRemovalNeverLeavesTheWorkersDirectory(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, map[string]string{"f": ""})
	a := newArea(t, Options{})
	prepare(t, a, request(1, none, worker.WorkspaceFresh))
	link := filepath.Join(a.o.Dir, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{outside, a.o.Dir, filepath.Dir(a.o.Dir), filepath.Join(a.o.Dir, "..", "x"), filepath.Join(link, "f")} {
		if err := a.remove(path); err == nil {
			t.Errorf("removing %s was not refused", path)
		}
	}
	if err := a.remove(link); err != nil {
		t.Error(err)
	}
	wantNames(t, outside, "f")
}

func TestDirName(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"", "%", "test", "Test", "a/b", "a%2Fb", "..", ".", ".git", "a b", "ünï", "-x", "a\nb",
		strings.Repeat("x", 40), strings.Repeat("x", 41), strings.Repeat("x", 42), strings.Repeat("/", 99),
	} {
		dir := dirName(name)
		if was, ok := seen[dir]; ok {
			t.Errorf("%q and %q are both %q", name, was, dir)
		}
		seen[dir] = name
		if dir == "" || len(dir) > maxDirName || !fs.ValidPath(dir) || strings.ContainsAny(dir, "/\\ \n") || dir[0] == '.' {
			t.Errorf("%q becomes %q", name, dir)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest{time.Unix(1, 2), []string{"a", "b/c", "new\nline"}}.encode())
	f.Add(manifest{}.encode())
	f.Add([]byte(manifestMagic))
	f.Add([]byte(manifestMagic + "12345678../x\x00\x00"))
	f.Add([]byte(manifestMagic + "12345678/x\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		for _, name := range m.files {
			if !filepath.IsLocal(name) || name == "." {
				t.Errorf("file %q", name)
			}
		}
		if string(m.encode()) != string(b) {
			t.Errorf("%q is encoded as %q", b, m.encode())
		}
	})
}

func FuzzDirName(f *testing.F) {
	f.Add("test", "te st")
	f.Add(strings.Repeat("a", 50), strings.Repeat("a", 51))
	f.Fuzz(func(t *testing.T, x, y string) {
		if dx, dy := dirName(x), dirName(y); (x == y) != (dx == dy) || !filepath.IsLocal(dx) || strings.Contains(dx, "/") {
			t.Errorf("%q is %q, %q is %q", x, dx, y, dy)
		}
	})
}
