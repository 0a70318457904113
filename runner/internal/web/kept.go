package web

import (
	"errors"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/store"
)

func (s *Web) artifactPages() []page {
	return []page{{path: "/builders/{builder}/builds/{number}/artifacts/{step}/{name...}", serve: (*call).serveArtifact}}
}

// serveArtifact answers with a file of a build that is kept, by its step and name.
func (c *call) serveArtifact() error {
	b, err := c.buildOf()
	if err != nil {
		return err
	}
	all, err := c.s.Store.Artifacts(c.ctx(), b.ID)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Name != c.r.PathValue("name") || strconv.Itoa(a.Step) != c.r.PathValue("step") || c.s.Artifacts == nil {
			continue
		}
		f, err := c.s.Artifacts.Open(b.ID, a.Step, a.Name)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		defer f.Close()
		artifacts.Serve(c.w, c.r, f, a.Name, a.SHA256)
		return nil
	}
	return notFound("%s #%d keeps no such file", builderName(b.Builder), b.Number)
}

// artifactLine is a file that is kept.
type artifactLine struct{ store.Artifact }

// Path leads to the file from the page of its build's builds.
func (a artifactLine) Path() string {
	parts := strings.Split(a.Name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "artifacts/" + strconv.Itoa(a.Step) + "/" + strings.Join(parts, "/")
}

// maxFiles is how many kept files a page lists.
const maxFiles = 200

// fileList are the files of a build that are kept.
type fileList struct {
	some[artifactLine]
	Size int64 // of all
}

// Files are the artifacts of the build.
func (p *buildPage) Files() (fileList, error) {
	rows, err := p.s.Store.Artifacts(p.ctx(), p.ID)
	list := fileList{some: some[artifactLine]{Total: int64(len(rows))}}
	for _, a := range rows {
		list.Size += a.Size
		if len(list.Rows) < maxFiles {
			list.Rows = append(list.Rows, artifactLine{a})
		}
	}
	return list, err
}

// testRun is what the reports of a step say.
type testRun struct {
	store.TestRun
	StepName string
}

// testPanel is what the test reports of a build say.
type testPanel struct {
	Runs   []testRun
	Total  store.TestRun
	Failed []store.FailedTest
}

// More is how many tests did not pass besides those that are shown.
func (t *testPanel) More() int64 { return t.Total.Failures + t.Total.Errors - int64(len(t.Failed)) }

// Tests are the test results of the build.
func (p *buildPage) Tests() (*testPanel, error) {
	runs, err := p.s.Store.TestRuns(p.ctx(), p.ID)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	steps, err := p.s.Store.Steps(p.ctx(), p.ID)
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, s := range steps {
		names[s.Number] = s.Name
	}
	t := &testPanel{}
	for _, r := range runs {
		t.Runs = append(t.Runs, testRun{r, names[r.Step]})
		t.Total.Tests += r.Tests
		t.Total.Failures += r.Failures
		t.Total.Errors += r.Errors
		t.Total.Skipped += r.Skipped
		t.Total.Duration += min(r.Duration, time.Hour*24*365)
	}
	t.Failed, err = p.s.Store.FailedTests(p.ctx(), p.ID)
	return t, err
}
