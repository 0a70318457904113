package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bothy/runner/build"
	"bothy/runner/internal/control"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// story is a run as a master tells it. Each update comes at an offset in time.
type story struct {
	show func(control.Update)
	now  time.Time
	runs map[string]control.Update // the step that runs, by builder
}

func (s *story) after(d time.Duration) *story {
	time.Sleep(d) // virtual: stories are told in a synctest bubble
	s.now = s.now.Add(d)
	return s
}

func (s *story) tell(u control.Update) *story {
	u.Time = s.now
	s.show(u)
	return s
}

func (s *story) out(b control.Update, text string) *story {
	b.Kind, b.Stream, b.Data = control.Output, "o", []byte(text)
	return s.tell(b)
}

func (s *story) step(b control.Update, n int, name string) *story {
	b.Kind, b.Step, b.Name = control.StepNew, n, name
	if s.runs == nil {
		s.runs = map[string]control.Update{}
	}
	s.runs[b.Builder] = b
	return s.tell(b)
}

func (s *story) stepEnd(b control.Update, r build.Result, text string) *story {
	b.Step, b.Name = s.runs[b.Builder].Step, s.runs[b.Builder].Name
	b.Kind, b.Result, b.Text = control.StepEnd, r, text
	return s.tell(b)
}

func at(req int64, builder string, number int64) control.Update {
	return control.Update{Request: req, Builder: builder, Number: number, Attempt: 1, Worker: "bot1", Result: build.None}
}

// threeBuilders is a run in which one builder fails, one passes and one waits.
// snap is called at moments worth looking at. The odd times keep the story from
// coinciding with the display's own clock.
func threeBuilders(show func(control.Update), snap func(name string)) {
	s := &story{show: show, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	test, lint, docs := at(1, "test", 12), at(2, "lint", 4), at(3, "docs", 1)
	for _, b := range []control.Update{test, lint, docs} {
		b.Kind = control.Accepted
		s.tell(b)
	}
	start := func(b control.Update, worker string, steps int, expected time.Duration) {
		b.Kind, b.Worker, b.Steps, b.Expected = control.BuildNew, worker, steps, expected
		s.tell(b)
	}
	start(test, "bot1", 3, 30*time.Second)
	s.step(test, 1, "go vet ./...")
	start(lint, "bot2", 1, 0)
	s.step(lint, 1, "staticcheck")
	wait := docs
	wait.Kind, wait.Text = control.Pending, `lock "gpu" is held by test #12`
	s.tell(wait)
	s.after(1203*time.Millisecond).out(test, "# demo\n\x1b[31mcolour\x1b[0m and\ttab\r\n")
	s.out(lint, "10%\r20%\rchecking 日本語 packages, and a line that is long enough to be cut at any width that is looked at by these tests, honestly")
	s.after(2031 * time.Millisecond)
	snap("two running")
	s.stepEnd(test, build.Success, "").step(test, 2, "unit")
	for i := range 25 {
		s.out(test, fmt.Sprintf("ok  \texample.com/demo/p%02d\t0.%02ds\n", i, i))
	}
	s.out(test, "--- FAIL: TestParse (0.00s)\n    parse_test.go:12: got 3, want 4\nFAIL\n")
	s.after(1017 * time.Millisecond)
	s.stepEnd(test, build.Failure, "exit status 1")
	s.after(53*time.Millisecond).step(test, 3, "clean up").after(509 * time.Millisecond)
	snap("one failed")
	s.stepEnd(test, build.Success, "")
	end := test
	end.Kind, end.Result, end.Text = control.BuildEnd, build.Failure, "unit: exit status 1"
	end.LogPath, end.Kept = "/src/.bothy/logs/test-12", "/src/.bothy/failed/test-12"
	end.Ended = []string{"sleep 1000 (4711)", "postgres (4712)"}
	s.tell(end)
	ok := test
	ok.Kind, ok.Result = control.RequestOK, build.Failure
	s.tell(ok)
	start(docs, "bot1", 1, 0)
	s.step(docs, 1, "mkdocs").after(10043 * time.Millisecond)
	snap("clocks")
	s.stepEnd(docs, build.Warnings, "2 warnings")
	for _, b := range []control.Update{docs, lint} {
		if b.Builder == "lint" {
			s.after(time.Minute).stepEnd(b, build.Success, "")
		}
		b.Kind, b.Result, b.LogPath = control.BuildEnd, build.Success, "/src/.bothy/logs/"+b.Builder
		if b.Builder == "docs" {
			b.Result = build.Warnings
		}
		s.tell(b)
		b.Kind = control.RequestOK
		s.tell(b)
	}
	s.tell(control.Update{Kind: control.End, Result: build.Failure, ExitCode: 1})
}

func TestTree(t *testing.T) {
	for _, cols := range []int{40, 80, 120} {
		t.Run(fmt.Sprint(cols), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				term := newVT(t, cols, 30)
				d := newTreeDisplay(Env{Stdout: term, Dir: "/src"}, displayOptions{}, term.size)
				var got strings.Builder
				snap := func(name string) { fmt.Fprintf(&got, "=== %s\n%s", name, term) }
				threeBuilders(d.Show, snap)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				snap("end")
				golden(t, fmt.Sprintf("tree/%d.txt", cols), got.String())
				if !term.coloured || !term.reset {
					t.Errorf("coloured %v, colours reset %v; want both", term.coloured, term.reset)
				}
			})
		})
	}
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newPlainDisplay(Env{Stdout: &out, Dir: "/src"}, displayOptions{})
		threeBuilders(d.Show, func(string) {})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		golden(t, "plain.txt", out.String())
	})
}

// oneBuild is a build of two steps whose streams come in pieces.
func oneBuild(show func(control.Update)) {
	s := &story{show: show, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	b := at(1, "test", 7)
	start := b
	start.Kind, start.Steps = control.BuildNew, 3
	s.tell(start).step(b, 1, "compile")
	errs := b
	errs.Kind, errs.Stream = control.Output, "e"
	s.out(b, "one li")
	errs.Data = []byte("warning: unused\nhalf an err")
	said := errs
	said.Stream, said.Data = "h", []byte("$ go build\n")
	s.tell(said)
	s.tell(errs)
	s.out(b, "ne\n 10%\r 50%\r100%\r").out(b, "\nlast without end")
	file := b
	file.Kind, file.Stream, file.Log, file.Data = control.Output, "o", "access.log", []byte("GET /\n")
	s.tell(file)
	gap := b
	gap.Kind, gap.Count = control.Gap, 3<<20
	s.tell(gap)
	s.after(300*time.Millisecond).stepEnd(b, build.Success, "")
	skipped := b
	skipped.Kind, skipped.Step, skipped.Name, skipped.Result = control.StepEnd, 2, "deploy", build.Skipped
	s.tell(skipped)
	skipped.Step, skipped.Name, skipped.Hidden = 3, "never mind", true
	s.tell(skipped)
	b.Kind, b.Result, b.LogPath = control.BuildEnd, build.Success, "/elsewhere/test-7"
	s.tell(b)
	b.Kind = control.RequestOK
	s.tell(b)
	s.tell(control.Update{Kind: control.End})
}

func TestPlainPrefixes(t *testing.T) {
	for name, o := range map[string]displayOptions{
		"many": {}, "single": {Single: true}, "adhoc": {AdHoc: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				d := newPlainDisplay(Env{Stdout: &out, Dir: "/src"}, o)
				oneBuild(d.Show)
				golden(t, "plain-"+name+".txt", out.String())
			})
		})
	}
}

func TestJSONDisplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newDisplay(Env{Stdout: &out}, displayOptions{JSON: true})
		var want []control.Update
		oneBuild(func(u control.Update) { want = append(want, u); d.Show(u) })
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		var got []control.Update
		for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			var u control.Update
			if err := json.Unmarshal([]byte(l), &u); err != nil {
				t.Fatalf("%v in %s", err, l)
			}
			got = append(got, u)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("updates (-want +got):\n%s", diff)
		}
	})
}

// A run that is over within a tenth of a second writes its end only.
func TestTreeOfAShortRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newVT(t, 80, 24)
		d := newTreeDisplay(Env{Stdout: term, Dir: "/src"}, displayOptions{AdHoc: true}, term.size)
		s := &story{show: d.Show, now: time.Now()}
		b := at(1, "_command", 1)
		start := b
		start.Kind, start.Steps = control.BuildNew, 1
		s.tell(start).step(b, 1, "true").after(4*time.Millisecond).stepEnd(b, build.Success, "")
		b.Kind, b.Result, b.LogPath = control.BuildEnd, build.Success, "/src/.bothy/logs/1"
		s.tell(b).tell(control.Update{Kind: control.End})
		if term.written() != 1 {
			t.Errorf("%d writes, want 1", term.written())
		}
		golden(t, "tree/short.txt", term.String())
	})
}

// The terminal is written to at most ten times a second while output rains, not
// at all when nothing changes, and once a second for the clocks.
func TestTreeRedrawRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newVT(t, 80, 24)
		d := newTreeDisplay(Env{Stdout: term}, displayOptions{}, term.size)
		s := &story{show: d.Show, now: time.Now()}
		b := at(1, "test", 1)
		start := b
		start.Kind = control.BuildNew
		s.tell(start).step(b, 1, "unit")
		for i := range 1000 {
			s.out(b, fmt.Sprintf("line %d\n", i)).after(time.Millisecond)
		}
		synctest.Wait()
		if term.written() < 9 || term.written() > 11 {
			t.Errorf("%d writes in a second of output, want 10", term.written())
		}
		before := term.written()
		s.after(10*time.Second + time.Millisecond)
		synctest.Wait()
		if n := term.written() - before; n < 10 || n > 11 {
			t.Errorf("%d writes in 10 quiet seconds, want 10", n)
		}
		s.stepEnd(b, build.Success, "")
		b.Kind = control.BuildEnd
		s.tell(b).after(time.Second)
		before = term.written()
		s.after(time.Minute)
		if term.written() != before {
			t.Errorf("%d writes while nothing runs, want none", term.written()-before)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// More builds than rows: the rest is counted.
func TestTreeInASmallWindow(t *testing.T) {
	for _, rows := range []int{1, 3, 6, 12, 24} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				term := newVT(t, 60, rows)
				d := newTreeDisplay(Env{Stdout: term}, displayOptions{}, term.size)
				s := &story{show: d.Show, now: time.Now()}
				for i := range int64(7) {
					b := at(i+1, fmt.Sprintf("b%d", i), i)
					b.Kind, b.Steps = control.BuildNew, 2
					s.tell(b).step(b, 1, "make").out(b, "compiling\n")
				}
				w := at(9, "late", 0)
				w.Kind, w.Text = control.Pending, "no slot is free"
				s.tell(w).after(5 * time.Second)
				if n := term.scrolled(); n > 0 {
					t.Errorf("the live tree scrolled %d lines away:\n%s", n, term)
				}
				golden(t, fmt.Sprintf("tree/rows-%d.txt", rows), term.String())
				_ = d.Close()
			})
		})
	}
}

// After a resize nothing of the old tree is left on a terminal that wraps anew.
func TestTreeResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newVT(t, 100, 20)
		d := newTreeDisplay(Env{Stdout: term}, displayOptions{}, term.size)
		s := &story{show: d.Show, now: time.Now()}
		b := at(1, "test", 1)
		start := b
		start.Kind, start.Steps, start.Expected = control.BuildNew, 2, time.Minute
		s.tell(start).step(b, 1, "unit").out(b, strings.Repeat("long ", 40)).after(2 * time.Second)
		for _, cols := range []int{30, 77, 12, 100} {
			term.resize(cols, 20)
			s.after(2 * time.Second)
			if n := strings.Count(term.String(), "running"); n != 1 {
				t.Errorf("at %d columns %d trees are to be seen:\n%s", cols, n, term)
			}
		}
		_ = d.Close()
	})
}

// A master that goes away leaves a build without an end; its successor starts
// another for the same request.
func TestBuildLostWithItsMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newPlainDisplay(Env{Stdout: &out}, displayOptions{})
		s := &story{show: d.Show, now: time.Now()}
		first, second := at(1, "test", 1), at(1, "test", 2)
		first.Kind, second.Kind, second.Attempt = control.BuildNew, control.BuildNew, 2
		s.tell(first).step(first, 1, "unit").out(first, "half").after(time.Second)
		s.tell(second).step(second, 1, "unit").after(time.Second).stepEnd(second, build.Success, "")
		second.Kind, second.Result = control.BuildEnd, build.Success
		s.tell(second).tell(control.Update{Kind: control.End})
		if len(d.state.running) != 0 {
			t.Errorf("%d builds still run", len(d.state.running))
		}
		want := "success     1.0s  test #2, attempt 2\n"
		if !strings.HasSuffix(out.String(), "\n"+want) {
			t.Errorf("got\n%s\nwant at its end\n%s", &out, want)
		}
	})
}

// A build whose end was not told, because its master went, ends with its request.
func TestBuildEndLostWithItsMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := newPlainDisplay(Env{Stdout: &out}, displayOptions{})
		s := &story{show: d.Show, now: time.Now()}
		b := at(1, "test", 1)
		b.Kind = control.BuildNew
		s.tell(b).step(b, 1, "unit").out(b, "half").after(time.Second)
		b.Kind, b.Result, b.Text = control.RequestOK, build.Failure, "unit failed"
		s.tell(b)
		if len(d.state.running) != 0 {
			t.Errorf("%d builds still run", len(d.state.running))
		}
		s.tell(control.Update{Kind: control.End})
		want := "test #1 unit | half\nfailure     1.0s  test #1: unit failed\n"
		if !strings.HasSuffix(out.String(), "\n"+want) {
			t.Errorf("got\n%s\nwant at its end\n%s", &out, want)
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestDisplayReportsWriteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := Env{Stdout: brokenWriter{}}
		for name, d := range map[string]display{
			"plain": newPlainDisplay(env, displayOptions{}),
			"json":  newDisplay(env, displayOptions{JSON: true}),
			"tree":  newTreeDisplay(env, displayOptions{}, newVT(t, 80, 24).size),
		} {
			oneBuild(d.Show)
			if err := d.Close(); err != os.ErrClosed {
				t.Errorf("%s: got error %v, want %v", name, err, os.ErrClosed)
			}
		}
	})
}

func TestWantsTree(t *testing.T) {
	for env, want := range map[string]bool{
		"":                          true,
		"TERM=xterm":                true,
		"TERM=dumb":                 false,
		"NO_COLOR=1":                false,
		"NO_COLOR=":                 true,
		"CI=true":                   false,
		"CI=false":                  true,
		"TERM=dumb TERM=xterm CI=":  true,
		"TERM=xterm-256color CI=1x": false,
	} {
		if got := wantsTree(Env{Environ: strings.Fields(env)}); got != want {
			t.Errorf("wantsTree with %q = %v, want %v", env, got, want)
		}
	}
}

// What a master logs while its tree is shown stands above it, whole, and goes to
// its own place when the tree has ended.
func TestLogBesideATree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newVT(t, 80, 10)
		var after bytes.Buffer
		d := newTreeDisplay(Env{Stdout: term}, displayOptions{}, term.size)
		s := &story{show: d.Show, now: time.Now()}
		b := at(1, "test", 1)
		start := b
		start.Kind = control.BuildNew
		s.tell(start).step(b, 1, "unit").after(1500 * time.Millisecond)
		w := aboveWriter{d, &after}
		fmt.Fprint(w, "level=WARN msg=\x1b[31mone\nlevel=WARN msg=two\n")
		s.after(300 * time.Millisecond)
		lines := strings.Split(term.String(), "\n")
		if lines[0] != "level=WARN msg=one" || lines[1] != "level=WARN msg=two" || !strings.HasPrefix(lines[2], "running") {
			t.Errorf("got\n%s", term)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "three\n")
		if after.String() != "three\n" {
			t.Errorf("after the end: %q", after.String())
		}
	})
}

func TestBeside(t *testing.T) {
	var stderr bytes.Buffer
	env := Env{Stdout: &stderr}
	for name, d := range map[string]display{
		"plain":         newPlainDisplay(env, displayOptions{}),
		"stderr a pipe": newTreeDisplay(env, displayOptions{}, newVT(t, 80, 24).size),
	} {
		if got := beside(d, &stderr); got != &stderr {
			t.Errorf("%s: got %T, want stderr itself", name, got)
		}
	}
}
