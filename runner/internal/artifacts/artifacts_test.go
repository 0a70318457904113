package artifacts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// tree is what files there are in dir.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != dir {
			rel, _ := filepath.Rel(dir, name)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

func TestKeep(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "artifacts"), 1)
	step := s.Step(7, 2)
	k, err := step.Keep("dist/a b/ü.txt", text("abc"))
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	if err != nil || k != (Kept{"dist/a b/ü.txt", 3, sum}) {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := step.Keep("dist/a b/ü.txt", text("other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kept twice: %v", err)
	}
	broken := errors.New("broken")
	if _, err := step.Keep("half", func(w io.Writer) error { return errors.Join(text("x")(w), broken) }); !errors.Is(err, broken) {
		t.Errorf("half a file: %v", err)
	}
	if err := step.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tree(t, s.dir), " "); got != "7 7/2 7/2/dist 7/2/dist/a b 7/2/dist/a b/ü.txt" {
		t.Errorf("there are %s", got)
	}
	f, err := s.Open(7, 2, "dist/a b/ü.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"../../8/1/x", "/etc/passwd", "none"} {
		if f, err := s.Open(7, 2, name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	if err := s.Remove(7, 8); err != nil || len(tree(t, s.dir)) > 0 {
		t.Errorf("after removal: %v, %v", tree(t, s.dir), err)
	}
}

func TestNothingKept(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "artifacts"), 1)
	first, second := s.Step(1, 1), s.Step(1, 2)
	if _, err := first.Keep("a", text("")); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Keep("b/c", func(io.Writer) error { return io.ErrUnexpectedEOF }); err == nil {
		t.Error("kept")
	}
	if err := errors.Join(second.Close(), first.Drop(), s.Step(9, 9).Close()); err != nil {
		t.Error(err)
	}
	if got := tree(t, s.dir); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "a/b", "a b/…"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../a", "/a", "a/../b", "a//b", "a\nb", "a\x00", "\xff", "a\u0085", strings.Repeat("a", 1025)} {
		if CheckName(name) == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

// What a master that crashed left without a record goes: of builds whose ids are
// given out again before one of them keeps anything, of others when it is swept.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "artifacts")
	put := func(s *Store, build int64, step int) {
		t.Helper()
		st := s.Step(build, step)
		if _, err := st.Keep("f", text("x")); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	old := Open(dir, 1)
	for _, b := range []int64{1, 2, 3, 4} {
		put(old, b, 1)
		put(old, b, 2)
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	s := Open(dir, 4) // build 4 was never recorded
	put(s, 4, 2)
	if got := tree(t, filepath.Join(dir, "4")); slices.Contains(got, "1") {
		t.Errorf("an unrecorded build left %v", got)
	}
	asked := 0
	n, err := s.Sweep(func(build int64, step int) (bool, error) {
		asked++
		return build == 1 || build == 2 && step == 1, nil
	})
	if err != nil || n != 3 || asked != 6 {
		t.Errorf("%d steps removed, %d asked for, %v", n, asked, err)
	}
	want := "1 1/1 1/1/f 1/2 1/2/f 2 2/1 2/1/f 4 4/2 4/2/f README"
	if got := strings.Join(tree(t, dir), " "); got != want {
		t.Errorf("left %s, want %s", got, want)
	}
	doubt := errors.New("in doubt")
	if _, err := s.Sweep(func(int64, int) (bool, error) { return false, doubt }); !errors.Is(err, doubt) {
		t.Errorf("swept in doubt: %v", err)
	}
	if got := strings.Join(tree(t, dir), " "); got != want {
		t.Errorf("in doubt it removed something: %s", got)
	}
	if n, err := Open(filepath.Join(dir, "none"), 1).Sweep(nil); n != 0 || err != nil {
		t.Error(fmt.Errorf("no directory: %d, %w", n, err))
	}
}
