package localworker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bothy/runner/worker"
)

// fetching is a build that takes place in a directory of the test's.
func fetching(t *testing.T, files ...string) *build {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("text of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := attach(t, newWorker(t, newHost(t, nil), "bot1"))
	b := start(t, c, spec(worker.Source{Kind: worker.SourceTree, Dir: dir}, fresh)).(*build)
	t.Cleanup(func() { end(t, b, worker.DropDir) })
	return b
}

func patterns(t *testing.T, texts ...string) (all []worker.Pattern) {
	t.Helper()
	for _, s := range texts {
		p, err := worker.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestFind(t *testing.T) {
	b := fetching(t, "a.xml", "out/b.xml", "out/x/c.xml", "out/x/d.txt", ".git/e.xml", "other/deep/f.xml")
	for _, tt := range []struct {
		patterns, want string
		limit          int
		more           bool
	}{
		{"**/*.xml", "a.xml other/deep/f.xml out/b.xml out/x/c.xml", 10, false},
		{"**/*.xml out/* out/b.xml", "a.xml other/deep/f.xml out/b.xml out/x/c.xml", 10, false},
		{"out/**", "out/b.xml out/x/c.xml out/x/d.txt", 3, false},
		{"out/**", "", 2, true},
		{"none/* */none out", "", 10, false},
		{".git/*", ".git/e.xml", 10, false},
	} {
		got, more, err := b.Find(t.Context(), patterns(t, strings.Fields(tt.patterns)...), tt.limit)
		if err != nil || more != tt.more || !more && strings.Join(got, " ") != tt.want || len(got) > tt.limit {
			t.Errorf("%s, %d at most: %q, %v, %v", tt.patterns, tt.limit, got, more, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Find(gone, patterns(t, "**"), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFindManyFiles(t *testing.T) {
	names := make([]string, 10_001)
	for i := range names {
		names[i] = fmt.Sprintf("d%d/%d", i%7, i)
	}
	b := fetching(t, names...)
	got, more, err := b.Find(t.Context(), patterns(t, "**"), 10_000)
	if err != nil || !more || len(got) != 10_000 || !slices.IsSorted(got) {
		t.Errorf("%d names, more: %v, %v", len(got), more, err)
	}
}

func TestFetch(t *testing.T) {
	b := fetching(t, "out/a")
	const text = "text of out/a"
	for _, tt := range []struct {
		name  string
		limit int64
		want  error
	}{
		{"out/a", int64(len(text)), nil},
		{"out/a", int64(len(text)) - 1, worker.ErrTooLarge},
		{"out", 100, worker.ErrDir},
		{"none", 100, os.ErrNotExist},
	} {
		var got bytes.Buffer
		err := b.Fetch(t.Context(), tt.name, &got, tt.limit)
		if !errors.Is(err, tt.want) || err == nil && got.String() != text {
			t.Errorf("%s, %d at most: %q, %v", tt.name, tt.limit, &got, err)
		}
	}
	if err := b.Fetch(t.Context(), "../x", &bytes.Buffer{}, 100); err == nil {
		t.Error("fetched from outside")
	}
}

// grower is a reader's end during whose first write the file grows.
type grower struct {
	bytes.Buffer
	file string
}

func (g *grower) Write(p []byte) (int, error) {
	f, err := os.OpenFile(g.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Write(p); err != nil {
		return 0, err
	}
	return g.Buffer.Write(p)
}

// A file that grows as fast as it is read has an end all the same.
func TestFetchWhatGrows(t *testing.T) {
	b := fetching(t, "f")
	g := &grower{file: filepath.Join(b.Dir(), "f")}
	if err := b.Fetch(t.Context(), "f", g, 1<<20); err != nil || g.String() != "text of f" {
		t.Errorf("%q, %v", g, err)
	}
}
