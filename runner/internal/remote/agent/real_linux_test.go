package agent

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
// with, "o", "e" or "h", is the stream; "o" in logs of files too.
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

// TestUnderBuildbotMaster runs what needs no master of its own: each takes seconds
// to come up.
func TestUnderBuildbotMaster(t *testing.T) {
	t.Parallel()
	m := startBuildbot(t)
	path := program(t)
	for _, side := range sides {
		t.Run(string(side.protocol), func(t *testing.T) {
			t.Parallel()
			m := m.of(t)
			t.Run("Commands", func(t *testing.T) {
				m := m.of(t)
				w := startWorker(t, testOptions(t, m.addr(side.protocol), side.protocol, side.worker))
				m.connected(side.worker, true)
				for _, c := range []struct {
					name string
					test func(t *testing.T, m *buildbot, w *testWorker, suffix string)
				}{
					{"Shell", realShell},
					{"Environment", realEnvironment},
					{"Limits", realLimits},
					{"Stop", realStop},
					{"Output", realOutput},
					{"Files", realFiles},
				} {
					t.Run(c.name, func(t *testing.T) { c.test(t, m.of(t), w, side.suffix) })
				}
			})
			for _, c := range []struct {
				name string
				test func(t *testing.T, m *buildbot, o Options, suffix string)
			}{
				{"Info", realInfo},
				{"LeaveFinishesTheBuild", realLeave},
				{"MasterEndsTheWorker", realEnd},
				{"Refused", realRefused},
				{"TLSAndProxy", realTunnel},
				{"Program", func(t *testing.T, m *buildbot, o Options, suffix string) { realProgram(t, m, o, suffix, path) }},
			} {
				t.Run(c.name, func(t *testing.T) {
					m := m.of(t)
					m.connected(side.worker, false) // the one before
					c.test(t, m, testOptions(t, m.addr(side.protocol), side.protocol, side.worker), side.suffix)
				})
			}
		})
	}
}

// of is the master in another test.
func (m *buildbot) of(t testing.TB) *buildbot {
	other := *m
	other.t = t
	return &other
}

func realShell(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("ok" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[0].logs["stdio"],
		"hecho out; echo err >&2; printf partial\n", "h in dir "+w.dir+"/ok"+suffix+"/build (timeout 1200 secs)\n",
		"h watching logfiles {}\n", "h argv: b'echo out; echo err >&2; printf partial'\n", "h using PTY: False\n")
	contains(t, b.steps[0].logs["stdio"], "oout\n")
	contains(t, b.steps[0].logs["stdio"], "eerr\n")
	contains(t, b.steps[0].logs["stdio"], "opartial\n")
	contains(t, b.steps[0].logs["stdio"], "hprogram finished with exit code 0\n", "helapsedTime=0.")
	contains(t, b.steps[1].logs["stdio"], "hsh -c 'echo \"$0\"; pwd' 'a b'\n", `h argv: [b'sh', b'-c', b'echo "$0"; pwd', b'a b']`+"\n", "oa b\n", "o"+w.dir+"/ok"+suffix+"/build\n")

	b = m.run("fail" + suffix)
	want(t, b, bbFailure)
	contains(t, b.steps[0].logs["stdio"], "hprogram finished with exit code 7\n")

	b = m.run("missing" + suffix)
	want(t, b, bbFailure)
	contains(t, b.steps[0].logs["stdio"], "no-such-program-here", "hprogram finished with exit code 1\n")

	b = m.run("many" + suffix)
	want(t, b, bbSuccess)
	if len(b.steps) != 40 {
		t.Errorf("%d steps", len(b.steps))
	}
}

func realEnvironment(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("env" + suffix)
	want(t, b, bbSuccess)
	dir := w.dir + "/env" + suffix + "/build/deep/er"
	contains(t, b.steps[0].logs["stdio"], "oA=xC.UTF-8y\n", "oB=$A\n", "oL=one:two\n", "oP=p:\n", "oH=\n", "oS=\n", "o"+dir+"\n", "oPWD="+dir+"\n")

	b = m.run("secret" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[0].logs["stdio"], "XXX", "oright\n")
	if strings.Contains(strings.ReplaceAll(b.steps[0].logs["stdio"], `"$0" = hunter2`, ""), "hunter2") {
		t.Errorf("the secret is shown:\n%s", b.steps[0].logs["stdio"])
	}

	b = m.run("stdin" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[0].logs["stdio"], "h writing 16 bytes to stdin\n", "ofrom the master\n")

	b = m.run("pty" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[0].logs["stdio"], "h using PTY: True\n", "oterminal\n")
}

func realLimits(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("timeout" + suffix)
	want(t, b, bbFailure)
	contains(t, b.steps[0].logs["stdio"], "obegin\n", "h\n", "hcommand timed out: 1 seconds without output running b'echo begin; sleep 1000', attempting to kill\n",
		"hprocess killed by signal 9\n", "hprogram finished with exit code -1\n", "helapsedTime=")

	b = m.run("maxtime" + suffix)
	want(t, b, bbFailure)
	contains(t, b.steps[0].logs["stdio"], "otick\n", "hcommand timed out: 1 seconds elapsed running b'", "hprocess killed by signal 15\n")
}

func realStop(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	request := m.force("stop" + suffix)
	m.stopBuild(m.said(request, "oready\n"))
	b := m.finished(request)
	want(t, b, bbCancelled)
	contains(t, b.steps[0].logs["stdio"], "hcommand interrupted, attempting to kill\n", "hprocess killed by signal 9\n")
	if left := processes(t, w.dir); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}

	for _, what := range []string{"trap", "int"} { // sigtermTime, interruptSignal
		request = m.force(what + suffix)
		m.stopBuild(m.began(request, w.dir, what+suffix))
		b = m.finished(request)
		want(t, b, bbCancelled)
		contains(t, b.steps[0].logs["stdio"], "oready\n")
		contains(t, b.steps[0].logs["stdio"], "hcommand interrupted, attempting to kill\n")
		contains(t, b.steps[0].logs["stdio"], "ocaught\n")
		contains(t, b.steps[0].logs["stdio"], "hprogram finished with exit code 7\n")
	}
}

func realOutput(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("bytes" + suffix)
	want(t, b, bbSuccess)
	log := b.steps[0].logs["stdio"]
	contains(t, log, "oa\ufffdb\n", "oone\n", "otwo\n", "o"+strings.Repeat("0", 4095)+"\n", "o"+strings.Repeat("0", 905)+"\n", "oz\u00e4\n")

	b = m.run("lots" + suffix)
	want(t, b, bbSuccess)
	var got, all strings.Builder
	for l := range strings.Lines(b.steps[0].logs["stdio"]) {
		if l[0] == 'o' {
			got.WriteString(l[1:])
		}
	}
	for i := 1; i <= 200000; i++ {
		all.WriteString(strconv.Itoa(i) + "\n")
	}
	if got.String() != all.String() {
		t.Errorf("%d bytes of output, want %d", got.Len(), all.Len())
	}

	b = m.run("logs" + suffix)
	want(t, b, bbSuccess)
	if l := b.steps[0].logs["l"]; l != "ofirst\nosecond\n" {
		t.Errorf("log l: %q", l)
	}
}

func realFiles(t *testing.T, m *buildbot, w *testWorker, suffix string) {
	b := m.run("files" + suffix)
	want(t, b, bbSuccess)
	contains(t, b.steps[3].logs["stdio"], "odeep\n")

	b = m.run("up" + suffix)
	want(t, b, bbSuccess)
	here := filepath.Join(m.dir, "files"+suffix)
	big, err := os.ReadFile(filepath.Join(here, "big"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(here, "sum"))
	if err != nil || !strings.HasPrefix(string(sum), fmt.Sprintf("%x ", sha256.Sum256(big))) {
		t.Errorf("sha256 %x, want %s (%v)", sha256.Sum256(big), sum, err)
	}
	if suffix == "-pb" { // the master cannot keep it over MessagePack
		if st, err := os.Stat(filepath.Join(here, "big")); err != nil || st.ModTime().Unix() != 978307200 {
			t.Errorf("time of the file: %v (%v)", st.ModTime(), err)
		}
	}
	for _, dir := range []string{"plain", "gz", "bz2"} {
		one, err1 := os.ReadFile(filepath.Join(here, dir, "one"))
		two, err2 := os.ReadFile(filepath.Join(here, dir, "sub", "two"))
		if string(one) != "1\n" || string(two) != "2\n" {
			t.Errorf("%s: %q, %q (%v, %v)", dir, one, two, err1, err2)
		}
		if target, err := os.Readlink(filepath.Join(here, dir, "link")); target != "one" {
			t.Errorf("%s: the link leads to %q (%v)", dir, target, err)
		}
		if st, err := os.Stat(filepath.Join(here, dir, "one")); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: mode %v (%v)", dir, st.Mode(), err)
		}
	}
	for _, name := range []string{"one", "link", "sub/two", "sum"} {
		if _, err := os.Stat(filepath.Join(here, "many", name)); err != nil {
			t.Error(err)
		}
	}

	b = m.run("upfail" + suffix)
	want(t, b, bbFailure)
	for i, text := range []string{"eCannot open file '", "eCannot open directory '"} {
		if *b.steps[i].Results != bbFailure {
			t.Errorf("step %d: results %d", i, *b.steps[i].Results)
		}
		contains(t, b.steps[i].logs["stdio"], text)
	}
	if *b.steps[3].Results != bbFailure {
		t.Errorf("too large a file: results %d", *b.steps[3].Results)
	}
	if st, err := os.Stat(filepath.Join(here, "cut")); err != nil || st.Size() != 30000 {
		t.Errorf("a file cut at 30000 bytes: %v", err)
	}

	b = m.run("down" + suffix)
	if suffix == "-mp" {
		// Buildbot's master sends nothing here; see msgpack.Response.
		want(t, b, bbFailure)
		contains(t, b.steps[1].logs["stdio"], "use PB")
		return
	}
	want(t, b, bbSuccess)
	src, err := os.ReadFile(filepath.Join(here, "src"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, b.steps[3].logs["stdio"], fmt.Sprintf("o%x ", sha256.Sum256(src)), "o640\n", "otext\n")
}
