package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bothy/runner/internal/basedir"
	"bothy/runner/internal/control"
	"bothy/runner/internal/logs"
	"bothy/runner/internal/store"
)

// program is the path of the program under test.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hostile")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // another user runs it too
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		program = filepath.Join(dir, "bothy")
		build := exec.Command("go", "build", "-o", program, "bothy")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// missing skips a test, or fails it in CI, where everything must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("BOTHY_CI") == "1" {
		t.Fatalf("MISSING: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

// needRoot skips what only root can set up.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: needs root")
	}
}

var scenes atomic.Int64

// scene is a directory with a configuration, and the environment in which the
// program is run there.
type scene struct {
	t    *testing.T
	dir  string
	mark string // in the environment of all our processes, to find them by; LC_* is passed on by serve
	env  []string
	wrap []string // a command to run the program with
}

func newScene(t *testing.T, conf string) *scene {
	t.Helper()
	return newSceneIn(t, t.TempDir(), conf)
}

func newSceneIn(t *testing.T, dir, conf string) *scene {
	t.Helper()
	home := t.TempDir()
	s := &scene{t: t, dir: dir, mark: fmt.Sprintf("LC_HOSTILE_MARK=%d.%d.", os.Getpid(), scenes.Add(1))}
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_STATE_HOME=" + home, s.mark}
	if conf != "" {
		s.write("bothy.toml", "[web]\nlisten = \"127.0.0.1:0\"\n"+conf)
	}
	t.Cleanup(func() { s.nothingLeft("the test", 5*time.Second) })
	return s
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

func (s *scene) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Error(err)
	}
	return string(b)
}

func (s *scene) exists(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

// process is a running program, leader of a process group of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   output
	err   output
	ended chan struct{}
}

// output is a buffer that may be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the program with args.
func (s *scene) start(args ...string) *process {
	s.t.Helper()
	p := s.prepare(args...)
	p.launch()
	return p
}

// prepare makes a process that launch starts.
func (s *scene) prepare(args ...string) *process {
	argv := slices.Concat(s.wrap, []string{program}, args)
	p := &process{t: s.t, ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Env = s.dir, s.env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

func (p *process) launch() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.ended) }()
	p.t.Cleanup(func() {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	})
}

// run runs the program to its end and checks its exit code.
func (s *scene) run(code int, args ...string) *process {
	s.t.Helper()
	p := s.start(args...)
	p.exits(code, time.Minute)
	return p
}

// signal sends to the process alone.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.cmd.Process.Pid, sig); err != nil {
		p.t.Error(err)
	}
}

// signalGroup sends to the process group, as a terminal does.
func (p *process) signalGroup(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil {
		p.t.Error(err)
	}
}

// signalOurs interrupts the program, wherever it is below the command that it
// was started by.
func (p *process) signalOurs(s *scene) {
	p.t.Helper()
	for _, line := range s.processes() {
		pid, args, _ := strings.Cut(line, " ")
		if name, _, _ := strings.Cut(args, " "); filepath.Base(name) != "bothy" {
			continue
		}
		if n, err := strconv.Atoi(pid); err != nil || syscall.Kill(n, syscall.SIGINT) != nil {
			p.t.Errorf("cannot interrupt %s", line)
		}
	}
}

// exits waits for the end and checks the exit code. It returns how long it waited.
func (p *process) exits(code int, within time.Duration) time.Duration {
	p.t.Helper()
	began := time.Now()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("%q still runs after %v\n%s", p.cmd.Args, within, p.all())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%q: %v, want exit code %d\n%s", p.cmd.Args, p.cmd.ProcessState, code, p.all())
	}
	return time.Since(began)
}

func (p *process) all() string {
	return "stdout: " + shorten(p.out.String()) + "\nstderr: " + shorten(p.err.String())
}

func shorten(s string) string {
	if len(s) > 4000 {
		return s[:2000] + "\n[…]\n" + s[len(s)-2000:]
	}
	return s
}

// prints checks that stdout, and says that stderr, contains each text.
func (p *process) prints(texts ...string) {
	p.t.Helper()
	contains(p.t, "stdout", p.out.String(), texts)
}
func (p *process) says(texts ...string) { p.t.Helper(); contains(p.t, "stderr", p.err.String(), texts) }

func contains(t *testing.T, what, got string, texts []string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%s has no %q:\n%s", what, text, shorten(got))
		}
	}
}

// awaits waits for text on stdout.
func (p *process) awaits(text string) {
	p.t.Helper()
	until(p.t, 30*time.Second, fmt.Sprintf("%q has not printed %q", p.cmd.Args, text), func() bool {
		if strings.Contains(p.out.String(), text) {
			return true
		}
		select {
		case <-p.ended:
			if !strings.Contains(p.out.String(), text) {
				p.t.Fatalf("%q ended (%v) without printing %q\n%s", p.cmd.Args, p.cmd.ProcessState, text, p.all())
			}
		default:
		}
		return false
	})
}

// until polls for an event of another process.
func until(t *testing.T, within time.Duration, otherwise string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("%s within %v", otherwise, within)
		}
		<-tick.C
	}
}

// nothingLeft checks that no process of the scene lives.
func (s *scene) nothingLeft(after string, within time.Duration) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := s.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%v after %s these still run: %s", within, after, strings.Join(left, ", "))
			return
		}
		<-tick.C
	}
}

// processes lists what has our mark in its environment and is no zombie.
func (s *scene) processes() []string {
	s.t.Helper()
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range dirs {
		env, err := os.ReadFile(d + "/environ")
		if err != nil || !bytes.Contains(env, []byte(s.mark)) {
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

// layout is where the base directory of the scene is.
func (s *scene) layout(base string) basedir.Layout {
	s.t.Helper()
	l, err := basedir.Resolve(base)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// server is a running "bothy serve", and a connection to it.
type server struct {
	*process
	*control.Client
	layout basedir.Layout
}

// serve starts a server on a base directory and waits until it answers.
func (s *scene) serve(base string) *server {
	s.t.Helper()
	v := &server{process: s.start("serve"), layout: s.layout(base)}
	v.Client = control.NewClient(func(ctx context.Context) (net.Conn, error) { return basedir.Dial(ctx, v.layout) })
	until(s.t, 30*time.Second, "the server does not answer", func() bool {
		select {
		case <-v.ended:
			s.t.Fatalf("the server ended: %v\n%s", v.cmd.ProcessState, v.all())
		default:
		}
		_, err := v.Client.Status(s.t.Context())
		return err == nil
	})
	return v
}

// status asks the server how it is.
func (v *server) status() control.Status {
	v.t.Helper()
	st, err := v.Client.Status(v.t.Context())
	if err != nil {
		v.t.Fatalf("status: %v\n%s", err, v.all())
	}
	return st
}

// submit asks for builds; they must be accepted.
func (v *server) submit(builders ...string) []int64 {
	v.t.Helper()
	out, err := v.Client.Submit(v.t.Context(), control.SubmitRequest{Builders: builders, Reason: "test"})
	if err != nil {
		v.t.Fatalf("submit %q: %v\n%s", builders, err, v.all())
	}
	return out.Requests
}

// idle waits until nothing runs and nothing is pending.
func (v *server) idle(within time.Duration) {
	v.t.Helper()
	var st control.Status
	defer func() {
		if v.t.Failed() {
			v.t.Logf("status %+v\n%s", st, v.all())
		}
	}()
	until(v.t, within, "the server is not idle", func() bool {
		st = v.status()
		return st.Pending == 0 && st.Running == 0 && st.Degraded == ""
	})
}

// drain ends the server when all is done.
func (v *server) drain() {
	v.t.Helper()
	if err := v.Client.Drain(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	v.exits(0, 30*time.Second)
}

// records is what is on disk when no master runs.
type records struct {
	t     *testing.T
	store *store.Store
	logs  *logs.Store
}

func (s *scene) records(base string) *records {
	s.t.Helper()
	l := s.layout(base)
	st, err := store.Open(l.StateDB, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	lg, err := logs.Open(l.LogDir, logs.Options{})
	if err != nil {
		s.t.Fatal(errors.Join(err, st.Close()))
	}
	s.t.Cleanup(func() {
		if err := errors.Join(lg.Close(), st.Close()); err != nil {
			s.t.Error(err)
		}
	})
	return &records{s.t, st, lg}
}

// builds returns all builds, the oldest first.
func (r *records) builds() (all []store.Build) {
	r.t.Helper()
	for before := int64(0); ; {
		page, err := r.store.Builds(r.t.Context(), store.Filter{Before: before, Limit: 500})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(page) == 0 {
			slices.Reverse(all)
			return all
		}
		for _, b := range page {
			before = b.ID
		}
		all = append(all, page...)
	}
}

// request returns a request.
func (r *records) request(id int64) store.Request {
	r.t.Helper()
	q, err := r.store.Request(r.t.Context(), id)
	if err != nil {
		r.t.Fatalf("request %d: %v", id, err)
	}
	return q
}

// log returns what a step printed.
func (r *records) log(b store.Build, step int) string {
	r.t.Helper()
	rows, err := r.store.Logs(r.t.Context(), b.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range rows {
		if row.Step != step || row.Name != "stdio" {
			continue
		}
		if !row.Complete {
			r.t.Errorf("%s #%d: the log of step %d is not complete", b.Builder, b.Number, step)
		}
		rd, err := r.logs.Reader(row.ID, logs.Ref(row.Ref))
		if err != nil {
			r.t.Fatal(err)
		}
		var got bytes.Buffer
		_, err = rd.WriteRaw(r.t.Context(), &got, false)
		if err = errors.Join(err, rd.Close()); err != nil {
			r.t.Fatal(err)
		}
		return got.String()
	}
	r.t.Errorf("%s #%d has no log of step %d", b.Builder, b.Number, step)
	return ""
}
