package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxNesting bounds repositories within repositories.
const maxNesting = 32

// lister finds out what belongs into a snapshot.
type lister struct {
	run  Exec
	env  []string
	dir  string
	skip func(rel string) bool // what is left out: the base directory

	seen map[string]bool // directories: whether they are real ones, not symlinks
	tree
}

// tree is the content of a snapshot: slash-separated paths, each once. Every
// parent of a file is among the directories, parents first.
type tree struct {
	files []string // regular files and symlinks
	dirs  []string
}

// listTree lists what a snapshot of dir holds. In a git work tree that is what git
// tracks, as it is on disk, and what is neither tracked nor ignored; in
// submodules and nested repositories the same rule holds. Elsewhere it is
// everything. skip leaves out a directory or file with all below.
func listTree(ctx context.Context, run Exec, env []string, dir string, skip func(rel string) bool) (tree, error) {
	l := &lister{run: run, env: env, dir: dir, skip: skip, seen: map[string]bool{}}
	git := false
	if inRepository(dir) {
		var err error
		if git, err = l.repository(ctx, "", 0); err != nil {
			return tree{}, err
		}
	}
	if !git {
		l.tree, l.seen = tree{}, map[string]bool{}
		if err := l.walk(ctx); err != nil {
			return tree{}, err
		}
	}
	return l.tree, nil
}

// inRepository tells whether git may find a repository from dir upwards. It saves
// a process where there is none, and makes git unnecessary there.
func inRepository(dir string) bool {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

// repository lists the part of a repository that is below the directory prefix.
// It returns false if git says that there is no repository, or that the
// outermost directory is itself ignored by one around it (a home directory kept
// in git): then git has no say about its content.
func (l *lister) repository(ctx context.Context, prefix string, depth int) (bool, error) {
	if depth > maxNesting {
		return false, fmt.Errorf("%s: more than %d repositories within each other", prefix, maxNesting)
	}
	dir := filepath.Join(l.dir, filepath.FromSlash(prefix))
	out, err := runGit(ctx, l.run, l.env, dir, "ls-files", "ls-files", "-z", "-co", "--exclude-standard")
	if err != nil {
		var ge *gitError
		if errors.As(err, &ge) && ge.code == 128 && strings.Contains(ge.line, "not a git repository") {
			return false, nil
		}
		return false, err
	}
	if len(out) == 0 && prefix == "" {
		if _, err := runGit(ctx, l.run, l.env, dir, "check-ignore", "check-ignore", "-q", "."); err == nil {
			return false, nil
		}
	}
	last := ""
	for name := range bytes.SplitSeq(out, []byte{0}) {
		rel := path.Join(prefix, string(name)) // also takes off the "/" of a nested repository
		if len(name) == 0 || rel == last {     // unmerged files are told once per side
			continue
		}
		last = rel
		if l.skip(rel) || !l.parent(rel) {
			continue
		}
		info, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(rel)))
		switch {
		case gone(err): // removed from the work tree, still in the index
		case err != nil:
			return false, err
		case info.IsDir():
			if err := l.nested(ctx, rel, depth); err != nil {
				return false, err
			}
		case copied(info.Mode()):
			l.files = append(l.files, rel)
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// nested lists a directory that git names without its content: a submodule or a
// repository of its own. One without a repository is a submodule that was not
// fetched, of which only the directory exists.
func (l *lister) nested(ctx context.Context, rel string, depth int) error {
	if !l.parent(rel + "/.") {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(rel), ".git")); gone(err) {
		return nil
	} else if err != nil {
		return err
	}
	_, err := l.repository(ctx, rel, depth+1)
	return err
}

// parent adds the directories in which rel is. It returns false if one of them is
// not a directory: git's index may name a/b while a is now a symlink, and what is
// behind that link is none of the repository's.
func (l *lister) parent(rel string) bool {
	dir := path.Dir(rel)
	if dir == "." {
		return true
	}
	if ok, known := l.seen[dir]; known {
		return ok
	}
	ok := l.parent(dir)
	if ok {
		info, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(dir)))
		ok = err == nil && info.IsDir()
	}
	l.seen[dir] = ok
	if ok {
		l.dirs = append(l.dirs, dir)
	}
	return ok
}

// walk lists everything below the directory.
func (l *lister) walk(ctx context.Context) error {
	return filepath.WalkDir(l.dir, func(p string, e fs.DirEntry, err error) error {
		if gone(err) && p != l.dir {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(l.dir, p)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case l.skip(rel) && e.IsDir():
			return fs.SkipDir
		case l.skip(rel):
		case e.IsDir():
			l.dirs = append(l.dirs, rel)
		case copied(e.Type()):
			l.files = append(l.files, rel)
		}
		return nil
	})
}

// copied tells whether a snapshot holds files of this type; sockets, pipes and
// devices belong to those who made them.
func copied(m fs.FileMode) bool { return m.IsRegular() || m&fs.ModeType == fs.ModeSymlink }

// skipper returns what leaves the given directory out of a snapshot of dir.
func skipper(dir, out string) (func(rel string) bool, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if r, err := filepath.EvalSymlinks(out); err == nil {
		out = r
	}
	if real == out {
		return nil, fmt.Errorf("it is the base directory")
	}
	if !within(real, out) {
		return func(string) bool { return false }, nil
	}
	rel, err := filepath.Rel(real, out)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	return func(p string) bool { return p == rel || strings.HasPrefix(p, rel+"/") }, nil
}
