package agent

import (
	"strings"
	"testing"
)

// Buildbot's results.
const (
	bbSuccess   = 0
	bbFailure   = 2
	bbRetry     = 5
	bbCancelled = 6
)

// sides are the two protocols: what builders' names end in, the worker's name.
var sides = []struct {
	suffix, worker string
	protocol       Protocol
}{
	{"-pb", "w-pb", PB},
	{"-mp", "w-mp", Msgpack},
}

func (m *buildbot) addr(p Protocol) string {
	if p == Msgpack {
		return localAddr(m.msgpack)
	}
	return localAddr(m.pb)
}

func want(t *testing.T, b bbBuild, results int) {
	t.Helper()
	if b.Results == nil || *b.Results != results {
		t.Errorf("results %v, want %d: %s", b.Results, results, b.StateString)
		for _, s := range b.steps {
			t.Logf("%s: %v %s\n%s", s.Name, s.Results, s.StateString, s.logs["stdio"])
		}
	}
}

// contains checks that a log has lines, in this order. What a line of it begins
// with, "o", "e" or "h", is the stream.
func contains(t *testing.T, log string, lines ...string) {
	t.Helper()
	rest := log
	for _, l := range lines {
		_, after, ok := strings.Cut(rest, l)
		if !ok {
			t.Errorf("there is no %q (in this place) in\n%s", l, log)
			return
		}
		rest = after
	}
}

func TestUnderBuildbotMaster(t *testing.T) {
	m := startBuildbot(t)
	for _, side := range sides {
		t.Run(string(side.protocol), func(t *testing.T) {
			m := *m
			m.t = t
			w := startWorker(t, testOptions(t, m.addr(side.protocol), side.protocol, side.worker))
			m.connected(side.worker, true)
			for _, c := range []struct {
				name string
				test func(t *testing.T, m *buildbot, w *testWorker, suffix string)
			}{
				{"Shell", realShell},
			} {
				t.Run(c.name, func(t *testing.T) {
					m := m
					m.t = t
					c.test(t, &m, w, side.suffix)
				})
			}
		})
	}
}

func realShell(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("ok" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[1].logs["stdio"], "a b")
	t.Log(b.steps[0].logs["stdio"])
}
