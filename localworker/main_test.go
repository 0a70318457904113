package localworker

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"bothy/runner/worker"
)

func TestMain(m *testing.M) {
	Helper()
	goleak.VerifyTestMain(m)
}

// sink keeps what a command writes.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
	saw chan string // receives each piece, if not nil
}

func (s *sink) Output(_ string, _ worker.Stream, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(p)
	if s.saw != nil {
		s.saw <- string(p)
	}
	return nil
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func needShell(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: steps of this test are for a Unix shell")
	}
}

func shell(script string) worker.Command {
	return worker.Command{Argv: []string{"sh", "-c", script}, Env: os.Environ(), Label: "1"}
}

// logTo shows the log with the test's output.
func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newHost(t *testing.T, change func(*HostOptions)) *Host {
	t.Helper()
	m := &fakeMachine{facts: facts{slots: 2, cpus: 2, memory: 1 << 30}}
	b := newBudget(newLedger(), nil, m.read)
	o := HostOptions{
		Budget: b, BaseDir: t.TempDir(), BaseID: "test", Epoch: 1, Version: "1.2", KeepFailed: 3,
		OSRelease: map[string]any{"os_id": "debian", "os_id_like": nil}, Logger: logTo(t),
	}
	if change != nil {
		change(&o)
	}
	h, err := NewHost(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		b.Close()
	})
	return h
}

func newWorker(t *testing.T, h *Host, name string) *Worker {
	t.Helper()
	w, err := h.NewWorker(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func attach(t *testing.T, w *Worker) worker.Conn {
	t.Helper()
	c, err := w.Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// counter makes tokens differ.
var counter atomic.Int64

func spec(src worker.Source, ws worker.Workspace) worker.BuildSpec {
	n := counter.Add(1)
	return worker.BuildSpec{Token: worker.Token{Epoch: 1, Counter: n}, Builder: "test", Number: n, Source: src, Workspace: ws}
}

var (
	none  = worker.Source{Kind: worker.SourceNone}
	fresh = worker.WorkspaceFresh
)

func start(t *testing.T, c worker.Conn, s worker.BuildSpec) worker.Build {
	t.Helper()
	b, err := c.StartBuild(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, b worker.Build, script string) string {
	t.Helper()
	var s sink
	exit, err := b.Run(t.Context(), shell(script), &s)
	if err != nil || exit.Code != 0 || exit.Stopped != worker.NotStopped {
		t.Fatalf("%s: %+v, %v\n%s", script, exit, err, s.String())
	}
	return strings.TrimSpace(s.String())
}

func end(t *testing.T, b worker.Build, keep worker.KeepDir) worker.Receipt {
	t.Helper()
	r, err := b.End(context.WithoutCancel(t.Context()), keep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
