package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/artifacts"
	"bothy/runner/internal/store"
	"bothy/runner/worker"
)

// fakeFiles is what fake builds have in their directories.
type fakeFiles struct {
	texts map[string]string
	errs  map[string]error // of Fetch, by name; "" is Find's
	wait  bool             // Fetch waits for its context
}

// filing is a connection whose builds have files.
type filing struct {
	worker.Conn
	files *fakeFiles
}

func (c *filing) StartBuild(ctx context.Context, spec worker.BuildSpec) (worker.Build, error) {
	b, err := c.Conn.StartBuild(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &filingBuild{b, c.files}, nil
}

type filingBuild struct {
	worker.Build
	files *fakeFiles
}

func (b *filingBuild) Find(_ context.Context, patterns []worker.Pattern, limit int) (names []string, more bool, err error) {
	for _, name := range slices.Sorted(maps.Keys(b.files.texts)) {
		if slices.ContainsFunc(patterns, func(p worker.Pattern) bool { return p.Fits(name) }) {
			names = append(names, name)
		}
	}
	return names[:min(len(names), limit)], len(names) > limit, b.files.errs[""]
}

func (b *filingBuild) Fetch(ctx context.Context, name string, w io.Writer, limit int64) error {
	if b.files.wait {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	text := b.files.texts[name]
	if int64(len(text)) > limit {
		return worker.ErrTooLarge
	}
	_, err := io.WriteString(w, text)
	return errors.Join(err, b.files.errs[name])
}

type filingKind struct {
	worker.Kind
	files *fakeFiles
}

func (k filingKind) Attach(ctx context.Context) (worker.Conn, error) {
	c, err := k.Kind.Attach(ctx)
	if err != nil {
		return nil, err
	}
	return &filing{c, k.files}, nil
}

// newFilingRig is a rig whose workers' builds have files, and that keeps them.
func newFilingRig(t *testing.T, files *fakeFiles, conf *config.Config) *rig {
	t.Helper()
	var r *rig
	r = newRig(t, conf, func(o *Options) {
		o.BaseDir = r.dir
		o.Artifacts = artifacts.Open(filepath.Join(r.dir, "artifacts"), o.Recovered.NextBuild)
		o.Attach = func(w config.Worker) (worker.Kind, error) {
			k, err := r.fleet.attach(w)
			return filingKind{k, files}, err
		}
	})
	return r
}

// keeping makes a step keep and read files.
func keeping(keep, junit string) func(*config.Step) {
	return func(s *config.Step) { s.Artifacts, s.JUnit = strings.Fields(keep), strings.Fields(junit) }
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// onDisk are the files below the rig's directory of artifacts.
func (r *rig) onDisk() []string {
	r.t.Helper()
	var names []string
	top := filepath.Join(r.dir, "artifacts")
	err := filepath.WalkDir(top, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(top, name)
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return names
}

// inRows are the artifacts of a build as the store has them.
func (r *rig) inRows(id int64) (names []string) {
	r.t.Helper()
	list, err := r.store.Artifacts(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range list {
		names = append(names, fmt.Sprintf("%d/%d/%s", a.Build, a.Step, a.Name))
	}
	slices.Sort(names)
	return names
}

// A step's files are kept and its reports read whatever its result is, which they
// never change.
func TestCollect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		files := &fakeFiles{texts: map[string]string{
			"dist/a": "aaa", "dist/b/c": "", "dist/bad\nname": "x", "log": "no", "x-b": "yes",
			"r/1.xml": `<testsuite><testcase name="t1" classname="k" time="2"><failure message="no">out</failure></testcase><testcase name="t2"/></testsuite>`,
			"r/2.xml": `<testsuites><testsuite><testcase name="t3"><error/></testcase><testcase name="t4"><skipped/></testcase></testsuite></testsuites>`,
			"r/3.xml": `<testsuite><testcase>`,
		}}
		r := newFilingRig(t, files, oneBuilder(
			step("work", "fail", keeping("dist/** none*", "r/*.xml")),
			step("more", "true", always, keeping("x-%(prop:buildername)s dist/a", "")),
			step("odd", "true", always, keeping("../%(prop:buildername)s", "none.xml")),
		))
		r.fleet.on("fail", func(*fakeCommand) (worker.Exit, error) { return worker.Exit{Code: 1}, nil })
		r.start()
		_, b := r.want(r.build("b"), build.Failure)
		want := []string{"1/1/dist/a", "1/1/dist/b/c", "1/2/dist/a", "1/2/x-b"}
		mustEqual(t, "on disk", r.onDisk(), want)
		mustEqual(t, "in rows", r.inRows(b.ID), want)
		runs, err := r.store.TestRuns(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "test runs", runs, []store.TestRun{{Build: b.ID, Step: 1, Reports: 2, Tests: 4, Failures: 1, Errors: 1, Skipped: 1, Duration: 2 * time.Second}})
		failed, err := r.store.FailedTests(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "failed tests", failed, []store.FailedTest{
			{Build: b.ID, Number: 1, Step: 1, Name: "t1", Class: "k", Duration: 2 * time.Second, Message: "no", Output: "out"},
			{Build: b.ID, Number: 2, Step: 1, Name: "t3", Error: true},
		})
		steps, err := r.store.Steps(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := steps[0].Text; got != "failure (exit 1), 4 tests, 1 failed, 1 broken, 1 skipped" {
			t.Errorf("the step says %q", got)
		}
		mustEqual(t, "steps", r.steps(b.ID), []string{"work failure", "more success", "odd success"})
		for _, want := range []string{
			`not kept: "dist/bad\nname": its name has control characters`, "kept 2 artifacts, 3 bytes", "kept 2 artifacts, 6 bytes",
			`test report not read: "r/3.xml": XML syntax error`, "read 2 test reports: 4 tests, 1 failed, 1 broken, 1 skipped",
			`no artifacts: pattern "../b": it is not below the build's directory`, "no test reports: no file fits none.xml",
		} {
			if !strings.Contains(r.text(b.ID), want) {
				t.Errorf("the log lacks %q:\n%s", want, r.text(b.ID))
			}
		}
	})
}

// Limits and faults cost what they must, and never the build.
func TestCollectLimits(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}
	many := map[string]string{}
	for i := range 5 {
		many[fmt.Sprintf("d/%d", i)] = ""
	}
	reports := map[string]string{}
	for i := range 5 {
		reports[fmt.Sprintf("%d.xml", i)] = "<testsuite>" + strings.Repeat(`<testcase name="x"><failure/></testcase>`, 50) + "</testsuite>"
	}
	for _, tt := range []struct {
		name   string
		files  fakeFiles
		keep   string
		junit  string
		kept   int
		failed int
		want   string
	}{
		{"many files", fakeFiles{texts: many}, "**", "", 3, 0, "not all artifacts: only 3 more are allowed"},
		{"no room", fakeFiles{texts: map[string]string{"a": "x", "b": strings.Repeat("x", 100), "c": "y"}}, "*", "", 2, 0, `not kept: "b": the artifacts of a build may have 10 bytes in all`},
		{"full disk", fakeFiles{texts: map[string]string{"a": "x", "b": "x", "c": "x"}, errs: map[string]error{"b": full}}, "*", "", 1, 0, "not kept: 2 files in all"},
		{"cannot look", fakeFiles{errs: map[string]error{"": errors.New("no such directory")}}, "*", "*.xml", 0, 0, "no test reports: no such directory"},
		{"many failures", fakeFiles{texts: reports}, "", "*.xml", 0, maxFailedTests, "250 tests, 250 failed"},
		{"stalls", fakeFiles{texts: map[string]string{"a": "x"}, wait: true}, "*", "", 0, 0, `not kept: "a": context deadline exceeded`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newFilingRig(t, &tt.files, oneBuilder(step("work", "true", keeping(tt.keep, tt.junit))))
				r.open()
				r.e.room.files, r.e.room.bytes = 3, 10
				go r.e.Run()
				r.running = true
				_, b := r.want(r.build("b"), build.Success)
				failed, err := r.store.FailedTests(t.Context(), b.ID)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(r.inRows(b.ID)); n != tt.kept || len(r.onDisk()) != n || len(failed) != tt.failed {
					t.Errorf("%d in rows, %q on disk, want %d; %d failed tests", n, r.onDisk(), tt.kept, len(failed))
				}
				if got := r.text(b.ID); !strings.Contains(got, tt.want) {
					t.Errorf("the log lacks %q:\n%s", tt.want, got)
				}
			})
		})
	}
}

// Who stops a build does not wait for files that do not come; those of a step that
// was stopped have the time of those that always run.
func TestCollectIsCut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		files := &fakeFiles{texts: map[string]string{"a": "x"}, wait: true}
		r := newFilingRig(t, files, oneBuilder(step("work", "work", keeping("*", ""))))
		r.start()
		for _, tt := range []struct {
			runs time.Duration // the step
			most time.Duration // the build after the stop
		}{{0, 0}, {time.Hour, 2 * CleanupTime}} {
			r.fleet.on("work", sleeps(tt.runs))
			k := r.build("b")
			pass(time.Second)
			began := time.Now()
			if err := r.e.StopBuild(t.Context(), r.builds(k.ID)[0].ID, "ana", "enough"); err != nil {
				t.Fatal(err)
			}
			_, b := r.want(k, build.Cancelled)
			if d := time.Since(began); d > tt.most {
				t.Errorf("it took %s", d)
			}
			if got := r.inRows(b.ID); len(got)+len(r.onDisk()) > 0 {
				t.Errorf("kept: %q, %q", got, r.onDisk())
			}
		}
	})
}

// A crash between the copy and the commit leaves nothing for ever: neither in the
// way of a build that gets the same id, nor beside the rows of one.
func TestCollectCrash(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		files := &fakeFiles{texts: map[string]string{"a": "x"}}
		r := newFilingRig(t, files, oneBuilder(step("work", "true", keeping("*", "")), step("hold", "hold")))
		r.fleet.on("hold", sleeps(time.Hour))
		r.start()
		r.build("b")
		pass(time.Minute) // recorded
		r.crash(false)
		same(t, "after the first crash", r.onDisk(), []string{"1/1/a"})

		for _, dir := range []string{"1/2", "2/1"} { // of a step, and of a build, that were not recorded
			dir = filepath.Join(r.dir, "artifacts", filepath.FromSlash(dir))
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "lost"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}

		files.texts = map[string]string{"c": "x"}
		r.start()
		pass(time.Minute) // the first look at what is not kept has been
		want := []string{"1/1/a", "2/1/c"}
		same(t, "at the end", r.onDisk(), want)
		same(t, "in rows", append(r.inRows(1), r.inRows(2)...), want)
	})
}

// Files go with their builds, and with the oldest logs when the disk's cap asks
// for it.
func TestCollectRetention(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		files := &fakeFiles{texts: map[string]string{"a": strings.Repeat("x", 1<<20)}}
		conf := oneBuilder(step("work", "true", keeping("*", "")))
		conf.Store.KeepBuilds = 3
		r := newFilingRig(t, files, conf)
		r.start()
		for range 5 {
			r.want(r.build("b"), build.Success)
		}
		pass(2 * retentionEvery)
		same(t, "the last three", r.onDisk(), []string{"3/1/a", "4/1/a", "5/1/a"})

		capped := *conf
		size, err := treeSize(t.Context(), r.dir)
		if err != nil {
			t.Fatal(err)
		}
		capped.Store.DiskCap = size - 1<<20
		r.reload(&capped)
		pass(2 * retentionEvery)
		for _, id := range []int64{3, 4, 5} {
			if got := r.inRows(id); len(got) > 0 && !slices.Contains(r.onDisk(), got[0]) {
				t.Errorf("build %d has a row without a file", id)
			}
		}
		if got, err := treeSize(t.Context(), r.dir); err != nil || got > capped.Store.DiskCap {
			t.Errorf("%d bytes, the cap is %d, %v; there are %q", got, capped.Store.DiskCap, err, r.onDisk())
		}
	})
}
