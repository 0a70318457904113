package store

import (
	"time"

	"bothy/runner/build"
	"bothy/runner/worker"
)

// RequestState says where a request is in its life.
type RequestState int8

// The states of a request.
const (
	Pending RequestState = iota
	Running
	Done
)

// String returns the state in lower case.
func (s RequestState) String() string {
	switch s {
	case Pending:
		return "pending"
	case Running:
		return "running"
	case Done:
		return "done"
	}
	return "unknown"
}

// Request is something somebody wants built.
type Request struct {
	ID          int64 // > 0, never used twice
	Builder     string
	Priority    int
	Submitted   time.Time
	Reason      string
	Properties  build.Properties
	CollapseKey string // "": never collapsed
	Worker      string // the only worker that may run it; "": any
	Session     string // the terminal that asked for it; "": none
	Spec        []byte // the engine's own, opaque here
	State       RequestState
	Result      build.Result // None until Done
	Completed   time.Time    // zero until Done
	Attempts    int          // builds started for it
	Retries     int          // attempts that count against max_retries
	Memory      int64        // bytes it needs since an attempt ran out of memory; 0: as its builder
	Replaced    int64        // the request it was collapsed into; 0: none
	Text        string
}

// Build is one attempt at a request.
type Build struct {
	ID         int64 // > 0
	Request    int64
	Builder    string
	Number     int64 // counts within the builder, from 1
	Worker     string
	Token      worker.Token // an older one is refused
	Attempt    int          // from 1
	Started    time.Time
	Completed  time.Time    // zero while it runs
	Result     build.Result // None while it runs
	Text       string
	Cause      string // of an EXCEPTION: a [build.Cause]
	Dir        string // the build's directory
	Kept       string // where the directory was moved to be looked at; "": not kept
	Properties build.Properties
	StepsHash  string        // names the list of steps
	PeakMemory int64         // bytes; 0: not known
	CPU        time.Duration // user and system
	Ended      []string      // left-over processes that had to be ended
}

// Step is one step of a build, keyed by Build and Number.
type Step struct {
	Build     int64
	Number    int
	Name      string
	Started   time.Time
	Completed time.Time    // zero while it runs
	Result    build.Result // None while it runs
	Text      string
	Hidden    bool
}

// Log says where the lines of a log are; they are never in the database.
type Log struct {
	ID        int64 // > 0, never used twice
	Build     int64
	Step      int
	Name      string
	Ref       string // for package logs
	Lines     int64
	Bytes     int64
	Truncated bool // by the cap on its size
	Complete  bool
}

// Worker is a worker that the configuration names or once named.
type Worker struct {
	ID         int64 // > 0, never used twice
	Name       string
	Kind       string
	Configured time.Time   // when the configuration first named it
	Removed    time.Time   // zero: the configuration names it
	LastSeen   time.Time   // zero: never
	State      []byte      // JSON of package worker, opaque here
	Info       worker.Info // what it last said about itself
}

// Builder is a builder that the configuration names or once named.
type Builder struct {
	ID          int64 // > 0, never used twice
	Name        string
	Configured  time.Time // when the configuration first named it
	Removed     time.Time // zero: the configuration names it
	Description string
	Tags        []string
}

// Scheduler is what a person may change about a scheduler.
type Scheduler struct {
	ID      int64 // > 0, never used twice
	Name    string
	Enabled bool
	Changed time.Time // zero: never
	Who     string    // changed it last
	Reason  string
}

// MailState says how far a mail has come.
type MailState int8

// The states of a mail.
const (
	MailQueued    MailState = iota
	MailSending             // its text goes to the relay
	MailUncertain           // the connection broke after its text; it is sent again
	MailSent
	MailFailed // given up
)

var mailStates = [...]string{"queued", "sending", "uncertain", "sent", "failed"}

// String returns the state in lower case.
func (s MailState) String() string {
	if s < 0 || int(s) >= len(mailStates) {
		return "unknown"
	}
	return mailStates[s]
}

// Mail is a message to one recipient.
type Mail struct {
	ID        int64  // > 0, never used twice
	Key       string // unique: of what happened, and to whom it is told
	Kind      string
	Worker    string // "": of none
	Build     int64  // 0: of none
	Recipient string
	Created   time.Time
	NotBefore time.Time // held so long for others that go with it
	NextTry   time.Time
	Done      time.Time // zero until it is settled
	State     MailState
	Attempts  int
	MessageID string
	Error     string
	Payload   []byte // what it says, opaque here
}

// Entry is one line of the journal: a worker that changed its state, or
// something a person did. Entries never change.
type Entry struct {
	ID     int64 // > 0, never used twice
	Time   time.Time
	Kind   string // of what: worker, build, request, builder, scheduler, master
	Name   string
	Ref    int64 // its id; 0: none
	Build  int64 // the build that caused it; 0: none
	What   string
	Who    string
	Reason string
	Detail []byte // JSON, opaque here
}

// Recovered is what a new master takes up.
type Recovered struct {
	// ID is random, made with the database.
	ID string
	// Epoch is that of this master, already on disk.
	Epoch int64
	// NextRequest, NextBuild and the like are ids that were never given out,
	// not even to a row that a crash kept from being committed in the case of logs.
	NextRequest, NextBuild, NextLog                             int64
	NextWorker, NextBuilder, NextScheduler, NextMail, NextEntry int64
	// Numbers holds the last build number of each builder; a builder that is
	// missing starts at 1.
	Numbers map[string]int64
	// Requests are those that are not Done, oldest first.
	Requests []Request
	// Unfinished are the builds that an earlier master was running, oldest first.
	Unfinished []Unfinished
	// Logs are those that are not complete, in the order of their ids: their
	// builds are unfinished, or were given up and are over.
	Logs []Log
	// Workers, Builders and Schedulers are all that were ever known, in the
	// order of their ids.
	Workers    []Worker
	Builders   []Builder
	Schedulers []Scheduler
	// Mails are those that are not Done, oldest first.
	Mails []Mail
}

// Unfinished is a build without a result, with its steps that have none.
type Unfinished struct {
	Build Build
	Steps []Step
}
