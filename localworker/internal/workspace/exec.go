package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"bothy/runner/worker"
)

const (
	// maxGitOutput bounds what is read of one git command; 256 MiB hold the names
	// of some million files.
	maxGitOutput = 256 << 20
	// gitTimeout is how long git may say nothing.
	// Buildbot: the default timeout of a source step.
	gitTimeout = 20 * time.Minute
	// gitGrace is the time from TERM to KILL: git removes its lock files at TERM.
	gitGrace = 3 * time.Second
)

// gitLocal are the variables that point git at a repository or change its
// configuration ("git rev-parse --local-env-vars"). They are set when Bothy is
// itself started by git, in a hook for instance, and mean another repository.
func gitLocal(name string) bool {
	switch name {
	case "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT",
		"GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE",
		"GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_PREFIX",
		"GIT_SHALLOW_FILE", "GIT_COMMON_DIR", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE":
		return true
	}
	return false
}

// gitEnv returns the environment for git: it never asks a person anything, speaks
// English, since some of its messages are looked at, and learns nothing of
// Bothy's own settings, secrets among them.
func gitEnv(base []string) []string {
	if base == nil {
		base = os.Environ()
	}
	env := make([]string, 0, len(base)+2)
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		if !gitLocal(name) && !strings.HasPrefix(name, "BOTHY_") && name != "GIT_TERMINAL_PROMPT" && name != "LC_ALL" && name != "LANGUAGE" {
			env = append(env, kv)
		}
	}
	return append(env, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
}

// gitError is a git command that failed.
type gitError struct {
	what string // the command, such as "fetch"
	line string // what git said on stderr, or what ended it
	code int
}

func (e *gitError) Error() string { return "git " + e.what + ": " + e.line }

// gitOutput collects what git writes.
type gitOutput struct {
	mu     sync.Mutex
	stdout bytes.Buffer
	stderr []byte // the end of it
}

var errMuchOutput = errors.New("git wrote more than expected")

func (o *gitOutput) Output(_ string, s worker.Stream, p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch s {
	case worker.Stdout:
		if o.stdout.Len()+len(p) > maxGitOutput {
			return errMuchOutput
		}
		o.stdout.Write(p)
	case worker.Stderr:
		o.stderr = append(o.stderr, p...)
		if over := len(o.stderr) - 8<<10; over > 0 {
			o.stderr = append(o.stderr[:0], o.stderr[over:]...)
		}
	}
	return nil
}

// complaint returns the line of git's stderr that says what went wrong: the last
// "fatal:" or "error:", or simply the last. When all git knows is that a transport
// ended, it is what the transport (ssh) said before. Progress overwrites itself
// with "\r".
func complaint(stderr []byte) string {
	last := ""
	for line := range strings.FieldsFuncSeq(string(stderr), func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		switch {
		case line == "fatal: Could not read from remote repository." && last != "":
			return last
		case strings.HasPrefix(line, "fatal:"), strings.HasPrefix(line, "error:"):
			last = line
		case line != "" && !strings.HasPrefix(last, "fatal:") && !strings.HasPrefix(last, "error:"):
			last = line
		}
	}
	return last
}

// runGit runs one git command in dir and returns its stdout. what names it in
// errors. If it exits with a status other than 0 the error is a [*gitError].
func runGit(ctx context.Context, run Exec, env []string, dir, what string, args ...string) ([]byte, error) {
	argv := append([]string{
		"git",
		"-c", "protocol.ext.allow=never", // ext:: URLs are commands
		"-c", "core.fsmonitor=false", // a program named by the repository's own configuration
		"-c", "safe.directory=*", // in containers work trees often belong to another user; we run its code anyway
		"-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false",
		"-c", "advice.detachedHead=false",
	}, args...)
	var out gitOutput
	exit, err := run(ctx, worker.Command{
		Argv: argv, Dir: dir, Env: env, Timeout: gitTimeout, SigtermTime: gitGrace, Label: "git",
	}, &out)
	switch {
	case err != nil:
		return nil, fmt.Errorf("git %s: %w", what, err)
	case exit.SinkErr != nil:
		return nil, fmt.Errorf("git %s: %w", what, exit.SinkErr)
	case exit.Stopped == worker.Cancelled && ctx.Err() != nil:
		return nil, fmt.Errorf("git %s: %w", what, context.Cause(ctx))
	case exit.Stopped != worker.NotStopped:
		return nil, &gitError{what, fmt.Sprintf("ended after %v without output", gitTimeout), -1}
	case exit.Signal != "":
		return nil, &gitError{what, "killed by " + exit.Signal, -1}
	case exit.Code != 0:
		line := complaint(out.stderr)
		if line == "" {
			line = fmt.Sprintf("exit status %d", exit.Code)
		}
		return nil, &gitError{what, line, exit.Code}
	}
	return out.stdout.Bytes(), nil
}
