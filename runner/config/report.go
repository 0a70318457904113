package config

import (
	"net/mail"
	"slices"
	"strings"
	"time"

	"bothy/runner/build"
)

// Report is one entry of [[reports]]: who is told about finished builds.
type Report struct {
	Kind     ReportKind
	Builders []string // default: all
	Tags     []string // only builders with one of these; default: any
	// Mode says which results count; default failing, problem and change. In the
	// file a single "warnings" stands for failing and warnings, as in Buildbot.
	Mode []ReportMode

	// To are mail addresses, for ReportMail; required unless
	// SendToInterestedUsers.
	To []string
	// SendToInterestedUsers sends, for ReportMail, to the authors of the changes
	// in a build and its owners too. Off by default, unlike in Buildbot: to mail
	// whoever wrote a commit is for the person in charge to decide.
	SendToInterestedUsers bool
	// Lookup is the domain of interested users that are named without an address.
	// Default: they get no mail.
	Lookup  string
	Subject string // for ReportMail; interpolated; default: says builder and result
	AddLogs bool   // for ReportMail: attach the logs of failed steps

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

// Wants reports whether a finished build is one to tell about: of one of the
// builders, and with a result that one of the modes counts. before is the result
// of the builder's last build before it that did not end as RETRY, [build.None]
// if there is none; such a first build is neither a problem nor a change. RETRY
// is never told. Buildbot: BuildStatusGenerator, is_message_needed_by_results.
func (r *Report) Wants(builder string, tags []string, result, before build.Result) bool {
	switch {
	case result == build.None || result == build.Retry:
		return false
	case len(r.Builders) > 0 && !slices.Contains(r.Builders, builder):
		return false
	case len(r.Tags) > 0 && !slices.ContainsFunc(r.Tags, func(t string) bool { return slices.Contains(tags, t) }):
		return false
	}
	return slices.ContainsFunc(r.Mode, func(m ReportMode) bool { return m.counts(result, before) })
}

func (m ReportMode) counts(result, before build.Result) bool {
	switch m {
	case ModeChange:
		return before != build.None && before != result
	case ModeProblem:
		return result == build.Failure && before != build.None && before != build.Failure
	case ModePassing:
		return result == build.Success
	case ModeWarnings:
		return result == build.Warnings
	case ModeFailing:
		return result == build.Failure
	case ModeException:
		return result == build.Exception
	case ModeCancelled:
		return result == build.Cancelled
	case ModeAll: // Buildbot: failing, passing, warnings, exception, cancelled
		return result != build.Skipped
	}
	return false
}

// Recipients returns the addresses that a mail report goes to, each once: those
// of the configuration, then those of the interested users, if they are to be
// told. Users are authors and owners, named "NAME <ADDRESS>", by address, or, if
// there is a Lookup, by the part of the address before the @. Others are left
// out: they come from the outside.
func (r *Report) Recipients(interested []string) []string {
	all := r.To
	if r.SendToInterestedUsers {
		all = slices.Clone(all)
		for _, user := range interested {
			all = append(all, r.addressOf(user))
		}
	}
	var list []string
	seen := map[string]bool{}
	for _, s := range all {
		a, err := mail.ParseAddress(s)
		if err != nil || !isOneLine(s) {
			continue
		}
		if key := strings.ToLower(a.Address); !seen[key] {
			seen[key] = true
			list = append(list, s)
		}
	}
	return list
}

// addressOf returns a user's address, or something that is none.
func (r *Report) addressOf(user string) string {
	user = strings.TrimSpace(user)
	if r.Lookup == "" || strings.Contains(user, "@") {
		return user
	}
	return user + "@" + strings.TrimPrefix(r.Lookup, "@")
}
