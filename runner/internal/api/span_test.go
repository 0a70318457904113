package api

import (
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/internal/store"
)

// Lengths of time are seconds to the millisecond, also of what is not over.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		time.Sleep(1500 * time.Millisecond) // of the bubble's clock
		builds, steps, requests := buildsResource(), stepsResource(), requestsResource()
		request := func(r store.Request, claimed time.Duration) value {
			row := listedRequest(store.ListedRequest{Request: r})
			if claimed > 0 {
				row.claimedAt = began.Add(claimed)
			}
			return requests.fields[requests.byName["waited_s"]].get(&row)
		}
		build := func(b store.Build) value {
			return builds.fields[builds.byName["duration_s"]].get(&buildRow{store.ListedBuild{Build: b}})
		}
		step := func(s store.Step) value { return steps.fields[steps.byName["duration_s"]].get(&s) }
		for i, c := range []struct {
			got  value
			want string
		}{
			{build(store.Build{Started: began, Completed: began.Add(184 * time.Millisecond)}), "0.184"},
			{build(store.Build{Started: began, Completed: began.Add(time.Hour + time.Microsecond)}), "3600"},
			{build(store.Build{Started: began, Completed: began.Add(-time.Second)}), "0"}, // the clock was set back
			{build(store.Build{Started: began}), "1.5"},
			{step(store.Step{}), "null"},
			{step(store.Step{Started: began, Completed: began.Add(time.Millisecond)}), "0.001"},
			{step(store.Step{Started: began}), "1.5"},
			{request(store.Request{Submitted: began}, 0), "1.5"},
			{request(store.Request{Submitted: began, State: store.Running}, 20*time.Millisecond), "0.02"},
			{request(store.Request{Submitted: began, State: store.Done, Completed: began.Add(time.Second)}, 30*time.Millisecond), "0.03"},
			{request(store.Request{Submitted: began, State: store.Done, Completed: began.Add(time.Second)}, 0), "1"},
		} {
			if got := string(appendValue(nil, span, c.got)); got != c.want {
				t.Errorf("%d: %s, want %s", i, got, c.want)
			}
		}
	})
}
