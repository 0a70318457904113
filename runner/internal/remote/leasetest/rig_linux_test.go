package leasetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bothy/localworker"
	"bothy/runner/config"
	"bothy/runner/internal/remote"
	"bothy/runner/internal/remote/agent"
	"bothy/runner/internal/testrig"
	"bothy/runner/worker"
)

const (
	password = "s3cret"
	// workerEnv makes the test's program a worker: the master's address and the
	// base directory.
	workerEnv = "LEASETEST_MASTER"
	dirEnv    = "LEASETEST_DIR"
)

func TestMain(m *testing.M) {
	localworker.Helper()
	if addr := os.Getenv(workerEnv); addr != "" {
		if err := beWorker(addr, os.Getenv(dirEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func beWorker(addr, dir string) error {
	o, err := options(addr, dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		return err
	}
	a, err := agent.New(context.Background(), o)
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

// mark is in the environment of all commands of a worker, to find them by.
func mark(dir string) string { return "LC_BOTHY_MARK=" + dir }

func options(addr, dir string, log *slog.Logger) (agent.Options, error) {
	m, err := agent.ParseMaster(addr)
	return agent.Options{
		Master: m, Protocol: agent.Msgpack, Name: "bot", Password: func() (string, error) { return password, nil },
		BaseDir: dir, Version: "1.2.3", Environ: worker.BaseEnv(append(os.Environ(), mark(dir)), nil), Logger: log,
	}, err
}

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// master is a listener with the worker "bot".
type master struct {
	*remote.Listener
	kind worker.Kind
	addr string
	log  *logBuffer
	port net.Listener
}

func newMaster(t testing.TB, lease time.Duration) *master {
	t.Helper()
	m := &master{log: &logBuffer{}}
	var err error
	m.Listener, err = remote.NewListener(remote.Options{
		Password: func(name string) (remote.Password, bool) { return remote.Password{Text: password}, name == "bot" },
		Logger:   m.log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.kind, err = m.Worker(config.Worker{Name: "bot", Kind: config.WorkerRemote, Remote: config.RemoteWorker{Lease: lease}})
	if err != nil {
		t.Fatal(err)
	}
	if m.port, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.addr = m.port.Addr().String()
	served := make(chan error, 1)
	go func() { served <- m.Serve(m.port) }()
	t.Cleanup(func() {
		m.Close()
		<-served
		if t.Failed() {
			t.Logf("master's log:\n%s", m.log)
		}
	})
	return m
}

func (m *master) attach(t testing.TB) *remote.Conn {
	t.Helper()
	c, err := m.kind.Attach(within(t))
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	return c.(*remote.Conn)
}

const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bot is a worker in this process.
type bot struct {
	dir  string
	log  *logBuffer
	kill func() // ends it and waits
}

func startBot(t testing.TB, addr, dir string, change func(*agent.Options)) *bot {
	t.Helper()
	b := &bot{dir: dir, log: &logBuffer{}}
	o, err := options(addr, dir, b.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	a, err := agent.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Run(ctx) // cancelled
	}()
	b.kill = func() {
		cancel()
		<-ended
	}
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("worker's log:\n%s", b.log)
		}
		noneLeft(t, dir)
	})
	return b
}

// noneLeft checks that nothing of a worker that has ended is left.
func noneLeft(t testing.TB, dir string) {
	t.Helper()
	if left := testrig.Processes(t, mark(dir)); len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
	spools, err := filepath.Glob(filepath.Join(dir, ".bothy", "spool*"))
	if err != nil || len(spools) > 0 {
		t.Errorf("spool left: %q, %v", spools, err)
	}
}

// startProcess starts a worker in a process of its own.
func startProcess(t testing.TB, addr, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), workerEnv+"="+addr, dirEnv+"="+dir)
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("worker's log:\n%s", log)
		}
	})
	return cmd
}

var counter atomic.Int64

func startBuild(t testing.TB, c *remote.Conn) worker.Build {
	t.Helper()
	n := counter.Add(1)
	b, err := c.StartBuild(within(t), worker.BuildSpec{
		Token: worker.Token{Epoch: 1, Counter: n}, Builder: "test", Number: n, Source: worker.Source{Kind: worker.SourceNone},
	})
	if err != nil {
		t.Fatalf("start a build: %v", err)
	}
	return b
}

func sh(c *remote.Conn, line string) worker.Command {
	return worker.Command{Argv: []string{"/bin/sh", "-c", line}, Env: c.Environ()}
}

// writer is a sink.
type writer struct{ w io.Writer }

func (s writer) Output(_ string, stream worker.Stream, p []byte) error {
	if stream != worker.Stdout {
		return nil
	}
	_, err := s.w.Write(p)
	return err
}

// ran is how a command ended.
type ran struct {
	exit worker.Exit
	err  error
}

// run runs a command in the background.
func run(ctx context.Context, b worker.Build, cmd worker.Command, w io.Writer) <-chan ran {
	out := make(chan ran, 1)
	go func() {
		exit, err := b.Run(ctx, cmd, writer{w})
		out <- ran{exit, err}
	}()
	return out
}

func await(t testing.TB, what string, c <-chan ran) ran {
	t.Helper()
	select {
	case r := <-c:
		return r
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
		return ran{}
	}
}
