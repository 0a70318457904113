package remote

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/worker"
)

// Directories on a worker, below its base directory:
//
//	<builder>/fresh-<token>           a running build with workspace = "fresh"
//	<builder>/keep, keep-2, …         reused by builds with workspace = "keep"
//	<builder>/failed-<number>-<token> of failed builds, for a person to look at
//	<builder>/git-<hash>.git          the clone kept of a git source
const (
	freshPrefix  = "fresh-"
	keptName     = "keep"
	failedPrefix = "failed-"
)

// removeTime is how long the worker may take to remove a directory.
const removeTime = 10 * time.Minute

// area is what is known of a worker's directories over its connections.
type area struct {
	clones worker.Clones
}

// Build is a build on a remote worker.
type Build struct {
	c     *Conn
	spec  worker.BuildSpec
	lane  string // the builder as it was announced
	root  string // the builder's directory
	dir   string
	fresh bool
	props map[string]any

	running sync.Mutex // held while a command runs
}

var _ worker.Build = (*Build)(nil)

// StartBuild makes a directory for the build on the worker, and fills it if the
// source is a git repository. Sources that are files of the master's are refused.
func (c *Conn) StartBuild(ctx context.Context, spec worker.BuildSpec) (worker.Build, error) {
	b, err := c.startBuild(ctx, spec)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c *Conn) startBuild(ctx context.Context, spec worker.BuildSpec) (_ *Build, err error) {
	switch spec.Source.Kind {
	case worker.SourceNone, worker.SourceGit:
	default:
		return nil, fmt.Errorf("a remote worker cannot have the source %q: the files are the master's", spec.Source.Kind)
	}
	dir := dirName(spec.Builder)
	b := &Build{c: c, spec: spec, root: c.facts.paths.join(c.facts.basedir, dir), fresh: spec.Workspace != worker.WorkspaceKeep}
	n := b.occupy()
	defer func() {
		if err != nil {
			b.vacate()
		}
	}()
	if err := c.link.announce(ctx, b.lane, dir); err != nil {
		return nil, c.lostOr(err)
	}
	if err := b.sweep(ctx); err != nil {
		return nil, err
	}
	name := keptName
	switch {
	case b.fresh:
		name = freshPrefix + spec.Token.String()
	case n > 1:
		name += "-" + strconv.Itoa(n)
	}
	b.dir = c.facts.paths.join(b.root, name)
	if err := b.makeDir(ctx, b.dir); err != nil {
		return nil, err
	}
	if spec.Source.Kind == worker.SourceGit {
		if err := b.checkout(ctx); err != nil {
			b.discard()
			return nil, fmt.Errorf("git source %s: %w", spec.Source.Redacted(), err)
		}
	}
	return b, nil
}

// occupy takes the first lane of the builder that no build runs in, and returns
// its number. Over Perspective Broker a lane is a builder to the worker, and runs
// one command at a time.
func (b *Build) occupy() int {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 1
	for b.lane = b.spec.Builder; c.taken(b.lane); b.lane = b.spec.Builder + "~" + strconv.Itoa(n) {
		n++
	}
	c.lanes[b.lane] = b.spec.Token
	if _, ok := c.link.(*leasedLink); !ok && !c.pulsing {
		c.pulse()
	}
	return n
}

// taken reports whether a build runs in a lane. The caller holds mu.
func (c *Conn) taken(lane string) bool {
	_, ok := c.lanes[lane]
	return ok
}

func (b *Build) vacate() {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	delete(b.c.lanes, b.lane)
}

// Dir is the build's directory, in the form of the worker's system.
func (b *Build) Dir() string { return b.dir }

// Properties has got_revision for a git source.
func (b *Build) Properties() map[string]any { return b.props }

// End removes a fresh directory, or sets it aside. Processes that escaped the
// worker stay: only it could end them. The worker is not there any more: nothing
// is done, and the worker's next connection removes what is left. Its connection
// is cut: the directory is removed when it is back.
func (b *Build) End(ctx context.Context, keep worker.KeepDir) (worker.Receipt, error) {
	b.running.Lock()
	defer b.running.Unlock()
	var r worker.Receipt
	if b.fresh && b.c.isCut() && b.c.link.err() == nil {
		b.c.w.l.group.Go(func() { // when the worker is back; its lease bounds it
			defer b.vacate()
			b.discard()
		})
		return r, nil
	}
	defer b.vacate()
	if b.c.link.err() != nil {
		return r, nil
	}
	if !b.fresh {
		if keep == worker.RetainDir {
			r.Kept = b.dir
		}
		return r, nil
	}
	var err error
	if keep == worker.RetainDir && b.c.w.l.o.KeepFailed > 0 {
		r.Kept, err = b.retain(ctx)
	}
	if r.Kept == "" {
		err = errors.Join(err, b.removeDirs(ctx, b.dir))
	}
	if err != nil && !errors.Is(err, worker.ErrLost) {
		return r, fmt.Errorf("end build %s #%d on %s: %w", b.spec.Builder, b.spec.Number, b.c.w.name, err)
	}
	return r, nil
}

// discard removes the directory of a build that could not be prepared.
func (b *Build) discard() {
	if !b.fresh || b.c.link.err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTime)
	defer cancel()
	if err := b.removeDirs(ctx, b.dir); err != nil {
		b.c.log.Warn("directory of a build not removed", "dir", b.dir, "err", err)
	}
}

// sweep removes what lost builds of the builder left on the worker, once in a
// connection.
func (b *Build) sweep(ctx context.Context) error {
	c := b.c
	c.sweeping.Lock()
	defer c.sweeping.Unlock()
	if c.swept[b.root] {
		return nil
	}
	names, err := b.listDir(ctx, b.root)
	if err != nil {
		return err
	}
	var left []string
	for _, name := range names {
		if strings.HasPrefix(name, freshPrefix) {
			left = append(left, c.facts.paths.join(b.root, name))
		}
	}
	if len(left) > 0 {
		if err := b.removeDirs(ctx, left...); err != nil {
			if errors.Is(err, worker.ErrLost) || ctx.Err() != nil {
				return err
			}
			c.log.Warn("left-over directories not removed", "dir", b.root, "err", err)
		}
	}
	c.swept[b.root] = true
	return nil
}

// retain moves the directory of a failed build aside and returns where it is; the
// oldest of those go. If it cannot be moved, it is not retained.
func (b *Build) retain(ctx context.Context) (string, error) {
	p := b.c.facts.paths
	kept := p.join(b.root, fmt.Sprintf("%s%d-%s", failedPrefix, b.spec.Number, b.spec.Token))
	argv := []string{"mv", "--", b.dir, kept}
	if p.nt {
		argv = []string{"cmd.exe", "/c", "move", b.dir, kept}
	}
	if _, err := b.tool(ctx, worker.Command{Argv: argv, Dir: b.root, Env: b.c.Environ()}); err != nil {
		return "", fmt.Errorf("set the directory aside: %w", err)
	}
	return kept, b.thin(ctx)
}

// thin removes the oldest retained directories beyond what may be kept.
func (b *Build) thin(ctx context.Context) error {
	names, err := b.listDir(ctx, b.root)
	if err != nil {
		return err
	}
	var old []string
	for _, name := range oldest(names, b.c.w.l.o.KeepFailed) {
		old = append(old, b.c.facts.paths.join(b.root, name))
	}
	if len(old) == 0 {
		return nil
	}
	return b.removeDirs(ctx, old...)
}

// makeDir makes a directory and those above it.
func (b *Build) makeDir(ctx context.Context, dir string) error {
	_, err := b.do(ctx, "mkdir", wire.Map{{Key: "paths", Value: []any{dir}}}, dir)
	return err
}

// removeDirs removes directories with all that is in them.
func (b *Build) removeDirs(ctx context.Context, dirs ...string) error {
	paths := make([]any, len(dirs))
	for i, dir := range dirs {
		paths[i] = dir
	}
	_, err := b.do(ctx, "rmdir", wire.Map{
		{Key: "paths", Value: paths}, {Key: "timeout", Value: int64(removeTime / time.Second)}, {Key: "logEnviron", Value: false},
	}, dirs[0])
	return err
}

// listDir returns the names in a directory; none if it does not exist.
func (b *Build) listDir(ctx context.Context, dir string) ([]string, error) {
	out, err := b.do(ctx, "listdir", wire.Map{{Key: "path", Value: dir}}, dir)
	if failed := (*rcError)(nil); errors.As(err, &failed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := wire.Texts(out.values["files"])
	if err != nil {
		return nil, fmt.Errorf("listdir %s: %w", dir, err)
	}
	return names, nil
}

// rcError says that a command of the worker's own failed.
type rcError struct {
	what, path string
	rc         int
	said       string
}

func (e *rcError) Error() string {
	s := fmt.Sprintf("%s %s: error %d", e.what, e.path, e.rc)
	if e.said != "" {
		s += ": " + e.said
	}
	return s
}

// do runs a command of the worker's own, about a path. An exit code other than 0
// is an rcError.
func (b *Build) do(ctx context.Context, name string, args wire.Map, path string) (outcome, error) {
	var said tail
	out, err := b.c.exec(ctx, order{lane: b.lane, name: name, args: args, take: func(it item) error {
		if it.name == "header" || it.name == "stderr" {
			said.add(it.text)
		}
		return nil
	}})
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", name, path, err)
	}
	if out.stopped {
		return out, fmt.Errorf("%s %s: %w", name, path, context.Cause(ctx))
	}
	rc, err := out.rc()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", name, path, err)
	}
	if rc != 0 {
		return out, &rcError{name, path, rc, said.lastLine()}
	}
	return out, nil
}

// tail keeps the end of a text.
type tail struct{ text []byte }

const maxTail = 4 << 10

func (t *tail) add(p []byte) {
	t.text = append(t.text, p[max(0, len(p)-maxTail):]...)
	t.text = t.text[max(0, len(t.text)-maxTail):]
}

// lastLine returns the last line that says something.
func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(t.text), "�")), "\n")
	return shorten(strings.TrimSpace(lines[len(lines)-1]))
}
