package fleettest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bothy/runner/internal/testrig"
)

// breed is a make of worker and what it speaks.
type breed string

const (
	buildbotPB      breed = "buildbot-worker, pb"
	buildbotMsgpack breed = "buildbot-worker, msgpack"
	bothyPB         breed = "bothy worker, pb"
	bothyMsgpack    breed = "bothy worker, msgpack"
	local           breed = "local"
)

func (b breed) isBothy() bool { return b == bothyPB || b == bothyMsgpack }

// peer is a worker's process.
type peer struct {
	*testrig.Process
	t     testing.TB
	breed breed
	dir   string
	mark  string // in the environment of all that it starts
	scene *testrig.Scene
	args  []string
}

var marks atomic.Int64

// newPeer makes a worker of a master's; dial is where it connects, "" for the
// master itself.
func newPeer(t testing.TB, b breed, m *master, name, dial string, wrap ...string) *peer {
	t.Helper()
	p := &peer{t: t, breed: b, dir: filepath.Join(t.TempDir(), name)}
	p.mark = fmt.Sprintf("LC_FLEET_MARK=%d.%d.", os.Getpid(), marks.Add(1))
	port := m.pb
	if b == buildbotMsgpack || b == bothyMsgpack {
		port = m.msgpack
	}
	if dial == "" {
		dial = net.JoinHostPort(m.host, strconv.Itoa(port))
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "info"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.scene = &testrig.Scene{T: t, Dir: p.dir, Program: testrig.Program(), Wrap: wrap, Env: append(os.Environ(), p.mark)}
	if b.isBothy() {
		file := filepath.Join(p.dir, "password")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, protocol, _ := strings.Cut(string(b), ", ")
		p.args = []string{"worker", "--master", dial, "--name", name, "--password-file", file, "--protocol", protocol, "--basedir", p.dir}
	} else {
		p.scene.Program = "buildbot-worker"
		writeTac(t, p.dir, b, dial, name)
		p.args = []string{"start", "--nodaemon", p.dir}
	}
	t.Cleanup(func() {
		if p.Process != nil {
			p.kill()
		}
		for _, line := range testrig.Processes(t, p.mark) {
			pid, _, _ := strings.Cut(line, " ")
			if n, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended
			}
		}
		if t.Failed() {
			t.Logf("worker %s: %s", name, testrig.Shorten(p.said()))
		}
	})
	return p
}

// startPeer is newPeer, and starts it.
func startPeer(t testing.TB, b breed, m *master, name string) *peer {
	t.Helper()
	p := newPeer(t, b, m, name, "")
	p.launch()
	return p
}

func (p *peer) launch() {
	p.t.Helper()
	p.Process = p.scene.Prepare(p.args...)
	p.Cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // if the tests are killed
	p.Process.Launch()
}

// kill ends the process at once.
func (p *peer) kill() {
	_ = syscall.Kill(p.Cmd.Process.Pid, syscall.SIGKILL) // it may be gone
	<-p.Ended
}

func (p *peer) hasEnded() bool {
	select {
	case <-p.Ended:
		return true
	default:
		return false
	}
}

// ends waits until the process has ended by itself.
func (p *peer) ends() {
	p.t.Helper()
	until(p.t, "the worker's process has not ended", p.hasEnded)
}

// said is what the worker has logged.
func (p *peer) said() string {
	if p.Process == nil {
		return ""
	}
	text := p.All()
	if b, err := os.ReadFile(filepath.Join(p.dir, "twistd.log")); err == nil {
		text += "\n" + string(b)
	}
	return text
}

// tac is what "buildbot-worker create-worker" writes: it is asked once, since it
// is a program in Python.
var tac = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	dir = filepath.Join(dir, "worker")
	create := exec.Command("buildbot-worker", "create-worker", "-q", "--relocatable", "--umask=0o22", "--protocol=pb", dir, "THE-HOST:65123", "THE-NAME", "THE-PASSWORD")
	if out, err := create.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("create-worker: %w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "buildbot.tac"))
})

// writeTac sets a buildbot-worker up.
func writeTac(t testing.TB, dir string, b breed, dial, name string) {
	t.Helper()
	need(t, "buildbot-worker")
	text, err := tac()
	if err != nil {
		t.Fatal(err)
	}
	protocol := "pb"
	if b == buildbotMsgpack {
		protocol = "msgpack_experimental_v7"
	}
	host, port, err := net.SplitHostPort(dial)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{
		{"'THE-HOST'", strconv.Quote(host)}, {"65123", port}, {"THE-NAME", name}, {"THE-PASSWORD", password}, {"'pb'", strconv.Quote(protocol)},
	} {
		if !bytes.Contains(text, []byte(r[0])) {
			t.Fatalf("create-worker wrote no %s:\n%s", r[0], text)
		}
		text = bytes.ReplaceAll(text, []byte(r[0]), []byte(r[1]))
	}
	for file, text := range map[string]string{"buildbot.tac": string(text), "info/admin": "Ana <ana@example.com>\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
