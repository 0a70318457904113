package config

import (
	"testing"

	"bothy/runner/build"

	"github.com/google/go-cmp/cmp"
)

func TestReportWants(t *testing.T) {
	const none, success, warnings, failure = build.None, build.Success, build.Warnings, build.Failure
	const skipped, exception, retry, cancelled = build.Skipped, build.Exception, build.Retry, build.Cancelled
	all := []build.Result{none, success, warnings, failure, skipped, exception, retry, cancelled}
	for mode, want := range map[ReportMode]func(result, before build.Result) bool{
		ModeAll: func(r, _ build.Result) bool {
			return r == success || r == warnings || r == failure || r == exception || r == cancelled
		},
		ModePassing:   func(r, _ build.Result) bool { return r == success },
		ModeWarnings:  func(r, _ build.Result) bool { return r == warnings },
		ModeFailing:   func(r, _ build.Result) bool { return r == failure },
		ModeException: func(r, _ build.Result) bool { return r == exception },
		ModeCancelled: func(r, _ build.Result) bool { return r == cancelled },
		ModeProblem:   func(r, before build.Result) bool { return r == failure && before != failure && before != none },
		ModeChange:    func(r, before build.Result) bool { return before != none && r != before && r != retry && r != none },
		"unknown":     func(_, _ build.Result) bool { return false },
	} {
		r := Report{Mode: []ReportMode{mode}}
		for _, result := range all {
			for _, before := range all {
				if got := r.Wants("test", nil, result, before); got != want(result, before) {
					t.Errorf("mode %s wants %s after %s: %v", mode, result, before, got)
				}
			}
		}
	}
}

func TestReportIsForBuilders(t *testing.T) {
	for _, c := range []struct {
		builders, tags []string
		want           bool
	}{
		{nil, nil, true},
		{[]string{"test"}, nil, true},
		{[]string{"other"}, nil, false},
		{nil, []string{"slow", "fast"}, true},
		{nil, []string{"slow"}, false},
		{[]string{"test"}, []string{"slow"}, false},
		{[]string{"other", "test"}, []string{"fast"}, true},
	} {
		r := Report{Builders: c.builders, Tags: c.tags, Mode: []ReportMode{ModeProblem, ModeAll}}
		if got := r.Wants("test", []string{"fast", "unit"}, build.Success, build.None); got != c.want {
			t.Errorf("builders %q, tags %q: %v", c.builders, c.tags, got)
		}
	}
}

func TestRecipients(t *testing.T) {
	users := []string{"Ana <ana@example.com>", "ben@example.com", "cleo", " dan ", "Eve Mallory", "", "x\r\nBcc: y@example.com", "TEAM@example.com", "ana@example.com", "a@@b"}
	for _, c := range []struct {
		report Report
		want   []string
	}{
		{Report{To: []string{"team@example.com"}}, []string{"team@example.com"}},
		{Report{To: []string{"team@example.com"}, SendToInterestedUsers: true}, []string{"team@example.com", "Ana <ana@example.com>", "ben@example.com"}},
		{
			Report{SendToInterestedUsers: true, Lookup: "@example.org"},
			[]string{"Ana <ana@example.com>", "ben@example.com", "cleo@example.org", "dan@example.org", "TEAM@example.com"},
		},
		{Report{Lookup: "example.org"}, nil},
	} {
		before := append([]string(nil), c.report.To...)
		if diff := cmp.Diff(c.want, c.report.Recipients(users)); diff != "" {
			t.Errorf("%+v: %s", c.report, diff)
		}
		if diff := cmp.Diff(before, c.report.To); diff != "" {
			t.Errorf("the configuration changed: %s", diff)
		}
	}
}

func TestSecretNames(t *testing.T) {
	for _, name := range []string{"a", "bot-solaris", "team/ci/key", "ci/db|password", "a.b", "..a", "user@example.com", "grün"} {
		if err := CheckSecretName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	long := make([]byte, maxSecretName+1)
	for i := range long {
		long[i] = 'x'
	}
	for _, name := range []string{"", "/a", "a/", "a//b", ".", "..", "a/../b", "-x", "a\nb", "a\x00b", "\xff", string(long)} {
		if err := CheckSecretName(name); err == nil {
			t.Errorf("%q: want an error", name)
		}
	}
}
