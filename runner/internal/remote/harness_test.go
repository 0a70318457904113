package remote

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bothy/runner/config"
	"bothy/runner/worker"
)

// TestMain lets many tests run at the same time: those with real peers wait for
// pings, back-off and Python most of their time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long what should happen at once may take: a machine may be
// slow, and busy with other tests.
const patience = 2 * time.Minute

// until polls until something is so.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for wait := time.Millisecond; !is(); wait = min(2*wait, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(wait)
	}
}

// within bounds what a test waits for.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// master is a listener with workers, for a test.
type master struct {
	*Listener
	t    testing.TB
	addr string
	log  *logBuffer

	mu        sync.Mutex
	passwords map[string]Password
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

// newMaster makes a master that knows names, each with the password "s3cret".
func newMaster(t testing.TB, change func(*Options), names ...string) *master {
	t.Helper()
	m := &master{t: t, log: &logBuffer{}, passwords: map[string]Password{}}
	for _, name := range names {
		m.passwords[name] = Password{Text: "s3cret"}
	}
	o := Options{
		Password: func(name string) (Password, bool) {
			m.mu.Lock()
			defer m.mu.Unlock()
			p, ok := m.passwords[name]
			return p, ok
		},
		Logger: slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if m.Listener, err = NewListener(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("master's log:\n%s", m.log)
		}
	})
	return m
}

// listen makes the master listen on loopback.
func (m *master) listen() *master {
	m.t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	m.addr = port.Addr().String()
	served := make(chan error, 1)
	go func() { served <- m.Serve(port) }()
	m.t.Cleanup(func() {
		m.Close()
		if err := <-served; err != ErrListenerClosed {
			m.t.Errorf("Serve: %v", err)
		}
	})
	return m
}

// kind registers a worker.
func (m *master) kind(name string) *Worker {
	m.t.Helper()
	k, err := m.Worker(config.Worker{Name: name, Kind: config.WorkerRemote})
	if err != nil {
		m.t.Fatal(err)
	}
	return k.(*Worker)
}

// attach waits for a worker.
func attach(t testing.TB, k *Worker) *Conn {
	t.Helper()
	c, err := k.Attach(within(t))
	if err != nil {
		t.Fatalf("attach %s: %v", k.name, err)
	}
	return c.(*Conn)
}

// output collects what a command writes.
type output struct {
	mu       sync.Mutex
	streams  map[worker.Stream]*bytes.Buffer
	logs     map[string]*bytes.Buffer
	received chan struct{} // has an element after output
}

func newOutput() *output {
	return &output{streams: map[worker.Stream]*bytes.Buffer{}, logs: map[string]*bytes.Buffer{}, received: make(chan struct{}, 1)}
}

// Output implements [worker.Sink].
func (o *output) Output(log string, s worker.Stream, p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.streams[s]
	if log != "" {
		b = o.logs[log]
	}
	if b == nil {
		b = &bytes.Buffer{}
		if log == "" {
			o.streams[s] = b
		} else {
			o.logs[log] = b
		}
	}
	b.Write(p)
	wake(o.received)
	return nil
}

func (o *output) text(s worker.Stream) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.streams[s]; b != nil {
		return b.String()
	}
	return ""
}

func (o *output) log(name string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.logs[name]; b != nil {
		return b.String()
	}
	return ""
}

var tokens struct {
	sync.Mutex
	n int64
}

// startBuild starts a build in an empty directory.
func startBuild(t testing.TB, c *Conn, builder string, change func(*worker.BuildSpec)) *Build {
	t.Helper()
	tokens.Lock()
	tokens.n++
	spec := worker.BuildSpec{
		Token: worker.Token{Epoch: 1, Counter: tokens.n}, Builder: builder, Number: tokens.n,
		Source: worker.Source{Kind: worker.SourceNone}, Workspace: worker.WorkspaceFresh,
	}
	tokens.Unlock()
	if change != nil {
		change(&spec)
	}
	b, err := c.StartBuild(within(t), spec)
	if err != nil {
		t.Fatal(err)
	}
	return b.(*Build)
}

// sh is a command for the shell in the worker's own environment.
func sh(b *Build, line string) worker.Command {
	return worker.Command{Argv: []string{"/bin/sh", "-c", line}, Env: b.c.Environ(), SigtermTime: 2 * time.Second}
}

// run runs a command and returns its end and output.
func run(t testing.TB, b *Build, cmd worker.Command) (worker.Exit, *output) {
	t.Helper()
	out := newOutput()
	exit, err := b.Run(within(t), cmd, out)
	if err != nil {
		t.Fatalf("%q: %v", cmd.Argv, err)
	}
	return exit, out
}

// end ends a build.
func end(t testing.TB, b *Build, keep worker.KeepDir) worker.Receipt {
	t.Helper()
	r, err := b.End(within(t), keep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
