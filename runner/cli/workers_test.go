package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a person sees of the workers in a window of 80 columns.
func TestWorkersTable(t *testing.T) {
	const answer = `[
		{"name": "bot-1", "kind": "local", "link": "connected", "connected": true, "builds": [7], "max_builds": null, "last_seen": null,
			"workerinfo": {"os_id": "debian", "os_version_id": "12", "version": "v0.3.0", "address": null}},
		{"name": "bot-2", "kind": "local", "link": "connected", "connected": true, "paused": true, "builds": [], "max_builds": 2,
			"blocked": "paused by ana: new disk at noon", "workerinfo": {"os_id": "debian", "os_version_id": "12", "version": "v0.3.0"}},
		{"name": "bot-3", "kind": "local", "link": "connected", "connected": true, "builds": [], "max_builds": 9,
			"quarantine": {"phase": "held", "until": 1800000010}, "blocked": "quarantined for 10 s more: mirror #1: worker bot-3 could not prepare the build: git: no such repository",
			"workerinfo": {"os_id": "debian", "os_version_id": "12", "version": "v0.3.0"}},
		{"name": "bot-solaris", "kind": "remote", "link": "away", "connected": false, "builds": [], "max_builds": 2, "last_seen": 1799992500,
			"missing": true, "blocked": "not connected since 2026-11-23 23:16:08",
			"workerinfo": {"os_id": null, "os_version_id": null, "version": "3.7.0", "address": "192.0.2.17:49152"}},
		{"name": "v6", "kind": "remote", "link": "connected", "connected": true, "builds": [8, 9], "max_builds": 2, "last_seen": 1799992500,
			"workerinfo": {"os_id": "alpine", "os_version_id": "3.20", "version": "v0.3.0", "address": "[2001:db8::7]:49152"}},
		{"name": "never", "kind": "remote", "link": "away", "connected": false, "builds": [], "max_builds": null, "last_seen": null, "workerinfo": {}},
		{"name": "gone", "kind": "local", "link": "stopped", "removed_at": 1799992500, "workerinfo": {}}
	]`
	var all []workerRow
	if err := json.Unmarshal([]byte(answer), &all); err != nil {
		t.Fatal(err)
	}
	table := workersTable(all, 4, time.Unix(1800000000, 0))
	const want = `
WORKER       STATE             LOAD  LAST SEEN  OS           ADDRESS      VERSI…
bot-1        connected         1/4   now        debian 12    local        v0.3.0
bot-2        paused            0/2   now        debian 12    local        v0.3.0
    paused by ana: new disk at noon
bot-3        quarantined 10 s  0/4   now        debian 12    local        v0.3.0
    quarantined for 10 s more: mirror #1: worker bot-3 could not prepare the bu…
bot-solaris  missing           0/2   2h05m ago               192.0.2.17   3.7.0
    not connected since 2026-11-23 23:16:08
v6           connected         2/2   now        alpine 3.20  2001:db8::7  v0.3.0
never        offline           0     never                   remote
`
	if d := cmp.Diff(want, "\n"+string(table.text(80, false))); d != "" {
		t.Error(d)
	}
}

// A build's time is exact if the master says it, else what its whole seconds tell.
func TestBuildTook(t *testing.T) {
	now := time.Unix(1800000000, 0)
	for answer, want := range map[string]string{
		`{"complete": true, "started_at": 1799999000, "complete_at": 1799999001, "duration_s": 0.045}`: "45ms",
		`{"complete": true, "started_at": 1799999000, "complete_at": 1799999001, "duration_s": null}`:  "1.0s",
		`{"complete": false, "started_at": 1799999990, "complete_at": null}`:                           "10s",
		`{"complete": false, "started_at": 1799999990, "complete_at": null, "duration_s": 9.4321}`:     "9.4s",
	} {
		var b buildRow
		if err := json.Unmarshal([]byte(answer), &b); err != nil {
			t.Fatal(err)
		}
		if got := b.took(now); got != want {
			t.Errorf("%s: %s, want %s", answer, got, want)
		}
	}
}
