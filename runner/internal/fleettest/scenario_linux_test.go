package fleettest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/scenarios.golden anew")

// pair is a master and a worker.
type pair struct {
	master string
	worker breed
}

func (p pair) String() string { return p.master + " + " + string(p.worker) }

// reference is Buildbot's own pair: the others are compared with it.
var reference = pair{"buildbot", buildbotPB}

var allPairs = []pair{reference, {"buildbot", bothyPB}, {"bothy", buildbotPB}, {"bothy", buildbotMsgpack}, {"bothy", bothyMsgpack}}

// scenario is one of Appendix C of the facts about Buildbot.
type scenario struct {
	number int
	name   string
	// better says what Bothy does better. Where it says nothing, every pair must
	// do what Buildbot's own does.
	better string
	pairs  []pair // default: allPairs
	alone  bool   // it needs a master of its own
	// plan adds what it needs. Files in dir are how steps and the scene speak.
	plan func(p *plan, name, dir string)
	play func(s *scene)
}

// scene is a scenario played by a pair.
type scene struct {
	*master
	t    *testing.T
	pair pair
	name string // of the worker, and what its builders' names begin with
	dir  string
	saw  []string
}

// note adds what was seen.
func (s *scene) note(format string, args ...any) { s.saw = append(s.saw, fmt.Sprintf(format, args...)) }

func (s *scene) file(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name string) {
	s.t.Helper()
	if err := os.WriteFile(s.file(name), nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// written waits until a step has written a file.
func (s *scene) written(name string) {
	s.t.Helper()
	until(s.t, "no step writes "+name, func() bool { _, err := os.Stat(s.file(name)); return err == nil })
}

// peer starts the worker of the scene.
func (s *scene) peer() *peer {
	s.t.Helper()
	return startPeer(s.t, s.pair.worker, s.master, s.name)
}

// noteSteps notes the steps of a build.
func (s *scene) noteSteps(b buildRow) {
	s.t.Helper()
	var all []string
	for _, step := range s.steps(b) {
		all = append(all, step.Name+" "+resultName(step.Results))
	}
	s.note("steps: %s", strings.Join(all, ", "))
}

// hold is a step's line that begins, and ends when it may.
func hold(dir, name string) string {
	return fmt.Sprintf("echo begun; touch %[1]s/%[2]s.begun; while [ ! -e %[1]s/%[2]s.go ]; do sleep 0.1; done; echo over", dir, name)
}

// golden is the table of outcomes.
type golden struct {
	want map[string]bool

	mu    sync.Mutex
	cells map[cell]string
}

type cell struct {
	number int
	pair   string
}

const goldenFile = "testdata/scenarios.golden"

func readGolden(t *testing.T) *golden {
	t.Helper()
	text, err := os.ReadFile(goldenFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	g := &golden{want: map[string]bool{}, cells: map[cell]string{}}
	for l := range bytes.Lines(text) {
		g.want[strings.TrimRight(string(l), "\n")] = true
	}
	return g
}

// check compares what was seen with what was seen before.
func (g *golden) check(t *testing.T, sc *scenario, p pair, saw string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cells[cell{sc.number, p.String()}] = saw
	if line := goldenLine(sc, p, saw); !*update && !g.want[line] {
		t.Errorf("not in %s:\n%s", goldenFile, line)
	}
}

func goldenLine(sc *scenario, p pair, saw string) string {
	return fmt.Sprintf("| %d | %s | %s | %s |", sc.number, sc.name, p, saw)
}

// compare checks that every pair does as Buildbot's own, unless it does better,
// and returns the table.
func (g *golden) compare(t *testing.T, all []scenario) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| # | scenario | master + worker | what is seen |\n|---|---|---|---|\n")
	for i := range all {
		sc := &all[i]
		own, known := g.cells[cell{sc.number, sc.reference().String()}]
		for _, p := range sc.pairs {
			saw, played := g.cells[cell{sc.number, p.String()}]
			if !played {
				continue
			}
			fmt.Fprintln(&b, goldenLine(sc, p, saw))
			if known && saw != own && sc.better == "" {
				t.Errorf("%d, %s: %s does\n%s\nand Buildbot's own pair\n%s", sc.number, sc.name, p, saw, own)
			}
		}
		if sc.better != "" {
			fmt.Fprintf(&b, "| %d | %s | better | %s |\n", sc.number, sc.name, sc.better)
		}
	}
	return b.String()
}

// reference is the pair that the others are compared with.
func (sc *scenario) reference() pair { return sc.pairs[0] }

// part is a scenario for one pair.
type part struct {
	*scenario
	pair
	name, dir string
	own       *plan // unless it shares a master
}

// TestScenarios plays each scenario on each pair.
func TestScenarios(t *testing.T) {
	t.Parallel()
	need(t, "buildbot", "buildbot-worker")
	g := readGolden(t)
	plans := map[string]*plan{"bothy": {}, "buildbot": {}}
	parts := cast(t, plans)
	masters := map[string]*master{}
	for make, p := range plans {
		masters[make] = start(t, make, p)
	}
	ran := t.Run("on", func(t *testing.T) {
		for _, p := range parts {
			t.Run(fmt.Sprintf("%d %s/%s", p.number, p.scenario.name, p.pair), func(t *testing.T) {
				t.Parallel()
				s := &scene{t: t, pair: p.pair, name: p.name, dir: p.dir}
				if p.own != nil {
					s.master = start(t, p.master, p.own)
				} else {
					s.master = masters[p.master].with(t)
				}
				p.play(s)
				if !t.Failed() {
					g.check(t, p.scenario, p.pair, strings.Join(s.saw, "; "))
				}
			})
		}
	})
	table := g.compare(t, scenarios)
	t.Logf("\n%s", table)
	if text, err := os.ReadFile(goldenFile); !*update && ran && len(g.cells) == len(parts) && (err != nil || string(text) != table) {
		t.Errorf("%s has other lines, too (%v)", goldenFile, err)
	}
	if *update && ran {
		if err := os.WriteFile(goldenFile, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// cast says who plays what, and adds what they need to the plans of the masters
// that they share.
func cast(t *testing.T, plans map[string]*plan) (all []part) {
	t.Helper()
	root := t.TempDir()
	for i := range scenarios {
		sc := &scenarios[i]
		if sc.pairs == nil {
			sc.pairs = allPairs
		}
		for n, p := range sc.pairs {
			name := fmt.Sprintf("s%d-%d", sc.number, n)
			c := part{scenario: sc, pair: p, name: name, dir: filepath.Join(root, name)}
			if err := os.Mkdir(c.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			into := plans[p.master]
			if sc.alone {
				c.own = &plan{}
				into = c.own
			}
			sc.plan(into, name, c.dir)
			all = append(all, c)
		}
	}
	return all
}

// start starts a master of a make.
func start(t testing.TB, make string, p *plan) *master {
	t.Helper()
	if make == "buildbot" {
		return newBuildbot(t, p)
	}
	return newBothy(t, p, where{})
}
