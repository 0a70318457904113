package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bothy/runner/internal/testrig"
)

// steer asks the master to pause, stop or kill a worker.
func (m *buildbot) steer(worker, action string) {
	m.t.Helper()
	var out any
	m.ask(map[string]any{"control": []any{"workers", m.worker(worker).WorkerID}, "action": action, "args": map[string]any{"reason": "test"}}, &out)
}

func let(t *testing.T, o Options, suffix string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.BaseDir, "slow"+suffix, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func realInfo(t *testing.T, m *buildbot, o Options, _ string) {
	startWorker(t, o)
	m.connected(o.Name, true)
	info := m.worker(o.Name).Info
	for name, want := range map[string]string{
		"admin": "Ana <ana@example.com>\n", "host": "A machine\n", "access_uri": "ssh://here\n", "version": "1.2.3",
	} {
		if info[name] != want {
			t.Errorf("%s = %q, want %q", name, info[name], want)
		}
	}
}

// A worker that is asked to leave finishes the build that runs, with the steps
// that follow.
func realLeave(t *testing.T, m *buildbot, o Options, suffix string) {
	w := startWorker(t, o)
	m.connected(o.Name, true)
	request := m.force("slow" + suffix)
	m.began(request, o.BaseDir, "slow"+suffix)
	w.Leave()
	let(t, o, suffix)
	b := m.finished(request)
	want(t, b, bbSuccess)
	contains(t, b.steps[1].logs["stdio"], "oafter\n")
	w.ends(t)
	if w.err != nil {
		t.Error(w.err)
	}
	m.connected(o.Name, false)
}

// The master's graceful stop and its kill end the worker with code 0.
func realEnd(t *testing.T, m *buildbot, o Options, suffix string) {
	w := startWorker(t, o)
	m.connected(o.Name, true)
	request := m.force("slow" + suffix)
	m.began(request, o.BaseDir, "slow"+suffix)
	m.steer(o.Name, "stop")
	let(t, o, suffix)
	want(t, m.finished(request), bbSuccess)
	w.ends(t)
	if w.err != nil {
		t.Error(w.err)
	}

	w = startWorker(t, o)
	m.connected(o.Name, true)
	request = m.force("stop" + suffix)
	m.began(request, o.BaseDir, "stop"+suffix)
	m.steer(o.Name, "kill")
	w.ends(t)
	if w.err != nil {
		t.Error(w.err)
	}
	if left := processes(t, o.BaseDir); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	m.forget(request)
}

// What runs, and what earlier commands left, ends with the connection; the worker
// comes back to the master when that does.
func TestMasterIsRestarted(t *testing.T) {
	t.Parallel()
	for _, side := range sides {
		t.Run(string(side.protocol), func(t *testing.T) {
			t.Parallel()
			m, suffix := startBuildbot(t), side.suffix
			o := testOptions(t, m.addr(side.protocol), side.protocol, side.worker)
			startWorker(t, o)
			m.connected(o.Name, true)
			want(t, m.run("daemon"+suffix), bbSuccess)
			if left := processes(t, o.BaseDir); len(left) != 1 {
				t.Errorf("a command may leave a process; there are %q", left)
			}
			m.began(m.force("stop"+suffix), o.BaseDir, "stop"+suffix)
			m.stop()
			testrig.Until(t, "processes do not end with the connection", func() bool { return len(processes(t, o.BaseDir)) == 0 })
			m.start()
			m.connected(o.Name, true)
			want(t, m.run("ok"+suffix), bbSuccess)
		})
	}
}

func realRefused(t *testing.T, m *buildbot, o Options, suffix string) {
	wrong := testOptions(t, m.addr(o.Protocol), o.Protocol, o.Name)
	wrong.Once = true
	wrong.Password = func() (string, error) { return "guess", nil }
	w := startWorker(t, wrong)
	w.ends(t)
	if !errors.Is(w.err, ErrRefused) {
		t.Errorf("a wrong password: %v", w.err)
	}

	startWorker(t, o)
	m.connected(o.Name, true)
	second := testOptions(t, m.addr(o.Protocol), o.Protocol, o.Name)
	second.Once = true
	w = startWorker(t, second)
	w.ends(t)
	if !errors.Is(w.err, ErrRefused) {
		t.Errorf("a second connection of the name: %v", w.err)
	}
	want(t, m.run("ok"+suffix), bbSuccess)
}
