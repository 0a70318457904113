package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bothy/runner/worker"
)

// git runs git commands for one source.
type git struct {
	run Exec
	env []string
	src worker.Source
}

// in runs a command on the repository gitDir, which git must not look for
// elsewhere: above a build's directory there often is the person's own.
func (g *git) in(ctx context.Context, gitDir string, args ...string) (string, error) {
	what := args[0]
	if strings.HasPrefix(what, "-") {
		what = args[1]
	}
	out, err := runGit(ctx, g.run, g.env, gitDir, what, append([]string{"--git-dir=" + gitDir}, args...)...)
	if ge, ok := errors.AsType[*gitError](err); ok {
		ge.line = g.src.Redact(ge.line)
	}
	return strings.TrimSpace(string(out)), err
}

// work runs a command on the work tree dir and its own repository.
func (g *git) work(ctx context.Context, dir string, args ...string) error {
	_, err := g.in(ctx, filepath.Join(dir, ".git"), append([]string{"--work-tree=" + dir}, args...)...)
	return err
}

// checkout fills d from the clone kept for the builder and returns the commit.
func (a *Area) checkout(ctx context.Context, g *git, d *Dir) (string, error) {
	sum := sha256.Sum256([]byte(g.src.URL))
	mirror := filepath.Join(a.o.Dir, dirName(d.req.Builder), "git", hex.EncodeToString(sum[:8])+".git")
	unlock, err := a.clones.Lock(ctx, mirror)
	if err != nil {
		return "", err
	}
	defer unlock()
	rev, err := a.update(ctx, g, mirror)
	if err != nil {
		return "", err
	}
	if d.kind == dirKept && isDir(filepath.Join(d.Path, ".git")) {
		err := g.refresh(ctx, mirror, d.Path, rev)
		if err == nil || ctx.Err() != nil {
			return rev, err
		}
		a.o.Logger.Warn("kept directory is made anew", "dir", d.Path, "error", err)
	}
	if d.kind == dirKept {
		root, err := os.OpenRoot(d.Path)
		if err != nil {
			return "", err
		}
		err = empty(root)
		root.Close()
		if err != nil {
			return "", err
		}
	}
	return rev, g.clone(ctx, mirror, d.Path, rev)
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// update brings the clone up to date, making it when it is missing or broken, and
// returns the commit to check out.
func (a *Area) update(ctx context.Context, g *git, mirror string) (string, error) {
	if !isDir(mirror) {
		if err := a.newMirror(ctx, g, mirror); err != nil {
			return "", err
		}
		return g.fetch(ctx, mirror)
	}
	removeLocks(mirror)
	rev, err := g.fetch(ctx, mirror)
	if err == nil || ctx.Err() != nil {
		return rev, err
	}
	// The other side, or the clone? A power cut can damage objects.
	if _, fsck := g.in(ctx, mirror, "fsck", "--connectivity-only", "--no-dangling"); fsck == nil || ctx.Err() != nil {
		return "", err
	}
	a.o.Logger.Warn("damaged clone is made anew", "dir", mirror, "error", err)
	if err := a.remove(mirror); err != nil {
		return "", err
	}
	if err := a.newMirror(ctx, g, mirror); err != nil {
		return "", err
	}
	return g.fetch(ctx, mirror)
}

// newClone begins the names of clones that are being made.
const newClone = "new-"

// newMirror makes an empty bare repository. It appears as a whole: one that was cut
// short is a leftover.
func (a *Area) newMirror(ctx context.Context, g *git, mirror string) error {
	dir := filepath.Dir(mirror)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, newClone)
	if err != nil {
		return err
	}
	// Kept directories ask for commits that no branch may hold any more.
	for _, args := range [][]string{{"init", "--quiet", "--bare"}, {"config", "uploadpack.allowAnySHA1InWant", "true"}} {
		if _, err := g.in(ctx, tmp, args...); err != nil {
			return errors.Join(err, a.remove(tmp))
		}
	}
	if err := os.Rename(tmp, mirror); err != nil {
		return errors.Join(err, a.remove(tmp))
	}
	return nil
}

// removeLocks removes lock files that a killed git left in a clone; nobody else
// uses it. Among the objects themselves there are none.
func removeLocks(mirror string) {
	_ = filepath.WalkDir(mirror, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case e.IsDir() && (len(e.Name()) == 2 || e.Name() == "pack") && filepath.Base(filepath.Dir(p)) == "objects":
			return fs.SkipDir
		case e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".lock"):
			_ = os.Remove(p)
		}
		return nil
	})
}

// headRef is where a clone keeps the remote's HEAD.
const headRef = "refs/bothy/head"

// fetch updates the clone and returns the commit that the source names. A commit
// that is there already is not asked for: it cannot change.
func (g *git) fetch(ctx context.Context, mirror string) (string, error) {
	if g.src.NamesCommit() {
		if rev, err := g.commit(ctx, mirror, g.src.Revision); err == nil {
			return rev, nil
		}
	}
	args := []string{"fetch", "--progress", "--force", "--prune", "--no-write-fetch-head", "--", g.src.URL,
		"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}
	if g.src.Branch == "" && g.src.Revision == "" {
		args = append(args, "+HEAD:"+headRef)
	}
	if _, err := g.in(ctx, mirror, args...); err != nil {
		return "", err
	}
	switch {
	case g.src.Revision != "":
		for _, name := range []string{"refs/tags/" + g.src.Revision, "refs/heads/" + g.src.Revision, g.src.Revision} {
			if rev, err := g.commit(ctx, mirror, name); err == nil {
				return rev, nil
			}
		}
		if g.src.NamesCommit() { // on no branch; many servers give it when asked by name
			if _, err := g.in(ctx, mirror, "fetch", "--progress", "--no-write-fetch-head", "--", g.src.URL, g.src.Revision); err != nil {
				return "", fmt.Errorf("revision %s: %w", g.src.Revision, err)
			}
			return g.commit(ctx, mirror, g.src.Revision)
		}
		return "", fmt.Errorf("revision %q does not exist", g.src.Revision)
	case g.src.Branch != "":
		rev, err := g.commit(ctx, mirror, "refs/heads/"+g.src.Branch)
		if _, ok := errors.AsType[*gitError](err); ok {
			return "", fmt.Errorf("branch %q does not exist", g.src.Branch)
		}
		return rev, err
	}
	return g.commit(ctx, mirror, headRef)
}

// commit returns the id of the commit that name stands for.
func (g *git) commit(ctx context.Context, gitDir, name string) (string, error) {
	return g.in(ctx, gitDir, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
}

// clone makes the empty directory dir a work tree at rev. Objects are hard links
// to the kept clone's, which git never writes to.
func (g *git) clone(ctx context.Context, mirror, dir, rev string) error {
	_, err := runGit(ctx, g.run, g.env, dir, "clone", "clone", "--quiet", "--local", "--no-checkout", "--", mirror, dir)
	if err != nil {
		return err
	}
	if err := g.work(ctx, dir, "config", "remote.origin.url", g.src.URL); err != nil {
		return err
	}
	return g.work(ctx, dir, "checkout", "--quiet", "--force", "--detach", rev)
}

// refresh brings a kept work tree to rev. Files that git does not track stay.
func (g *git) refresh(ctx context.Context, mirror, dir, rev string) error {
	removeLocks(filepath.Join(dir, ".git"))
	err := g.work(ctx, dir, "fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head", "--", mirror,
		"+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", rev)
	if err != nil {
		return err
	}
	return g.work(ctx, dir, "checkout", "--quiet", "--force", "--detach", rev)
}
