package config

import (
	"net/mail"
	"slices"
	"strings"
)

func (k *checker) checkReports() {
	var tags []string
	for i := range k.c.Builders {
		tags = append(tags, k.c.Builders[i].Tags...)
	}
	for i := range k.c.Reports {
		r := &k.c.Reports[i]
		at := top("reports").index(i)
		k.known(at.key("builders"), "builder", r.Builders, k.builders)
		for j, tag := range r.Tags {
			if !slices.Contains(tags, tag) {
				k.warnf(at.key("tags").index(j), "no builder has the tag %q", tag)
			}
		}
		for j, m := range r.Mode {
			oneOf(k, at.key("mode").index(j), m, ModeAll, ModePassing, ModeWarnings, ModeFailing, ModeException, ModeCancelled, ModeProblem, ModeChange)
		}
		switch r.Kind {
		case ReportMail:
			k.mailReport(at, r)
		case ReportWebhook:
			k.httpURL(at.key("url"), r.URL)
			k.secret(at.key("secret"), r.Secret)
			atLeast(k, at.key("timeout"), r.Timeout, 0)
		case ReportCommand:
			if r.Run.IsZero() {
				k.missing(at.key("run"), "what to run")
			}
			k.runText(at.key("run"), r.Run)
			k.env(at.key("env"), r.Env)
			atLeast(k, at.key("timeout"), r.Timeout, 0)
		case "":
			k.missing(at.key("kind"), "the kind")
		default:
			oneOf(k, at.key("kind"), r.Kind, ReportMail, ReportWebhook, ReportCommand)
		}
	}
}

func (k *checker) mailReport(at *pathTo, r *Report) {
	if len(r.To) == 0 && !r.SendToInterestedUsers {
		k.errorf(at.key("to"), "who gets the mail is missing: to, or send_to_interested_users = true")
	}
	k.mailAddresses(at.key("to"), r.To)
	switch {
	case r.Lookup == "":
	case !isDomain(r.Lookup):
		k.errorf(at.key("lookup"), "%q is not a domain, such as \"example.com\"", r.Lookup)
	case !r.SendToInterestedUsers:
		k.warnf(at.key("lookup"), "nobody is looked up: send_to_interested_users is off")
	}
	k.template(at.key("subject"), r.Subject)
}

// isDomain reports whether s may stand behind the @ of an address; an @ before
// it is allowed, as Buildbot writes it.
func isDomain(s string) bool {
	s = strings.TrimPrefix(s, "@")
	a, err := mail.ParseAddress("x@" + s)
	return err == nil && a.Address == "x@"+s && a.Name == ""
}

// mailAddresses checks addresses, and that none is there twice: the second mail
// would not be sent.
func (k *checker) mailAddresses(at *pathTo, list []string) {
	seen := map[string]bool{}
	for i, s := range list {
		if !k.mailAddress(at.index(i), s) {
			continue
		}
		a, err := mail.ParseAddress(s)
		if err != nil {
			continue
		}
		address := strings.ToLower(a.Address)
		if seen[address] {
			k.errorf(at.index(i), "%q is named twice", a.Address)
		}
		seen[address] = true
	}
}
