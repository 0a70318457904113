//go:build linux

// Package crashtest kills the real program at random moments and checks that
// nothing it promised is lost. BOTHY_CRASHES says how often (default 8, in CI
// 100, for the long proof 10,000).
package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bothy/runner/build"
	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// conf has builders for each way to be hit: quick ones, one with much output,
// one whose processes leave their session, one that writes all the time.
const conf = `
[store]
keep_builds = 0

[machine]
cpus = 2
memory_per_build = "64MiB"

[[workers]]
name = "bot"
count = 2

[[builders]]
name = "quick"
collapse_requests = false
max_retries = 1000
steps = ['echo "$BOTHY_BUILD_NUMBER" >>ledger/quick', "true"]

[[builders]]
name = "lines"
collapse_requests = false
max_retries = 1000
steps = ['i=0; while [ $i -lt 300 ]; do echo "line $i of the log of a build that is to be whole"; i=$((i+1)); done', "seq 20000"]

[[builders]]
name = "stray"
collapse_requests = false
max_retries = 1000
steps = ['setsid sh -c "sleep 3600" >/dev/null 2>&1 & (sh -c "sleep 3601" &) ; sleep 0.05']
`

func TestCrash(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: kill -9 of a master and what becomes of its processes is tested on Linux only")
	}
	rounds := 8
	if s := os.Getenv("BOTHY_CRASHES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	h := newHarness(t)
	for i := range rounds {
		h.round(i)
		if t.Failed() {
			t.Fatalf("in round %d; seed %d", i, h.seed)
		}
	}
	h.settle()
	h.verify()
}

type harness struct {
	t      *testing.T
	dir    string
	binary string
	layout basedir.Layout
	rand   *rand.Rand
	seed   uint64
	env    string // in the environment of all our processes, to find them by

	mu       sync.Mutex
	accepted map[int64]string // request → builder
	maybe    int              // submits whose answer did not come
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), seed: uint64(time.Now().UnixNano()), accepted: map[int64]string{}}
	h.rand = rand.New(rand.NewPCG(h.seed, 1))
	h.env = fmt.Sprintf("CRASHTEST=%d.%d", os.Getpid(), h.seed)
	t.Logf("seed %d", h.seed)
	h.binary = filepath.Join(h.dir, "bothy")
	args := []string{"build", "-o", h.binary}
	if out, err := exec.Command("go", append(args, "bothy")...).CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "bothy.toml"), []byte("[web]\nlisten = \"127.0.0.1:0\"\n"+conf), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(h.dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.layout, err = basedir.Resolve(filepath.Join(h.dir, ".bothy")); err != nil {
		t.Fatal(err)
	}
	return h
}

// master is a running "bothy serve".
type master struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	client *control.Client
	ended  chan struct{}
}

func (h *harness) start() *master {
	h.t.Helper()
	m := &master{ended: make(chan struct{})}
	m.cmd = exec.Command(h.binary, "serve")
	m.cmd.Dir = h.dir
	m.cmd.Env = append(os.Environ(), h.env)
	m.cmd.Stderr = &m.stderr
	if err := m.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { m.cmd.Wait(); close(m.ended) }()
	m.client = control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, h.layout) })
	deadline := time.Now().Add(20 * time.Second)
	for {
		s, err := m.client.Status(context.Background())
		if err == nil && s.PID == m.cmd.Process.Pid {
			return m
		}
		select {
		case <-m.ended:
			h.t.Fatalf("the master ended: %s", m.stderr.String())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("the master does not answer: %v\n%s", err, m.stderr.String())
		}
	}
}

// round starts a master, puts it under load and kills it, every third time
// together with its spawners.
func (h *harness) round(i int) {
	m := h.start()
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for range 3 {
		seed := h.rand.Uint64()
		load.Add(1)
		go func() {
			defer load.Done()
			r := rand.New(rand.NewPCG(seed, 2))
			for n := 0; ctx.Err() == nil && n < 8; n++ {
				h.submit(ctx, m, r)
			}
		}()
	}
	after := time.Duration(h.rand.Int64N(int64(400 * time.Millisecond)))
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ended:
		h.t.Errorf("the master ended by itself: %s", m.stderr.String())
	}
	if i%3 == 2 {
		h.killAll(m)
	} else if err := m.cmd.Process.Kill(); err != nil {
		h.t.Error(err)
	}
	<-m.ended
	cancel()
	load.Wait()
	if i%3 != 2 {
		h.nothingLeft("kill -9 of the master", 2*time.Second)
	}
}

// killAll kills the master and its children, the spawners, at one stroke.
func (h *harness) killAll(m *master) {
	pid := m.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var pids []int
	if err == nil {
		for _, f := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		h.t.Error(err)
	}
	for _, p := range pids {
		syscall.Kill(p, syscall.SIGKILL)
	}
	if err := m.cmd.Process.Kill(); err != nil {
		h.t.Error(err)
	}
}

func (h *harness) submit(ctx context.Context, m *master, r *rand.Rand) {
	names := []string{"quick", "quick", "quick", "lines", "stray"}
	req := control.SubmitRequest{Reason: "crash test"}
	for range 1 + r.IntN(3) {
		req.Builders = append(req.Builders, names[r.IntN(len(names))])
	}
	req.Priority = r.IntN(3)
	out, err := m.client.Submit(ctx, req)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.maybe++
		return
	}
	for i, id := range out.Requests {
		if was, ok := h.accepted[id]; ok {
			h.t.Errorf("request id %d was given out twice (%s, %s)", id, was, req.Builders[i])
		}
		h.accepted[id] = req.Builders[i]
	}
}

// nothingLeft checks that no process of ours lives.
func (h *harness) nothingLeft(after string, within time.Duration) {
	h.t.Helper()
	deadline := time.Now().Add(within)
	for {
		left := h.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Errorf("%v after %s these still run: %s", within, after, strings.Join(left, ", "))
			return
		}
	}
}

// processes lists what has our mark in its environment and is no zombie.
func (h *harness) processes() []string {
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, d := range dirs {
		env, err := os.ReadFile(d + "/environ")
		if err != nil || !bytes.Contains(env, []byte(h.env)) {
			continue
		}
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X') {
			continue
		}
		cmd, _ := os.ReadFile(d + "/cmdline")
		out = append(out, filepath.Base(d)+" "+strings.ReplaceAll(strings.TrimRight(string(cmd), "\x00"), "\x00", " "))
	}
	return out
}

// settle lets a last master finish everything.
func (h *harness) settle() {
	m := h.start()
	deadline := time.Now().Add(10 * time.Minute)
	for {
		s, err := m.client.Status(context.Background())
		if err != nil {
			h.t.Fatalf("status: %v\n%s", err, m.stderr.String())
		}
		if s.Pending == 0 && s.Running == 0 {
			break
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d requests are still pending and %d builds running", s.Pending, s.Running)
		}
		select {
		case <-m.ended:
			h.t.Fatalf("the last master ended: %s", m.stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := m.client.Drain(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	<-m.ended
	if !m.cmd.ProcessState.Success() {
		h.t.Errorf("the last master: %v\n%s", m.cmd.ProcessState, m.stderr.String())
	}
	h.nothingLeft("the end", 2*time.Second)
}

// verify reads what is on disk and checks it against what was promised.
func (h *harness) verify() {
	ctx := context.Background()
	s, err := store.Open(h.layout.StateDB, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	l, err := logs.Open(h.layout.LogDir, logs.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()

	builds := map[int64][]store.Build{} // by request
	total, retries := 0, 0
	for before := int64(0); ; {
		page, err := s.Builds(ctx, store.Filter{Before: before, Limit: 500})
		if err != nil {
			h.t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			before = b.ID
			builds[b.Request] = append(builds[b.Request], b)
			total++
			if b.Result == build.Retry {
				retries++
			}
			if b.Result == build.None || b.Completed.IsZero() {
				h.t.Errorf("build %s #%d still shows %q", b.Builder, b.Number, b.Text)
			}
			h.verifyLogs(ctx, s, l, b)
		}
	}
	for id, builder := range h.accepted {
		r, err := s.Request(ctx, id)
		if err != nil {
			h.t.Errorf("accepted request %d (%s): %v", id, builder, err)
			continue
		}
		if r.State != store.Done || r.Result != build.Success {
			h.t.Errorf("accepted request %d (%s) is %v, %v: %s", id, builder, r.State, r.Result, r.Text)
		}
		completions := 0
		for _, b := range builds[id] {
			if b.Result != build.Retry {
				completions++
			}
		}
		if completions != 1 {
			h.t.Errorf("request %d (%s) has %d completions", id, builder, completions)
		}
	}
	h.t.Logf("%d requests accepted, %d submits without an answer, %d builds, %d of them cut off", len(h.accepted), h.maybe, total, retries)
}

// verifyLogs compares the logs of a build with what its steps print: whole for
// finished builds, a beginning of it for those that were cut off.
func (h *harness) verifyLogs(ctx context.Context, s *store.Store, l *logs.Store, b store.Build) {
	rows, err := s.Logs(ctx, b.ID)
	if err != nil {
		h.t.Error(err)
		return
	}
	for _, row := range rows {
		if !row.Complete {
			h.t.Errorf("%s #%d: log %d is not complete", b.Builder, b.Number, row.ID)
		}
		if row.Name != "stdio" || b.Builder != "lines" {
			continue
		}
		r, err := l.Reader(row.ID, logs.Ref(row.Ref))
		if errors.Is(err, logs.ErrNotFound) && b.Result == build.Retry {
			continue // cut off before its first byte
		}
		if err != nil {
			h.t.Errorf("%s #%d: log %d: %v", b.Builder, b.Number, row.ID, err)
			continue
		}
		var got bytes.Buffer
		_, err = r.WriteRaw(ctx, &got, false)
		if err = errors.Join(err, r.Close()); err != nil {
			h.t.Errorf("%s #%d: log %d: %v", b.Builder, b.Number, row.ID, err)
		}
		want := wanted(row.Step)
		if b.Result == build.Retry {
			if !strings.HasPrefix(want, got.String()) {
				h.t.Errorf("%s #%d step %d was cut off, and its log is no beginning of what it prints", b.Builder, b.Number, row.Step)
			}
		} else if got.String() != want {
			h.t.Errorf("%s #%d step %d: log has %d bytes, want %d", b.Builder, b.Number, row.Step, got.Len(), len(want))
		}
	}
}

// wanted is what the steps of the builder "lines" print.
func wanted(step int) string {
	one, two := printed()
	if step == 1 {
		return one
	}
	return two
}

var printed = sync.OnceValues(func() (one, two string) {
	var a, b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&a, "line %d of the log of a build that is to be whole\n", i)
	}
	for i := range 20000 {
		fmt.Fprintln(&b, i+1)
	}
	return a.String(), b.String()
})
