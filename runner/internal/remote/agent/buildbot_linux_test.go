package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/testrig"
)

// buildbot is a running master of Buildbot's, with the configuration of
// testdata/master.cfg.
type buildbot struct {
	t                    testing.TB
	dir                  string
	pb, msgpack, control int
	cmd                  *exec.Cmd
	ended                chan struct{}
}

// log returns the end of what the master has logged.
func (m *buildbot) log() string {
	b, err := os.ReadFile(filepath.Join(m.dir, "twistd.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
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

// startBuildbot makes a master and starts it; it ends with the test.
func startBuildbot(t testing.TB) *buildbot {
	t.Helper()
	if _, err := exec.LookPath("buildbot"); err != nil {
		testrig.Missing(t, "Buildbot's master: apt-get install --no-install-recommends buildbot")
	}
	ports := freePorts(t, 3)
	m := &buildbot{t: t, dir: t.TempDir(), pb: ports[0], msgpack: ports[1], control: ports[2]}
	if out, err := exec.Command("buildbot", "create-master", "-q", m.dir).CombinedOutput(); err != nil {
		t.Fatalf("create-master: %v\n%s", err, out)
	}
	conf, err := os.ReadFile("testdata/master.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "master.cfg"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.stop)
	return m
}

func (m *buildbot) start() {
	m.t.Helper()
	m.cmd = exec.Command("buildbot", "start", "--nodaemon", m.dir)
	m.cmd.Dir = m.dir
	m.cmd.Env = append(os.Environ(), fmt.Sprintf("PB_PORT=%d", m.pb), fmt.Sprintf("MSGPACK_PORT=%d", m.msgpack), fmt.Sprintf("CONTROL_PORT=%d", m.control))
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	m.ended = ended
	cmd := m.cmd
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	testrig.Until(m.t, "the master does not answer", func() bool {
		select {
		case <-ended:
			m.t.Fatalf("the master ended:\n%s", m.log())
		default:
		}
		// It opens these ports last, one after the other.
		for _, port := range []int{m.control, m.pb, m.msgpack} {
			conn, err := net.Dial("tcp", localAddr(port))
			if err != nil {
				return false
			}
			conn.Close()
		}
		var workers []bbWorker
		return m.try(map[string]any{"get": []string{"workers"}}, &workers) == nil && len(workers) == 2
	})
}

// stop ends the master as a crash would.
func (m *buildbot) stop() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	<-m.ended
}

// try asks the master something.
func (m *buildbot) try(question, answer any) error {
	conn, err := net.Dial("tcp", localAddr(m.control))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testrig.Patience)); err != nil {
		return err
	}
	if err := json.NewEncoder(conn).Encode(question); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(conn, 1<<20).ReadBytes('\n')
	if err != nil {
		return err
	}
	var fault struct{ Error string }
	if json.Unmarshal(line, &fault) == nil && fault.Error != "" {
		return fmt.Errorf("the master says: %s", fault.Error)
	}
	return json.Unmarshal(line, answer)
}

func (m *buildbot) ask(question, answer any) {
	m.t.Helper()
	if err := m.try(question, answer); err != nil {
		m.t.Fatalf("ask the master %v: %v", question, err)
	}
}

func (m *buildbot) get(answer any, path ...any) {
	m.t.Helper()
	m.ask(map[string]any{"get": path}, answer)
}

// force asks for a build, and returns the number of the request.
func (m *buildbot) force(builder string) int {
	m.t.Helper()
	var ids []int
	m.ask(map[string]any{"force": builder}, &ids)
	return ids[0]
}

type bbBuild struct {
	BuildID     int `json:"buildid"`
	RequestID   int `json:"buildrequestid"`
	Results     *int
	Complete    bool
	StateString string `json:"state_string"`
	steps       []bbStep
}

type bbStep struct {
	StepID      int `json:"stepid"`
	Name        string
	Results     *int
	StateString string `json:"state_string"`
	logs        map[string]string
}

// began waits until a build of the request runs and has made the file "ready" in a
// worker's directory: over MessagePack its output comes 5 s later.
func (m *buildbot) began(request int, base, builder string) (build int) {
	m.t.Helper()
	ready := filepath.Join(base, builder, "build", "ready")
	testrig.Until(m.t, fmt.Sprintf("request %d does not run", request), func() bool { return os.Remove(ready) == nil })
	return m.builds(request)[0].BuildID
}

// said waits until a build of the request runs, and what its first step prints
// contains text.
func (m *buildbot) said(request int, text string) (build int) {
	m.t.Helper()
	testrig.Until(m.t, fmt.Sprintf("no build of request %d says %q", request, text), func() bool {
		for _, b := range m.builds(request) {
			if m.read(&b); len(b.steps) > 0 && strings.Contains(b.steps[0].logs["stdio"], text) {
				build = b.BuildID
				return true
			}
		}
		return false
	})
	return build
}

func (m *buildbot) builds(request int) []bbBuild {
	m.t.Helper()
	var builds []bbBuild
	m.get(&builds, "buildrequests", request, "builds")
	return builds
}

// finished waits for the end of the request's last build.
func (m *buildbot) finished(request int) bbBuild {
	m.t.Helper()
	var b bbBuild
	testrig.Until(m.t, fmt.Sprintf("request %d is not complete", request), func() bool {
		var r struct{ Complete bool }
		m.get(&r, "buildrequests", request)
		builds := m.builds(request)
		if !r.Complete || len(builds) == 0 {
			return false
		}
		b = builds[len(builds)-1]
		return b.Complete
	})
	m.read(&b)
	return b
}

// read reads the steps of a build with their logs.
func (m *buildbot) read(b *bbBuild) {
	m.t.Helper()
	b.steps = nil
	m.get(&b.steps, "builds", b.BuildID, "steps")
	// The master's own step, before those of the configuration.
	b.steps = slices.DeleteFunc(b.steps, func(s bbStep) bool { return s.Name == "worker_preparation" })
	for i := range b.steps {
		s := &b.steps[i]
		var logs []struct {
			LogID int `json:"logid"`
			Name  string
		}
		m.get(&logs, "steps", s.StepID, "logs")
		s.logs = map[string]string{}
		for _, l := range logs {
			var c struct{ Content string }
			m.get(&c, "logs", l.LogID, "contents")
			s.logs[l.Name] = c.Content
		}
	}
}

// run runs a builder.
func (m *buildbot) run(builder string) bbBuild {
	m.t.Helper()
	return m.finished(m.force(builder))
}

// stopBuild asks the master to stop a build.
func (m *buildbot) stopBuild(id int) {
	m.t.Helper()
	var out any
	m.ask(map[string]any{"control": []any{"builds", id}, "action": "stop", "args": map[string]any{"reason": "enough"}}, &out)
}

// forget cancels a request whose build was lost with its worker: it would be built
// again.
func (m *buildbot) forget(request int) {
	m.t.Helper()
	var r struct{ Claimed, Complete bool }
	waits := func() bool {
		m.get(&r, "buildrequests", request)
		return !r.Claimed
	}
	testrig.Until(m.t, "the build was not given up", waits)
	var out any
	m.ask(map[string]any{"control": []any{"buildrequests", request}, "action": "cancel", "args": map[string]any{"reason": "enough"}}, &out)
	testrig.Until(m.t, "the request was not cancelled", func() bool { waits(); return r.Complete })
}

type bbWorker struct {
	WorkerID    int `json:"workerid"`
	Name        string
	ConnectedTo []any          `json:"connected_to"`
	Info        map[string]any `json:"workerinfo"`
}

func (m *buildbot) worker(name string) bbWorker {
	m.t.Helper()
	var all []bbWorker
	m.get(&all, "workers")
	for _, w := range all {
		if w.Name == name {
			return w
		}
	}
	m.t.Fatalf("the master has no worker %s", name)
	return bbWorker{}
}

// connected waits until a worker is connected, or is not.
func (m *buildbot) connected(name string, want bool) {
	m.t.Helper()
	testrig.Until(m.t, fmt.Sprintf("connected(%s) is not %v", name, want), func() bool {
		return (len(m.worker(name).ConnectedTo) > 0) == want
	})
}
