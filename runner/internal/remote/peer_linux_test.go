package remote

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// protocols are the names under which buildbot-worker knows them.
var protocols = map[protocol]string{protocolMsgpack: "msgpack_experimental_v7", protocolPB: "pb"}

// overBoth runs a test with an unmodified buildbot-worker over each protocol.
func overBoth(t *testing.T, test func(t *testing.T, speaks protocol)) {
	t.Parallel()
	for _, speaks := range []protocol{protocolMsgpack, protocolPB} {
		t.Run(string(speaks), func(t *testing.T) {
			t.Parallel()
			test(t, speaks)
		})
	}
}

// missing skips a test, or fails it in CI, where everything must be there.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: a real buildbot-worker: "+format, args...)
}

// buildbotWorker is a process of Buildbot's worker.
type buildbotWorker struct {
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// startWorker starts a real worker that connects to m.
func startWorker(t testing.TB, m *master, speaks protocol, name, password string, options ...string) *buildbotWorker {
	t.Helper()
	program, err := exec.LookPath("buildbot-worker")
	if err != nil {
		missing(t, "%v (Debian: buildbot-worker)", err)
	}
	w := &buildbotWorker{t: t, dir: filepath.Join(t.TempDir(), "worker"), exited: make(chan struct{})}
	args := append([]string{"create-worker", "-q", "--umask=0o22", "--protocol=" + protocols[speaks]}, options...)
	if out, err := exec.Command(program, append(args, w.dir, m.addr, name, password)...).CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	w.cmd = exec.Command(program, "start", "--nodaemon", w.dir)
	var said bytes.Buffer
	w.cmd.Stdout, w.cmd.Stderr = &said, &said
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.exited)
		_ = w.cmd.Wait() // tests look at exited
	}()
	t.Cleanup(func() {
		w.signal(syscall.SIGKILL)
		<-w.exited
		if t.Failed() {
			t.Logf("%s said:\n%s\n%s", name, &said, w.twistdLog())
		}
	})
	return w
}

func (w *buildbotWorker) signal(s syscall.Signal) {
	_ = syscall.Kill(w.cmd.Process.Pid, s) // it may be gone
}

// twistdLog is the end of the worker's own log.
func (w *buildbotWorker) twistdLog() string {
	text, err := os.ReadFile(filepath.Join(w.dir, "twistd.log"))
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(text[max(0, len(text)-8<<10):]), "?")
}
