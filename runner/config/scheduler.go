package config

import "time"

// Scheduler is one entry of [[schedulers]]: it turns time, changes or people
// into build requests.
type Scheduler struct {
	Name       string
	Kind       SchedulerKind
	Builders   []string       // required
	Properties map[string]any // of the requests
	Priority   int            // of the requests; default 0: the builder's
	// Reason is that of the requests; default: says what caused them. For
	// SchedulerForce it is Force.Reason.
	Reason string

	Cron      Cron      // for SchedulerCron
	Periodic  Periodic  // for SchedulerPeriodic
	Changes   Changes   // for SchedulerGit, SchedulerWebhook and SchedulerFiles
	Git       GitPoll   // for SchedulerGit
	Webhook   Webhook   // for SchedulerWebhook
	Files     FileWatch // for SchedulerFiles
	Dependent Dependent // for SchedulerDependent
	Force     Force     // for SchedulerForce
}

// SchedulerKind is what a scheduler reacts to.
type SchedulerKind string

// The kinds of scheduler.
const (
	SchedulerCron      SchedulerKind = "cron"
	SchedulerPeriodic  SchedulerKind = "periodic"
	SchedulerGit       SchedulerKind = "git"       // new commits in a repository
	SchedulerWebhook   SchedulerKind = "webhook"   // a forge's message
	SchedulerFiles     SchedulerKind = "files"     // files below the configuration's directory
	SchedulerDependent SchedulerKind = "dependent" // the success of another scheduler's builds
	SchedulerForce     SchedulerKind = "force"     // a person
)

// Cron runs builds at certain times.
type Cron struct {
	Spec          string // minute hour day month weekday; required
	TimeZone      string // IANA name; default: the machine's
	OnlyIfChanged bool   // only after a change since the last run
	Branch        string // what to build; "" is the source's default
}

// Periodic runs builds at an interval.
type Periodic struct {
	Every         time.Duration // required
	OnlyIfChanged bool          // only after a change since the last run
	Branch        string        // what to build; "" is the source's default
}

// Changes says which changes count and how long to wait for more.
type Changes struct {
	Branches []string // patterns; default: the repository's default branch, for webhooks all
	// TreeStableTimer is how long the tree must be quiet before a build starts.
	// Default 0: at once; for files 1 s.
	TreeStableTimer time.Duration
	Important       []string // patterns of files that matter; default: all
	Ignore          []string // patterns of files that never matter
}

// GitPoll asks a repository for new commits.
type GitPoll struct {
	URL           string        // required
	PollInterval  time.Duration // default 10 min
	PollAtLaunch  bool          // ask at start too
	OnlyTags      bool          // look at tags instead of branches
	SSHKey        string        // private key file
	SSHKnownHosts string        // file
	Username      string
	Password      Secret
}

// Webhook listens to a forge at /change_hook/DIALECT.
type Webhook struct {
	Dialect      string // "github", "gitlab" or "base"; required
	Secret       Secret // shared with the forge
	PullRequests bool   // build pull or merge requests too
}

// FileWatch watches files below the configuration's directory.
type FileWatch struct {
	Paths []string // patterns; default: all files that are not ignored by git
}

// Dependent follows another scheduler.
type Dependent struct {
	Upstream string // name of the scheduler whose success starts builds; required
}
