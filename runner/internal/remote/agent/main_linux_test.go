package agent

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"bothy/localworker"
	"bothy/runner/internal/testrig"
	"bothy/runner/worker"
)

func TestMain(m *testing.M) {
	localworker.Helper()
	flag.Parse()
	// Tests with real peers wait for Python most of their time.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// password is that of all workers.
const password = `s3cret:with"quotes`

// worker is a running worker.
type testWorker struct {
	*Agent
	dir   string
	ended chan struct{}
	err   error // once ended
	kill  context.CancelFunc
}

func testOptions(t testing.TB, addr string, p Protocol, name string) Options {
	m, err := ParseMaster(addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "base")
	if err := os.MkdirAll(filepath.Join(dir, infoDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"admin": "Ana <ana@example.com>\n", "host": "A machine\n", "access_uri": "ssh://here\n"} {
		if err := os.WriteFile(filepath.Join(dir, infoDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Options{
		Master: m, Protocol: p, Name: name, Password: func() (string, error) { return password, nil },
		BaseDir: dir, Version: "1.2.3", Environ: worker.BaseEnv(append(os.Environ(), "LANG=C.UTF-8", "BOTHY_SECRET=x", mark(dir)), nil),
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// startWorker starts a worker; it ends with the test.
func startWorker(t testing.TB, o Options) *testWorker {
	t.Helper()
	a, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &testWorker{Agent: a, dir: o.BaseDir, ended: make(chan struct{}), kill: cancel}
	go func() {
		defer close(w.ended)
		w.err = a.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-w.ended
	})
	return w
}

// ends waits for the worker's end.
func (w *testWorker) ends(t testing.TB) {
	t.Helper()
	testrig.Until(t, "the worker has not ended", func() bool {
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	})
}

// mark is in the environment of all commands of a worker, to find them by.
func mark(dir string) string { return "LC_BOTHY_MARK=" + dir }

// processes lists the living processes that a worker's commands have started.
func processes(t testing.TB, dir string) []string { return testrig.Processes(t, mark(dir)) }

func localAddr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
