package fleettest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bothy/runner/internal/testrig"
)

// master is a running master of either make.
type master struct {
	asker
	t           testing.TB
	make        string // "bothy" or "buildbot"
	dir         string
	host        string
	pb, msgpack int // ports; the same of a Bothy
	box         *mailbox
	scene       *testrig.Scene
	args        []string
	answers     func() bool

	*testrig.Process
}

// where is how a master runs elsewhere than on this machine's loopback.
type where struct {
	host string   // "": 127.0.0.1
	wrap []string // a command that runs another
}

// freePorts returns n ports that nobody listens on.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// newBothy starts a Bothy.
func newBothy(t testing.TB, p *plan, at where) *master {
	t.Helper()
	if at.host == "" {
		at.host = "127.0.0.1"
	}
	port := freePorts(t, 1)[0]
	box := newMailbox(t)
	conf := fmt.Sprintf("[remote]\nlisten = \"%s:%d\"\n[mail]\nrelay = \"127.0.0.1:%d\"\ntls = \"none\"\n[machine]\ncpus = 2\nmemory_per_build = \"64MiB\"\n",
		at.host, port, box.port) + p.toml()
	s := testrig.NewScene(t, t.TempDir(), conf)
	s.Wrap = at.wrap
	m := &master{
		t: t, make: "bothy", dir: s.Dir, host: at.host, pb: port, msgpack: port, box: box,
		asker: newREST(s.Layout(s.Path(".bothy"))), scene: s, args: []string{"serve"},
	}
	m.answers = func() bool { rows, err := m.get("workers"); return err == nil && len(rows) > 2 }
	m.launch()
	return m
}

// newBuildbot starts a master of Buildbot's, with testdata/master.cfg.
func newBuildbot(t testing.TB, p *plan) *master {
	t.Helper()
	need(t, "buildbot", "buildbot-worker")
	ports := freePorts(t, 3)
	box := newMailbox(t)
	dir := t.TempDir()
	conf, err := os.ReadFile("testdata/master.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"master.cfg": conf, "plan.json": p.json(t)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &testrig.Scene{T: t, Dir: dir, Program: "buildbot"}
	s.Env = append(os.Environ(), fmt.Sprintf("PB_PORT=%d", ports[0]), fmt.Sprintf("MSGPACK_PORT=%d", ports[1]),
		fmt.Sprintf("CONTROL_PORT=%d", ports[2]), fmt.Sprintf("SMTP_PORT=%d", box.port), "WORKER_PASSWORD="+password)
	s.Run(0, "create-master", "-q", dir)
	m := &master{
		t: t, make: "buildbot", dir: dir, host: "127.0.0.1", pb: ports[0], msgpack: ports[1], box: box,
		asker: &line{net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2]))}, scene: s, args: []string{"start", "--nodaemon", dir},
	}
	m.answers = func() bool {
		var rows []json.RawMessage
		for _, port := range ports { // it opens them last, one after the other
			conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				return false
			}
			conn.Close()
		}
		b, err := m.get("workers")
		return err == nil && json.Unmarshal(b, &rows) == nil && len(rows) >= len(p.Workers)
	}
	t.Cleanup(func() {
		m.crash()
		if t.Failed() {
			t.Logf("Buildbot's master: %s", testrig.Shorten(m.said()))
		}
	})
	m.launch()
	return m
}

// launch starts the master, anew after crash.
func (m *master) launch() {
	m.t.Helper()
	m.Process = m.scene.Prepare(m.args...)
	m.Cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // if the tests are killed
	m.Process.Launch()
	until(m.t, "the master does not answer", func() bool {
		select {
		case <-m.Ended:
			m.t.Fatalf("the master ended:\n%s\n%s", m.All(), m.said())
		default:
		}
		return m.answers()
	})
}

// crash kills the master.
func (m *master) crash() {
	_ = syscall.Kill(-m.Cmd.Process.Pid, syscall.SIGKILL) // it may be gone
	<-m.Ended
}

// with is the master as part of a test of its own.
func (m *master) with(t testing.TB) *master {
	other := *m
	other.t = t
	return &other
}

// said is what the master has logged.
func (m *master) said() string {
	if m.make == "bothy" {
		return m.Err.String()
	}
	b, err := os.ReadFile(filepath.Join(m.dir, "twistd.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// results are the names of Buildbot's numbers.
var results = []string{"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"}

func resultName(r *int) string {
	if r == nil || *r < 0 || *r >= len(results) {
		return "none"
	}
	return results[*r]
}

type workerRow struct {
	ID          int64 `json:"workerid"`
	Name        string
	ConnectedTo []any `json:"connected_to"`
	Paused      bool
	Graceful    bool
}

type requestRow struct {
	ID       int64 `json:"buildrequestid"`
	Complete bool
	Results  *int
}

type buildRow struct {
	ID       int64 `json:"buildid"`
	Results  *int
	Complete bool
	State    string `json:"state_string"`
	Worker   int64  `json:"workerid"`
}

func (b buildRow) result() string { return resultName(b.Results) }

type stepRow struct {
	ID      int64 `json:"stepid"`
	Name    string
	Number  int
	Results *int
	State   string `json:"state_string"`
}

// rows asks for rows.
func rows[T any](m *master, format string, args ...any) (all []T) {
	m.t.Helper()
	path := fmt.Sprintf(format, args...)
	b, err := m.get(path)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		m.t.Errorf("ask %s for %s: %v", m.make, path, err)
	}
	return all
}

func (m *master) worker(name string) workerRow {
	m.t.Helper()
	all := rows[workerRow](m, "workers")
	if i := slices.IndexFunc(all, func(w workerRow) bool { return w.Name == name }); i >= 0 {
		return all[i]
	}
	m.t.Fatalf("%s has no worker %s", m.make, name)
	return workerRow{}
}

// connected waits until a worker is connected, or is not.
func (m *master) connected(name string, want bool) {
	m.t.Helper()
	until(m.t, fmt.Sprintf("connected(%s) is not %v", name, want), func() bool { return m.isConnected(name) == want })
}

func (m *master) isConnected(name string) bool {
	m.t.Helper()
	return len(m.worker(name).ConnectedTo) > 0
}

// steer does something to a worker.
func (m *master) steer(name, action string) {
	m.t.Helper()
	if err := m.control(fmt.Sprintf("workers/%d", m.worker(name).ID), action, "test"); err != nil {
		m.t.Errorf("%s %s: %v", action, name, err)
	}
}

// ask asks for a build, and returns the request.
func (m *master) ask(builder string) int64 {
	m.t.Helper()
	ids, err := m.force(builder)
	if err != nil || len(ids) != 1 {
		m.t.Fatalf("force %s: %v, %v", builder, ids, err)
	}
	return ids[0]
}

func (m *master) builds(request int64) []buildRow {
	m.t.Helper()
	all := rows[buildRow](m, "buildrequests/%d/builds", request)
	slices.SortFunc(all, func(a, b buildRow) int { return int(a.ID - b.ID) })
	return all
}

// build waits for build n of a request, counted from 1.
func (m *master) build(request int64, n int) (b buildRow) {
	m.t.Helper()
	until(m.t, fmt.Sprintf("request %d has no build %d", request, n), func() bool {
		all := m.builds(request)
		if len(all) < n {
			return false
		}
		b = all[n-1]
		return true
	})
	return b
}

// ended waits for the end of build n of a request.
func (m *master) ended(request int64, n int) (b buildRow) {
	m.t.Helper()
	until(m.t, fmt.Sprintf("build %d of request %d does not end", n, request), func() bool {
		b = m.build(request, n)
		return b.Complete
	})
	return b
}

// done waits for the end of a request, and returns its builds.
func (m *master) done(request int64) []buildRow {
	m.t.Helper()
	until(m.t, fmt.Sprintf("request %d is not complete", request), func() bool { return m.request(request).Complete })
	return m.builds(request)
}

func (m *master) request(id int64) requestRow {
	m.t.Helper()
	all := rows[requestRow](m, "buildrequests/%d", id)
	if len(all) != 1 {
		m.t.Fatalf("request %d: %v", id, all)
	}
	return all[0]
}

// steps are those of the plan that a build has begun.
func (m *master) steps(b buildRow) []stepRow {
	m.t.Helper()
	all := rows[stepRow](m, "builds/%d/steps", b.ID)
	return slices.DeleteFunc(all, func(s stepRow) bool { return s.Name == "worker_preparation" })
}

// log is what a step has printed so far: each line begins with o, e or h.
func (m *master) log(s stepRow) string {
	m.t.Helper()
	var text strings.Builder
	for _, l := range rows[struct {
		ID int64 `json:"logid"`
	}](m, "steps/%d/logs", s.ID) {
		for _, c := range rows[struct{ Content string }](m, "logs/%d/contents", l.ID) {
			text.WriteString(c.Content)
		}
	}
	return text.String()
}
