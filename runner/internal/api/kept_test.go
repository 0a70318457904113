package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"bothy/runner/internal/store"
)

// kept gives build 1 of a builder test artifacts and tests.
func kept(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, basic())
	r.done(r.build("test"))
	step := r.artifacts.Step(1, 1)
	b := store.NewBatch()
	for i, name := range []string{"dist/page ü.html", "empty"} {
		k, err := step.Keep(name, func(w io.Writer) error {
			if i > 0 {
				return nil
			}
			_, err := io.WriteString(w, "<script>alert(1)</script>")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		b.PutArtifact(&store.Artifact{Build: 1, Number: i + 1, Step: 1, Name: name, Size: k.Size, SHA256: k.SHA256})
	}
	b.PutArtifact(&store.Artifact{Build: 1, Number: 3, Step: 1, Name: "gone", Size: 1})
	b.PutTestRun(&store.TestRun{Build: 1, Step: 1, Reports: 2, Tests: 9, Failures: 1, Errors: 2, Skipped: 3, Duration: 1500 * time.Millisecond})
	b.PutFailedTest(&store.FailedTest{Build: 1, Number: 1, Step: 1, Name: "adds", Class: "Sum", File: "sum.x", Message: "1 is not 2", Output: "at sum.x:3\n"})
	b.PutFailedTest(&store.FailedTest{Build: 1, Number: 2, Step: 1, Error: true, Name: "sets up"})
	if err := errors.Join(step.Close(), r.store.Commit(b)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKept(t *testing.T) {
	r := kept(t)
	for name, path := range map[string]string{
		"artifacts":        "builds/1/artifacts",
		"artifact":         "builders/test/builds/1/artifacts/1",
		"test_result_sets": "builds/1/test_result_sets",
		"test_results":     "builders/test/builds/1/test_results",
	} {
		a := r.get(path, func(q *http.Request) { q.Header.Set("Accept", "text/html") })
		a.want(200)
		golden(t, name+".json", string(a.body))
	}
	if got := r.get("builds/1/artifacts?name=empty&field=number&field=name").rows("artifacts"); len(got) != 1 || fmt.Sprint(got[0]["number"]) != "2" {
		t.Errorf("%v", got)
	}
	for _, path := range []string{"builds/9/artifacts", "builds/1/artifacts/9", "builds/1/artifacts/4294967297", "builds/9/artifacts/1/raw", "builds/1/artifacts/3/raw", "builds/9/test_results"} {
		r.get(path).want(404)
	}
}

// An artifact is something to save: whatever a build put into it, no browser runs
// it as a page of the master's.
func TestArtifactBytes(t *testing.T) {
	r := kept(t)
	a := r.get("builds/1/artifacts/1/raw")
	a.want(200)
	if string(a.body) != "<script>alert(1)</script>" {
		t.Errorf("%q", a.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": "attachment; filename*=utf-8''page%20%C3%BC.html", "Content-Length": "25",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	part := r.get("builds/1/artifacts/1/raw", func(q *http.Request) { q.Header.Set("Range", "bytes=8-12") })
	if part.want(206); string(part.body) != "alert" {
		t.Errorf("a part: %q", part.body)
	}
	r.get("builds/1/artifacts/1/raw", func(q *http.Request) { q.Header.Set("If-None-Match", a.header.Get("ETag")) }).want(304)
	if head := r.do("HEAD", "/api/v2/builds/1/artifacts/1/raw", nil); head.status != 200 || len(head.body) > 0 || head.header.Get("Content-Length") != "25" {
		t.Errorf("HEAD: %d, %q, %v", head.status, head.body, head.header)
	}
	if empty := r.get("builds/1/artifacts/2/raw"); empty.status != 200 || len(empty.body) != 0 {
		t.Errorf("%d, %q", empty.status, empty.body)
	}
}
