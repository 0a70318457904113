package spawn_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bothy/localworker/internal/spawn"
	"bothy/runner/worker"
)

// record is a sink that keeps everything, and tells when a text has come.
type record struct {
	mu   sync.Mutex
	buf  map[string]*bytes.Buffer // by log and stream
	want string
	seen chan struct{}
}

func (r *record) Output(log string, s worker.Stream, p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf == nil {
		r.buf = map[string]*bytes.Buffer{}
	}
	k := log + string(s)
	if r.buf[k] == nil {
		r.buf[k] = &bytes.Buffer{}
	}
	r.buf[k].Write(p)
	if r.seen != nil && bytes.Contains(r.buf[k].Bytes(), []byte(r.want)) {
		close(r.seen)
		r.seen = nil
	}
	return nil
}

// expect returns a sink, and a channel that is closed when text was written.
func expect(text string) (*record, <-chan struct{}) {
	r := &record{want: text, seen: make(chan struct{})}
	return r, r.seen
}

func (r *record) text(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.buf[key] == nil {
		return ""
	}
	return r.buf[key].String()
}

func sh(script string) worker.Command {
	return worker.Command{Argv: []string{"sh", "-c", script}, Dir: "/", Env: os.Environ(), SigtermTime: 500 * time.Millisecond}
}

var serial atomic.Int64

// mark returns a number of seconds that no other process here sleeps.
func mark() string { return fmt.Sprintf("1000.%d%04d", os.Getpid(), serial.Add(1)) }

// baseID returns an id that no other test uses.
func baseID() string { return fmt.Sprintf("test-%d-%d", os.Getpid(), serial.Add(1)) }

// living returns the command lines, in which text occurs, of processes that are
// no zombies.
func living(t *testing.T, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("SKIP: there is no /proc to look for left-over processes in")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte(text)) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(f), "stat"))
		if err != nil {
			continue
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && after[0] != 'Z' {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// nobody fails when a process with text in its command line lives.
func nobody(t *testing.T, text string) {
	t.Helper()
	if l := living(t, text); len(l) > 0 {
		t.Errorf("%d processes live: %q", len(l), l)
	}
}

// until polls for an event that nothing else tells of.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

var methods = []spawn.Method{spawn.Clone, spawn.Procs, spawn.Leader, spawn.CloneAlone, spawn.Group}

// each runs a test with each method that works here, all at once: most of a
// test is waiting, and t.Parallel would allow for as many as there are processors.
func each(t *testing.T, test func(t *testing.T, s *rig)) {
	var all sync.WaitGroup
	for _, m := range methods {
		all.Go(func() {
			t.Run(string(m), func(t *testing.T) { test(t, open(t, spawn.Options{Only: m})) })
		})
	}
	all.Wait()
}

// rig is a pool with one spawner.
type rig struct {
	*spawn.Spawner
	pool   *spawn.Pool
	method spawn.Method
	base   string
	builds int64
}

func open(t *testing.T, o spawn.Options) *rig {
	t.Helper()
	if o.BaseID == "" {
		o.BaseID = baseID()
	}
	if o.Epoch == 0 {
		o.Epoch = 7
	}
	p, err := spawn.Open(o)
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := p.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if got := p.Support().Method; o.Only != "" && got != o.Only {
		t.Skipf("SKIP: method %s is not available: %q", o.Only, p.Support().Text)
	}
	return &rig{Spawner: s, pool: p, method: p.Support().Method, base: o.BaseID}
}

func (r *rig) begin(t *testing.T) *spawn.Build {
	t.Helper()
	r.builds++
	b, err := r.Begin(r.builds)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, b *spawn.Build, cmd worker.Command, sink worker.Sink) worker.Exit {
	t.Helper()
	x, err := b.Run(t.Context(), cmd, sink)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func end(t *testing.T, b *spawn.Build) worker.Receipt {
	t.Helper()
	r, err := b.End(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func names(ps []worker.Process) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.Name+"#"+strconv.Itoa(p.PID))
	}
	return strings.Join(s, ", ")
}
