package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/junit"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

const (
	// maxArtifacts is how many files are kept of a build: what a page can list, and
	// what one commit can hold without keeping others waiting for long.
	maxArtifacts = 10_000
	// maxArtifactBytes is how much is kept of a build: more is a job for a registry.
	maxArtifactBytes = 1 << 30
	// maxReports is how many test reports of a step are read.
	maxReports = 1000
	// maxFailedTests is how many tests of a build that did not pass are remembered.
	maxFailedTests = 200
	// collectTime bounds it all, so that a worker that stalls does not keep its slot.
	collectTime = 10 * time.Minute
	// maxComplaints is how many files a log names that are not kept.
	maxComplaints = 10
)

// quota is what a build may have, or has, of what these limits are for.
type quota struct {
	files  int
	bytes  int64
	failed int
}

// collection is what a step leaves behind besides its logs.
type collection struct {
	artifacts []store.Artifact
	tests     *store.TestRun // nil: no report was read
	failed    []store.FailedTest
}

// collected records what is on disk already, in the transaction of the step's end.
func (l *loop) collected(b *running, c collection) {
	if b.fenced {
		return // the next master removes the files
	}
	for i := range c.artifacts {
		l.batch.PutArtifact(&c.artifacts[i])
	}
	if c.tests != nil {
		l.batch.PutTestRun(c.tests)
	}
	for i := range c.failed {
		l.batch.PutFailedTest(&c.failed[i])
	}
}

// text sums up the tests, "" if there are none.
func (c *collection) text() string {
	if c.tests == nil {
		return ""
	}
	text := plural(int(c.tests.Tests), "test", "tests")
	for _, n := range []struct {
		count int64
		what  string
	}{{c.tests.Failures, "failed"}, {c.tests.Errors, "broken"}, {c.tests.Skipped, "skipped"}} {
		if n.count > 0 {
			text += fmt.Sprintf(", %d %s", n.count, n.what)
		}
	}
	return text
}

// collect keeps the step's artifacts and reads its test reports, whatever its
// result. What goes wrong with that is said in its log, and changes nothing else.
func (r *buildRun) collect(st *config.Step, sl *stepLog, out outcome) (c collection) {
	if len(st.Artifacts) == 0 && len(st.JUnit) == 0 || out.lost || out.result == build.Retry {
		return c
	}
	from, ok := r.wb.(worker.Fetcher)
	if !ok {
		sl.header("no artifacts and test reports: worker %s gives no files", r.row.Worker)
		return c
	}
	within := r.b.halt // a stop cuts the copying short
	if within.Err() != nil {
		within = r.cleanup() // of a step that was stopped it still has some time
	}
	ctx, cancel := context.WithTimeout(within, collectTime)
	defer cancel()
	g := &gathering{buildRun: r, from: from, log: sl, got: &c}
	if len(st.Artifacts) > 0 && r.e.opt.Artifacts != nil {
		g.keep(ctx, st.Artifacts)
	}
	if len(st.JUnit) > 0 {
		g.readReports(ctx, st.JUnit)
	}
	return c
}

// gathering is the collecting for one step.
type gathering struct {
	*buildRun
	from worker.Fetcher
	log  *stepLog
	got  *collection
}

// find returns the names of files that fit patterns of the configuration, and
// says so when there are none. It reports whether there are any.
func (g *gathering) find(ctx context.Context, what string, texts []string, limit int) ([]string, bool) {
	var patterns []worker.Pattern
	var shown []string
	fail := func(err error) ([]string, bool) {
		g.log.header("no %s: %v", what, err)
		return nil, false
	}
	for _, text := range texts {
		s, err := build.Expand(text, g.interpolation(nil))
		if err != nil {
			return fail(err)
		}
		p, err := worker.ParsePattern(s)
		if err != nil {
			return fail(err)
		}
		patterns, shown = append(patterns, p), append(shown, p.String())
	}
	names, more, err := g.from.Find(ctx, patterns, max(0, limit))
	switch {
	case err != nil:
		return fail(err)
	case more:
		g.log.header("not all %s: only %d more are allowed", what, limit)
	case len(names) == 0:
		g.log.header("no %s: no file fits %s", what, strings.Join(shown, " or "))
	}
	return names, len(names) > 0
}

// keep stores the files that fit.
func (g *gathering) keep(ctx context.Context, texts []string) {
	names, ok := g.find(ctx, "artifacts", texts, g.e.room.files-g.kept.files)
	if !ok {
		return
	}
	to := g.e.opt.Artifacts.Step(g.row.ID, g.rows)
	refused, said := 0, 0
	var total int64
	for i, name := range names {
		room := g.e.room.bytes - g.kept.bytes - total
		k, err := to.Keep(name, func(w io.Writer) error { return g.from.Fetch(ctx, name, w, room) })
		if err == nil {
			total += k.Size
			g.got.artifacts = append(g.got.artifacts, store.Artifact{
				Build: g.row.ID, Number: g.kept.files + len(g.got.artifacts) + 1, Step: g.rows, Name: k.Name, Size: k.Size, SHA256: k.SHA256,
			})
			continue
		}
		if errors.Is(err, worker.ErrDir) {
			continue
		}
		if errors.Is(err, worker.ErrTooLarge) {
			err = fmt.Errorf("the artifacts of a build may have %s in all", sizeText(g.e.room.bytes))
		}
		if refused++; said < maxComplaints {
			said++
			g.log.header("not kept: %q: %v", name, err)
		}
		if ctx.Err() != nil || errors.Is(err, worker.ErrLost) || logs.DiskFull(err) {
			refused += len(names) - i - 1
			break
		}
	}
	if refused > said {
		g.log.header("not kept: %s in all", plural(refused, "file", "files"))
	}
	if err := to.Close(); err != nil {
		g.log.header("no artifacts: %v", errors.Join(err, to.Drop()))
		g.got.artifacts = nil
		return
	}
	g.kept.files += len(g.got.artifacts)
	g.kept.bytes += total
	if n := len(g.got.artifacts); n > 0 {
		g.log.header("kept %s, %s", plural(n, "artifact", "artifacts"), sizeText(total))
	}
}

// readReports adds up what the reports that fit say.
func (g *gathering) readReports(ctx context.Context, texts []string) {
	names, ok := g.find(ctx, "test reports", texts, maxReports)
	if !ok {
		return
	}
	all := junit.Report{Hide: g.redact}
	read, refused := 0, 0
	for _, name := range names {
		err := g.readReport(ctx, name, &all)
		switch {
		case err == nil:
			read++
			continue
		case errors.Is(err, worker.ErrDir):
			continue
		}
		if refused++; refused <= maxComplaints {
			g.log.header("test report not read: %q: %v", name, err)
		}
		if ctx.Err() != nil || errors.Is(err, worker.ErrLost) {
			break
		}
	}
	if refused > maxComplaints {
		g.log.header("test reports not read: %d in all", refused)
	}
	if read == 0 {
		return
	}
	g.got.tests = &store.TestRun{
		Build: g.row.ID, Step: g.rows, Reports: read, Tests: all.Tests, Failures: all.Failures, Errors: all.Errors, Skipped: all.Skipped, Duration: all.Duration,
	}
	for _, t := range all.Failed {
		g.kept.failed++
		g.got.failed = append(g.got.failed, store.FailedTest{
			Build: g.row.ID, Number: g.kept.failed, Step: g.rows, Error: t.Error, Duration: t.Duration,
			Name: t.Name, Class: t.Class, File: t.File, Message: t.Message, Output: t.Output,
		})
	}
	g.log.header("read %s: %s", plural(read, "test report", "test reports"), g.got.text())
}

// readReport reads a report while it is fetched.
func (g *gathering) readReport(ctx context.Context, name string, into *junit.Report) error {
	if err := artifacts.CheckName(name); err != nil {
		return err
	}
	r, w := io.Pipe()
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		w.CloseWithError(g.from.Fetch(ctx, name, w, junit.MaxSize))
	}()
	err := into.Read(r, g.e.room.failed-g.kept.failed)
	r.CloseWithError(err)
	<-fetched
	return err
}

// sizeText writes a size for people.
func sizeText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return plural(int(n), "byte", "bytes")
}
