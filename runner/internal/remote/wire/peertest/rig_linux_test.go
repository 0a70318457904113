package peertest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"bothy/runner/internal/remote/wire"
	"bothy/runner/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name     = "peer"
	password = "s3cret:ü"
	builder  = "builder"
)

// patient returns a context that ends when something has taken far too long.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testrig.Patience)
	t.Cleanup(cancel)
	return ctx
}

// program is a running program of Buildbot's.
type program struct {
	t     *testing.T
	dir   string
	said  bytes.Buffer // once ended
	ended chan struct{}
}

// prepare makes the directory of a program; it is skipped loudly when it is not
// installed.
func prepare(t *testing.T, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		testrig.Missing(t, "the codecs with a real peer: apt-get install --no-install-recommends %s", program)
	}
	dir := filepath.Join(t.TempDir(), program)
	for i, a := range args {
		if a == "DIR" {
			args[i] = dir
		}
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
	return dir
}

// start runs a program until the test ends.
func start(t *testing.T, name, dir string) *program {
	t.Helper()
	p := &program{t: t, dir: dir, ended: make(chan struct{})}
	cmd := exec.Command(name, "start", "--nodaemon", dir)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // tests look at ended
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be gone
		<-p.ended
		if t.Failed() {
			t.Logf("%s said:\n%s\n%s", name, &p.said, p.log())
		}
	})
	return p
}

// log is what the program has logged.
func (p *program) log() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "twistd.log"))
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(text), "?")
}

// logs waits until the program has logged something.
func (p *program) logs(what string) {
	p.t.Helper()
	testrig.Until(p.t, fmt.Sprintf("%q was not logged", what), func() bool {
		select {
		case <-p.ended:
			p.t.Fatal("it has ended")
		default:
		}
		return strings.Contains(p.log(), what)
	})
}

// startWorker starts buildbot-worker, which connects to addr.
func startWorker(t *testing.T, protocol string, addr net.Addr) *program {
	t.Helper()
	dir := prepare(t, "buildbot-worker", "create-worker", "-q", "--umask=0o22", "--protocol="+protocol, "DIR", addr.String(), name, password)
	return start(t, "buildbot-worker", dir)
}

// masterConfig is a master with one build to do for its one worker.
const masterConfig = `from buildbot.plugins import *
c = BuildmasterConfig = {}
c['protocols'] = {'pb': {'port': 'tcp:%[1]d:interface=127.0.0.1'}, 'msgpack_experimental_v7': {'port': %[2]d}}
c['workers'] = [worker.Worker(%[3]q, %[4]q)]
c['builders'] = [util.BuilderConfig(name=%[5]q, workernames=[%[3]q], factory=util.BuildFactory(
    [steps.ShellCommand(command=['echo', 'hello'], logEnviron=False, timeout=100)]))]
c['schedulers'] = [schedulers.Periodic(name='once', builderNames=[%[5]q], periodicBuildTimer=1000000)]
c['db'] = {'db_url': 'sqlite:///state.sqlite'}
c['buildbotNetUsageData'] = None
c['title'] = c['titleURL'] = c['buildbotURL'] = 'http://localhost/'
`

// startMaster starts a Buildbot master and returns where it listens.
func startMaster(t *testing.T) (m *program, pbAddr, msgpackAddr string) {
	t.Helper()
	dir := prepare(t, "buildbot", "create-master", "-q", "DIR")
	ports := freePorts(t, 2)
	config := fmt.Sprintf(masterConfig, ports[0], ports[1], name, password, builder)
	if err := os.WriteFile(filepath.Join(dir, "master.cfg"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	m = start(t, "buildbot", dir)
	m.logs("BuildMaster is running")
	return m, fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
}

// freePorts returns ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// workerInfo is what a worker must tell a master about itself.
func workerInfo(dir string) wire.Map {
	commands := wire.Map{}
	for _, c := range []string{"shell", "mkdir", "rmdir", "cpdir", "stat", "glob", "listdir", "rmfile"} {
		commands = append(commands, wire.Field{Key: c, Value: "3.1"})
	}
	return wire.Map{
		{Key: "admin", Value: "Ana <ana@example.org>\n"}, {Key: "host", Value: "a test\n"},
		{Key: "environ", Value: wire.Map{{Key: "PATH", Value: "/bin"}}}, {Key: "system", Value: "posix"}, {Key: "basedir", Value: dir},
		{Key: "numcpus", Value: 2}, {Key: "version", Value: "3.7.0"}, {Key: "worker_commands", Value: commands}, {Key: "delete_leftover_dirs", Value: false},
	}
}

// shell are the arguments of a shell command.
func shell(workdir, command string) wire.Map {
	return wire.Map{
		{Key: "command", Value: command}, {Key: "workdir", Value: workdir}, {Key: "env", Value: wire.Map{{Key: "GREETING", Value: "hällo"}}},
		{Key: "logEnviron", Value: false}, {Key: "timeout", Value: 100},
	}
}

// outcome is what a command has said.
type outcome struct {
	output map[string]string // by stream
	values wire.Map
	ended  chan any // gets the failure, or nil
}

func newOutcome() *outcome { return &outcome{output: map[string]string{}, ended: make(chan any, 1)} }

// wait returns once the command has ended, which must have an exit code.
func (o *outcome) wait(t *testing.T, ctx context.Context, code int64) {
	t.Helper()
	select {
	case failure := <-o.ended:
		if failure != nil {
			t.Errorf("the command failed: %v", failure)
		}
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	if rc, _ := o.values.Get("rc"); rc != code {
		t.Errorf("exit code %v, want %d; it said %q", rc, code, o.output)
	}
}
