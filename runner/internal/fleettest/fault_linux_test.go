package fleettest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noticed is how long a peer that has gone without a word may count as there:
// 30 s are promised, on a machine that has nothing else to do.
const noticed = 75 * time.Second

// pause is one between lines.
const pause = 250 * time.Millisecond

// lines is a step's line that prints numbered lines, and pauses between them n
// times; what it must print is [printed].
func lines(count, pauses int) string {
	return fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "line $i of the log of a build that is to be whole"; i=$((i+1)); [ $((i %% %d)) = 0 ] && sleep %v; done; true`,
		count, max(1, count/pauses), pause.Seconds())
}

func printed(count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, "oline %d of the log of a build that is to be whole\n", i)
	}
	return b.String()
}

// whole checks that a request had one build, which succeeded and has its whole log.
func (m *master) whole(request int64, want string) {
	m.t.Helper()
	builds := m.done(request)
	if got := outcomes(builds); got != "success" {
		m.t.Errorf("request %d: %s; its text is %q", request, got, builds[0].State)
		return
	}
	got := stdout(m.log(m.steps(builds[0])[0]))
	if got != want {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		m.t.Errorf("request %d: the log has %d bytes, want %d; they differ at %d: %.80q, want %.80q", request, len(got), len(want), i, got[i:], want[i:])
	}
}

// stdout is what a step has printed to it, of its log.
func stdout(log string) string {
	var b strings.Builder
	for l := range strings.Lines(log) {
		if l[0] == 'o' {
			b.WriteString(l)
		}
	}
	return b.String()
}

type mailRow struct {
	Kind   string
	Worker string
}

// missingMails counts the mails that a worker is missing.
func (m *master) missingMails(worker string) (n int) {
	m.t.Helper()
	for _, r := range rows[mailRow](m, "mails") {
		if r.Kind == "missing" && r.Worker == worker {
			n++
		}
	}
	return n
}

// A worker behind a network that fails without a word, while it builds: the build
// is RETRY and finishes elsewhere, with what the first attempt wrote kept; one
// mail says that the worker is missing; and it comes back.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	for _, b := range []breed{buildbotPB, buildbotMsgpack, bothyMsgpack} {
		for _, f := range []fault{unplugged, dropped} {
			t.Run(string(b)+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				n := newNetwork(t)
				dir := t.TempDir()
				p := &plan{}
				p.add(planWorker{Name: "elsewhere"})
				p.add(planWorker{Name: "far", Missing: 1, Notify: "bob@example.com", Lease: lease},
					planBuilder{Steps: []planStep{{Name: "hold", Run: hold(dir, "a")}}, Workers: []string{"far", "elsewhere"}},
					planBuilder{Name: "-only", Steps: []planStep{{Name: "true", Run: "true"}}})
				m := n.start(p)
				n.peer(b, m, "far", false)
				m.connected("far", true)
				before := m.missingMails("far") // it may have been so since the start
				r := m.ask("far")
				build := m.build(r, 1)
				until(t, "no output", func() bool {
					steps := m.steps(build)
					return len(steps) > 0 && strings.Contains(m.log(steps[0]), "obegun\n")
				})
				f.begin(n)
				began := time.Now()
				if build = m.ended(r, 1); build.result() != "retry" {
					t.Errorf("the build is %s: %s", build.result(), build.State)
				}
				if took := time.Since(began); took > noticed {
					t.Errorf("noticed after %v", took)
				} else {
					t.Logf("noticed after %v: %s", took.Round(time.Second), build.State)
				}
				log := m.log(m.steps(build)[0])
				if !strings.Contains(log, "obegun\n") {
					t.Errorf("its log: %q", log)
				}
				if err := os.WriteFile(filepath.Join(dir, "a.go"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				n.peer(b, m, "elsewhere", true)
				if got := outcomes(m.done(r)); got != "retry, success" {
					t.Errorf("builds: %s", got)
				}
				until(t, "no mail that it is missing", func() bool { return m.missingMails("far") > before })
				f.finish(n)
				m.connected("far", true)
				if got := outcomes(m.done(m.ask("far-only"))); got != "success" {
					t.Errorf("on its return: %s", got)
				}
				if got := m.log(m.steps(build)[0]); got != log {
					t.Errorf("the log of the lost build was %q, and is %q", log, got)
				}
				if got := m.missingMails("far"); got != before+1 {
					t.Errorf("%d mails that it is missing, want 1", got-before)
				}
			})
		}
	}
}

// A network that loses 5 % of all packets slows builds down, no more.
func TestLoss(t *testing.T) {
	t.Parallel()
	for _, b := range []breed{buildbotPB, buildbotMsgpack, bothyMsgpack} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			const count = 20000
			p := &plan{}
			p.add(planWorker{Name: "far", MaxBuilds: 3}, planBuilder{Steps: []planStep{{Name: "lines", Run: lines(count, 8)}}})
			m := n.start(p)
			lossy.begin(n)
			n.peer(b, m, "far", false)
			m.connected("far", true)
			var all []int64
			for range 3 {
				all = append(all, m.ask("far"))
			}
			for _, r := range all {
				m.whole(r, printed(count))
			}
		})
	}
}

// A network of 200 ms each way is survived. A connection that is reset is lost;
// what Buildbot's worker built goes to RETRY, and succeeds when it is back.
func TestDelayAndReset(t *testing.T) {
	t.Parallel()
	for _, b := range []breed{buildbotPB, buildbotMsgpack, bothyPB, bothyMsgpack} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			const count = 5000
			dir := t.TempDir()
			p := &plan{}
			p.add(planWorker{Name: "far"}, planBuilder{Steps: []planStep{{Name: "lines", Run: lines(count, 4)}}},
				planBuilder{Name: "-hold", Steps: []planStep{{Name: "hold", Run: hold(dir, "a")}}})
			m := newBothy(t, p, where{})
			via := newProxy(t, m, 200)
			w := newPeer(t, b, m, "far", via.addr)
			w.launch()
			m.connected("far", true)
			m.whole(m.ask("far"), printed(count))
			r := m.ask("far-hold")
			until(t, "the step does not begin", func() bool { _, err := os.Stat(filepath.Join(dir, "a.begun")); return err == nil })
			if b == bothyMsgpack {
				return // see TestCuts
			}
			undo := via.reset()
			if got := m.ended(r, 1); got.result() != "retry" {
				t.Errorf("the build is %s: %s", got.result(), got.State)
			}
			undo()
			if err := os.WriteFile(filepath.Join(dir, "a.go"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := outcomes(m.done(r)); got != "retry, success" {
				t.Errorf("builds: %s", got)
			}
		})
	}
}
