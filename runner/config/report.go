package config

import "time"

// Report is one entry of [[reports]]: who is told about finished builds.
type Report struct {
	Kind     ReportKind
	Builders []string // default: all
	Tags     []string // only builders with one of these; default: any
	// Mode says which results count; default failing, problem and change.
	Mode []ReportMode

	To      []string // for ReportMail: addresses; required
	Subject string   // for ReportMail; interpolated; default: says builder and result
	AddLogs bool     // for ReportMail: attach the logs of failed steps

	URL    string // for ReportWebhook; required
	Secret Secret // for ReportWebhook: signs the message with HMAC-SHA-256

	Run     Run               // for ReportCommand; required; interpolated
	Env     map[string]string // for ReportCommand; interpolated
	Timeout time.Duration     // for ReportCommand and ReportWebhook; default 1 min
}

// ReportKind is a way to tell.
type ReportKind string

// The kinds of report.
const (
	ReportMail    ReportKind = "mail"
	ReportWebhook ReportKind = "webhook"
	ReportCommand ReportKind = "command"
)

// ReportMode is a set of results to be told about.
type ReportMode string

// The modes of a report, as Buildbot's.
const (
	ModeAll       ReportMode = "all"
	ModePassing   ReportMode = "passing"
	ModeWarnings  ReportMode = "warnings"
	ModeFailing   ReportMode = "failing"
	ModeException ReportMode = "exception"
	ModeCancelled ReportMode = "cancelled"
	ModeProblem   ReportMode = "problem" // failed, while the build before did not
	ModeChange    ReportMode = "change"  // a result other than that of the build before
)
