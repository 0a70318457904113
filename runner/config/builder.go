package config

import "time"

// Builder is one entry of [[builders]]: a list of steps and where it may run.
type Builder struct {
	// Name is unique, at most 100 characters, and safe in paths and URLs:
	// letters, digits and . _ - + only, not beginning with _ . or -.
	Name        string
	Description string
	Workers     []string // names of workers or of groups of them; default: all
	Tags        []string
	Env         map[string]string // for every step; interpolated

	Properties        map[string]any
	DefaultProperties map[string]any // only fill gaps

	Locks []LockAccess // held for the whole build

	CPUs float64 // what one build needs; default 1
	// Memory is what one build needs, in bytes. Default 0: learned from history.
	Memory int64
	// MaxRetries is how often a build is run again after it was lost. Default 3,
	// Off: never.
	MaxRetries int
	// NoCollapse keeps every request: an older pending request is not replaced
	// by a newer one of the same kind. In the file: collapse_requests = false.
	NoCollapse bool
	Priority   int  // of requests that don't say; higher first; default 0
	Exclusive  bool // one build of this builder per worker

	Source    Source
	Workspace Workspace // default WorkspaceFresh
	// CleanupTime is how long always_run steps may take after a cancel. Default
	// 1 min.
	CleanupTime time.Duration

	Steps []Step
}

// Source says where steps find files.
type Source struct {
	Kind   SourceKind // default SourceAuto
	URL    string     // for SourceGit
	Branch string     // for SourceGit; "" is the remote's default
}

// SourceKind is a way to fill a build's directory.
type SourceKind string

// The kinds of source.
const (
	// SourceAuto is SourceTree for "bothy run", SourceCopy for "bothy serve" on
	// local workers, and SourceNone on others.
	SourceAuto SourceKind = "auto"
	SourceTree SourceKind = "tree" // the configuration's directory, in place
	SourceCopy SourceKind = "copy" // a snapshot of it: tracked, dirty and untracked files, not ignored ones
	SourceGit  SourceKind = "git"  // a clone, kept and updated on the worker
	SourceNone SourceKind = "none" // an empty directory
)

// Git returns the source that clones url. An empty branch is the remote's
// default.
func Git(url, branch string) Source {
	return Source{Kind: SourceGit, URL: url, Branch: branch}
}

// Workspace says in which directory a build starts.
type Workspace string

// The kinds of workspace.
const (
	WorkspaceFresh Workspace = "fresh" // a new one
	WorkspaceKeep  Workspace = "keep"  // the one of the builder's last build on this worker
)

// Lock is one entry of [[locks]].
type Lock struct {
	Name     string
	MaxCount int       // how much of it there is; default 1
	Scope    LockScope // default LockMaster
	// MaxCountForWorker replaces MaxCount for the named workers; for LockWorker
	// only.
	MaxCountForWorker map[string]int
}

// LockScope says what a lock is counted for.
type LockScope string

// The scopes of a lock.
const (
	LockMaster LockScope = "master" // once for all workers
	LockWorker LockScope = "worker" // for each worker by itself
)

// LockAccess is a use of a lock by a builder or a step.
type LockAccess struct {
	Name  string
	Mode  LockMode // default LockCounting
	Count int      // taken in LockCounting mode; default 1, Off: none, so it is always granted
}

// LockMode is a way to hold a lock.
type LockMode string

// The ways to hold a lock.
const (
	LockCounting  LockMode = "counting"
	LockExclusive LockMode = "exclusive" // nobody else holds any of it
)
