//go:build linux

package crashtest

import (
	"fmt"
	"strings"
	"sync"

	"bothy/runner/build"
	"bothy/runner/internal/store"
	"bothy/runner/internal/testrig"
)

// verify reads what is on disk and checks it against what was promised.
func (r *rig) verify() {
	rec := r.Records(r.base)
	ran := map[string]bool{}
	for number := range strings.Lines(r.Read("ledger")) {
		ran[strings.TrimSpace(number)] = true
	}
	completions := map[int64]int{} // by request
	retries := 0
	builds := rec.Builds()
	for _, b := range builds {
		switch {
		case b.Result == build.None || b.Completed.IsZero():
			r.T.Errorf("%s #%d still shows %q", b.Builder, b.Number, b.Text)
		case b.Result == build.Retry:
			retries++
		default:
			completions[b.Request]++
			if b.Builder == "quick" && !ran[fmt.Sprint(b.Number)] {
				r.T.Errorf("quick #%d is %v, and did not run", b.Number, b.Result)
			}
		}
		r.verifyLogs(rec, b)
	}
	for id, n := range completions {
		if n > 1 {
			r.T.Errorf("request %d has %d completions", id, n)
		}
	}
	for id, builder := range r.accepted {
		q := rec.Request(id)
		if q.State != store.Done || q.Result != build.Success || q.Builder != builder || completions[id] != 1 {
			r.T.Errorf("accepted request %d (%s) is %v, %v, with %d completions: %s", id, builder, q.State, q.Result, completions[id], q.Text)
		}
	}
	r.T.Logf("%d requests accepted, %d submits without an answer, %d builds, %d of them cut off; processes lived on for %v at most",
		len(r.accepted), r.maybe, len(builds), retries, r.worst)
}

// verifyLogs compares the logs of a build with what its steps print: whole for
// finished builds, a beginning of it for those that were cut off.
func (r *rig) verifyLogs(rec *testrig.Records, b store.Build) {
	rows, err := rec.Store.Logs(r.T.Context(), b.ID)
	if err != nil {
		r.T.Error(err)
	}
	for _, row := range rows {
		if row.Name != "stdio" || b.Builder != "lines" {
			if !row.Complete {
				r.T.Errorf("%s #%d: log %d is not complete", b.Builder, b.Number, row.ID)
			}
			continue
		}
		got, want := rec.Text(b, row), printed()[row.Step-1]
		switch {
		case b.Result == build.Retry && !strings.HasPrefix(want, got):
			r.T.Errorf("%s #%d step %d was cut off, and its log is no beginning of what it prints", b.Builder, b.Number, row.Step)
		case b.Result != build.Retry && got != want:
			r.T.Errorf("%s #%d step %d: log has %d bytes, want %d", b.Builder, b.Number, row.Step, len(got), len(want))
		}
	}
}

// printed is what the steps of the builder "lines" print.
var printed = sync.OnceValue(func() [2]string {
	var a, b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&a, "line %d of the log of a build that is to be whole\n", i)
	}
	for i := range 20000 {
		fmt.Fprintln(&b, i+1)
	}
	return [2]string{a.String(), b.String()}
})
