package basedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// world is a resolver for which the directories in bad are on nfs.
func world(env map[string]string, bad ...string) Resolver {
	return Resolver{
		FSType: func(dir string) (string, error) {
			if _, err := os.Stat(dir); err != nil {
				return "", err
			}
			for _, b := range bad {
				if dir == b || strings.HasPrefix(dir, b+string(filepath.Separator)) {
					return "nfs", nil
				}
			}
			return "", nil
		},
		Getenv: func(name string) string { return env[name] },
	}
}

func TestResolveMakesTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", ".bothy")
	for range 2 {
		l, err := Resolve(dir)
		if err != nil {
			t.Fatal(err)
		}
		if l.Dir != dir || l.Reason != "" || l.StateDB != filepath.Join(dir, "state.db") {
			t.Errorf("layout %+v", l)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode())
	}
	ignore, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if err != nil || string(ignore) != "*\n" {
		t.Errorf(".gitignore %q, %v", ignore, err)
	}
	l, err := Resolve(dir)
	if err != nil {
		t.Fatal(err)
	}
	if free, err := l.DiskFree(); err != nil || free <= 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
}

func TestResolveTakesRelativePaths(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Resolve(".bothy")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(wd, ".bothy"); l.Dir != want {
		t.Errorf("directory %s, want %s", l.Dir, want)
	}
}

func TestResolveMovesOffUnsafeFileSystems(t *testing.T) {
	top := t.TempDir()
	share, home, state := filepath.Join(top, "share"), filepath.Join(top, "home"), filepath.Join(top, "state")
	for _, d := range []string{share, home, state} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	project := filepath.Join(share, "project", ".bothy") // does not exist yet
	tests := []struct {
		name, below string
		env         map[string]string
	}{
		{"XDG_STATE_HOME", filepath.Join(state, "bothy"), map[string]string{"XDG_STATE_HOME": state, homeVariable: home}},
		{"home", filepath.Join(home, stateBelowHome, "bothy"), map[string]string{homeVariable: home}},
		{"relative XDG_STATE_HOME is ignored", filepath.Join(home, stateBelowHome, "bothy"), map[string]string{"XDG_STATE_HOME": "state", homeVariable: home}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := world(tt.env, share)
			l, err := r.Resolve(project)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Dir(l.Dir) != tt.below || !strings.Contains(l.Reason, "nfs") || !strings.Contains(l.Reason, project) {
				t.Errorf("layout %+v", l)
			}
			again, err := r.Resolve(project)
			if err != nil || again != l {
				t.Errorf("a second time %+v, %v", again, err)
			}
			other, err := r.Resolve(filepath.Join(share, "other", ".bothy"))
			if err != nil || other.Dir == l.Dir {
				t.Errorf("another project has %s too, %v", other.Dir, err)
			}
			if _, err := os.Stat(filepath.Join(share, "project")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was made on the share: %v", err)
			}
		})
	}
}

func TestResolveErrors(t *testing.T) {
	top := t.TempDir()
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir string
		r         Resolver
		want      []string
	}{
		{"a file", file, Resolver{}, []string{file, "not a directory"}},
		{"below a file", filepath.Join(file, "x"), Resolver{}, []string{file, "not a directory"}},
		{"nowhere to go", top, world(nil, top), []string{top, "nfs", "XDG_STATE_HOME", homeVariable}},
		{"state directory unsafe too", top, world(map[string]string{"XDG_STATE_HOME": top}, top), []string{"nfs", "and so is", "set basedir"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.r.Resolve(tt.dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}
