package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"bothy/runner/worker"
)

const (
	// gitTimeout is how long git may say nothing.
	// Buildbot: the default timeout of a source step.
	gitTimeout = 20 * time.Minute
	// gitGrace is the time from TERM to KILL: git removes its lock files at TERM.
	gitGrace = 3 * time.Second
	// maxGitOutput bounds what git may answer: a commit's name.
	maxGitOutput = 64 << 10
	// headRef is where a clone keeps the remote's HEAD.
	headRef = "refs/bothy/head"
)

// checkout fills the build's directory from the clone that is kept on the worker
// for the builder.
func (b *Build) checkout(ctx context.Context) error {
	src := b.spec.Source
	if err := src.CheckGit(); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(src.URL))
	mirror := b.c.facts.paths.join(b.root, "git-"+hex.EncodeToString(sum[:8])+".git")
	unlock, err := b.c.w.area.clones.Lock(ctx, mirror)
	if err != nil {
		return err
	}
	defer unlock()
	rev, err := b.update(ctx, mirror)
	if err != nil {
		return err
	}
	b.props = map[string]any{"got_revision": rev}
	if !b.fresh {
		err := b.refresh(ctx, mirror, rev)
		if failed := (*toolError)(nil); !errors.As(err, &failed) {
			return err
		}
		// It is no work tree, or a damaged one.
		if err := b.removeDirs(ctx, b.dir); err != nil {
			return err
		}
	}
	return b.clone(ctx, mirror, rev)
}

// update brings the kept clone up to date and returns the commit to check out. A
// clone that is damaged, or that a killed git left locked, is made anew.
func (b *Build) update(ctx context.Context, mirror string) (string, error) {
	rev, err := b.fetch(ctx, mirror)
	failed := (*toolError)(nil)
	if !errors.As(err, &failed) {
		return rev, err
	}
	if !strings.Contains(failed.said, ".lock") {
		_, fsck := b.git(ctx, mirror, "fsck", "--connectivity-only", "--no-dangling")
		if !errors.As(fsck, &failed) {
			return "", err // it is the other side
		}
	}
	if err := b.removeDirs(ctx, mirror); err != nil {
		return "", err
	}
	return b.fetch(ctx, mirror)
}

// fetch makes the clone if there is none, and asks for what is new. A commit that
// is there already is not asked for: it cannot change.
func (b *Build) fetch(ctx context.Context, mirror string) (string, error) {
	src := b.spec.Source
	if _, err := b.gitIn(ctx, b.root, "init", "--quiet", "--bare", "--", mirror); err != nil {
		return "", err
	}
	// A kept directory may ask for a commit that is on no branch any more.
	if _, err := b.git(ctx, mirror, "config", "uploadpack.allowAnySHA1InWant", "true"); err != nil {
		return "", err
	}
	if src.NamesCommit() {
		if rev, err := b.commit(ctx, mirror, src.Revision); err == nil {
			return rev, nil
		}
	}
	args := []string{"fetch", "--progress", "--force", "--prune", "--no-write-fetch-head", "--", src.URL,
		"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}
	if src.Branch == "" && src.Revision == "" {
		args = append(args, "+HEAD:"+headRef)
	}
	if _, err := b.git(ctx, mirror, args...); err != nil {
		return "", err
	}
	names := []string{headRef}
	switch {
	case src.Revision != "":
		names = []string{"refs/tags/" + src.Revision, "refs/heads/" + src.Revision, src.Revision}
	case src.Branch != "":
		names = []string{"refs/heads/" + src.Branch}
	}
	for _, name := range names {
		rev, err := b.commit(ctx, mirror, name)
		if failed := (*toolError)(nil); !errors.As(err, &failed) {
			return rev, err
		}
	}
	if !src.NamesCommit() {
		return "", fmt.Errorf("%q does not exist", names[len(names)-1])
	}
	// It is on no branch; many servers give it when asked by name.
	if _, err := b.git(ctx, mirror, "fetch", "--progress", "--no-write-fetch-head", "--", src.URL, src.Revision); err != nil {
		return "", err
	}
	return b.commit(ctx, mirror, src.Revision)
}

// commit returns the id of the commit that name stands for.
func (b *Build) commit(ctx context.Context, gitDir, name string) (string, error) {
	out, err := b.git(ctx, gitDir, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	return strings.TrimSpace(out), err
}

// clone makes the build's empty directory a work tree at rev. Objects are hard
// links to the kept clone's, which git never writes to.
func (b *Build) clone(ctx context.Context, mirror, rev string) error {
	if _, err := b.gitIn(ctx, b.root, "clone", "--quiet", "--local", "--no-checkout", "--", mirror, b.dir); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"config", "remote.origin.url", b.spec.Source.URL},
		{"checkout", "--quiet", "--force", "--detach", rev},
	} {
		if _, err := b.work(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// refresh brings a kept work tree to rev. Files that git does not track stay.
func (b *Build) refresh(ctx context.Context, mirror, rev string) error {
	for _, args := range [][]string{
		{"fetch", "--quiet", "--force", "--prune", "--no-write-fetch-head", "--", mirror,
			"+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", rev},
		{"checkout", "--quiet", "--force", "--detach", rev},
	} {
		if _, err := b.work(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// work runs git on the build's work tree, and its own repository.
func (b *Build) work(ctx context.Context, args ...string) (string, error) {
	return b.git(ctx, b.c.facts.paths.join(b.dir, ".git"), append([]string{"--work-tree=" + b.dir}, args...)...)
}

// git runs git on a repository, which it must not look for elsewhere.
func (b *Build) git(ctx context.Context, gitDir string, args ...string) (string, error) {
	return b.gitIn(ctx, b.root, append([]string{"--git-dir=" + gitDir}, args...)...)
}

func (b *Build) gitIn(ctx context.Context, dir string, args ...string) (string, error) {
	argv := append([]string{
		"git",
		"-c", "protocol.ext.allow=never", // ext:: URLs are commands
		"-c", "core.fsmonitor=false", // a program named by the repository's own configuration
		"-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false",
		"-c", "advice.detachedHead=false",
	}, args...)
	// It never asks a person, and speaks English: some of what it says is looked at.
	env := append(b.c.Environ(), "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := b.tool(ctx, worker.Command{
		Argv: argv, Dir: dir, Env: env, Timeout: gitTimeout, SigtermTime: gitGrace,
	})
	if failed := (*toolError)(nil); errors.As(err, &failed) {
		failed.said = b.spec.Source.Redact(failed.said)
	}
	return out, err
}

// toolError is a program of the master's choice that failed on the worker.
type toolError struct {
	name string
	code int
	said string // the line that says why
}

func (e *toolError) Error() string { return fmt.Sprintf("%s: %s (exit %d)", e.name, e.said, e.code) }

// tool runs a program for the build's directory and returns what it wrote.
func (b *Build) tool(ctx context.Context, cmd worker.Command) (string, error) {
	var out toolOutput
	exit, err := b.shell(ctx, cmd, &out)
	name := cmd.Argv[0]
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case exit.Stopped == worker.Cancelled && ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case exit.SinkErr != nil:
		return "", fmt.Errorf("%s: %w", name, exit.SinkErr)
	case exit.Stopped != worker.NotStopped:
		return "", &toolError{name, exit.Code, "ended after " + cmd.Timeout.String() + " without output"}
	case exit.Code != 0:
		return "", &toolError{name, exit.Code, complaint(string(out.stderr.text))}
	}
	return string(out.stdout), nil
}

// toolOutput collects what a program writes.
type toolOutput struct {
	stdout []byte
	stderr tail
}

var errMuchOutput = errors.New("it wrote more than expected")

// Output implements [worker.Sink].
func (o *toolOutput) Output(_ string, s worker.Stream, p []byte) error {
	switch s {
	case worker.Stdout:
		if len(o.stdout)+len(p) > maxGitOutput {
			return errMuchOutput
		}
		o.stdout = append(o.stdout, p...)
	case worker.Stderr:
		o.stderr.add(p)
	}
	return nil
}

// complaint returns the line that says what went wrong: git's last "fatal:" or
// "error:", or simply the last. Progress overwrites itself with "\r".
func complaint(stderr string) string {
	last, found := "", false
	for line := range strings.FieldsFuncSeq(stderr, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		is := strings.HasPrefix(line, "fatal:") || strings.HasPrefix(line, "error:")
		if line != "" && (is || !found) {
			last, found = line, found || is
		}
	}
	return shorten(last)
}
