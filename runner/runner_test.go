package runner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
)

// start opens and starts a Runner that is shut down with the test. Builds run
// in place unless the configuration says otherwise.
func start(t *testing.T, cfg *config.Config, o runner.Options) *runner.Runner {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	for i := range cfg.Builders {
		if cfg.Builders[i].Source.Kind == "" {
			cfg.Builders[i].Source.Kind = config.SourceTree
		}
	}
	r, err := runner.Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

// patience is how long what takes no time may take on a slow machine.
const patience = 5 * time.Minute

func submit(t *testing.T, r *runner.Runner, q runner.Request) *runner.BuildRequest {
	t.Helper()
	req, err := r.Submit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func wait(t *testing.T, q *runner.BuildRequest) *runner.Build {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := q.Wait(ctx)
	if err != nil {
		t.Fatalf("wait for request %d: %v", q.ID, err)
	}
	return b
}

func one(t *testing.T, steps ...config.Step) *runner.Build {
	t.Helper()
	r := start(t, &config.Config{Builders: []config.Builder{{Name: "b", Steps: steps}}}, runner.Options{})
	return wait(t, submit(t, r, runner.Request{Builder: "b"}))
}

func flags(change func(*build.Flags)) *build.Flags {
	f := build.DefaultFlags()
	change(&f)
	return &f
}

func TestResults(t *testing.T) {
	t.Parallel()
	ok, bad := config.Shell("true"), config.Shell("exit 1")
	weak := bad
	weak.Flags = flags(func(f *build.Flags) { f.FlunkOnFailure, f.HaltOnFailure, f.WarnOnFailure = false, false, true })
	decoded := config.Shell("exit 7")
	decoded.DecodeRC = map[int]build.Result{7: build.Warnings}
	decoded.Flags = flags(func(f *build.Flags) { f.WarnOnWarnings = true })
	never := config.Shell("exit 9")
	never.DoIf = "%(prop:nothing)s"
	slow := config.Shell("sleep 60")
	slow.MaxTime = 100 * time.Millisecond
	silent := config.Shell("echo x; sleep 60")
	silent.Timeout = 100 * time.Millisecond
	talks := config.Shell("yes")
	talks.MaxLines = 10
	for _, c := range []struct {
		name  string
		steps []config.Step
		want  build.Result
		text  string
	}{
		{"success", []config.Step{ok, ok}, build.Success, "build successful"},
		{"failure halts", []config.Step{bad, config.Shell("exit 2")}, build.Failure, "failed: 'exit 1' failure (exit 1)"},
		{"warnings", []config.Step{weak, ok}, build.Warnings, "warnings: 'exit 1' failure (exit 1)"},
		{"decode_rc", []config.Step{decoded}, build.Warnings, "warnings: 'exit 7' warnings (exit 7)"},
		{"do_if", []config.Step{never, ok}, build.Success, "build successful"},
		{"max_time", []config.Step{slow}, build.Failure, "failed: 'sleep 60' failure (timed out: not done in 100ms)"},
		{"timeout", []config.Step{silent}, build.Failure, "failed: 'echo x; sleep 60' failure (timed out: no output for 100ms)"},
		{"max_lines", []config.Step{talks}, build.Failure, "failed: 'yes' failure (max lines: more than 10)"},
		{"signal", []config.Step{config.Shell("kill -9 $$")}, build.Failure, "failed: 'kill -9 $$' failure (killed by SIGKILL)"},
		{"interpolation", []config.Step{config.Shell("test '%(prop:buildername)s' = b")}, build.Success, "build successful"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := one(t, c.steps...)
			if b.Result != c.want || b.Text != c.text {
				t.Errorf("got %v, %q; want %v, %q", b.Result, b.Text, c.want, c.text)
			}
		})
	}
}

func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	b := one(t, config.Argv("no-such-program-anywhere"))
	if b.Result != build.Failure || !strings.Contains(b.Text, "no-such-program-anywhere") {
		t.Errorf("got %v, %q", b.Result, b.Text)
	}
}

func TestSideBySideAndExclusive(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, most := map[string]int{}, map[string]int{}
	both := make(chan struct{})
	meet := func(ctx context.Context, s *runner.StepContext) (build.Result, error) {
		mu.Lock()
		now[s.Builder]++
		most[s.Builder] = max(most[s.Builder], now[s.Builder])
		if s.Builder == "side" && now[s.Builder] == 2 {
			close(both)
		}
		mu.Unlock()
		if s.Builder == "side" {
			select {
			case <-both:
			case <-ctx.Done():
			}
		}
		mu.Lock()
		now[s.Builder]--
		mu.Unlock()
		return build.Success, nil
	}
	r := start(t, &config.Config{
		Machine: config.Machine{MemoryPerBuild: 1 << 20},
		Builders: []config.Builder{
			{Name: "side", CPUs: 0.1, NoCollapse: true, Steps: []config.Step{config.Func("meet")}},
			{Name: "alone", CPUs: 0.1, NoCollapse: true, Exclusive: true, Steps: []config.Step{config.Func("meet")}},
		},
	}, runner.Options{Steps: map[string]runner.StepFunc{"meet": meet}})
	var qs []*runner.BuildRequest
	for _, b := range []string{"side", "side", "alone", "alone", "alone"} {
		qs = append(qs, submit(t, r, runner.Request{Builder: b}))
	}
	for _, q := range qs {
		if b := wait(t, q); b.Result != build.Success {
			t.Errorf("%s: %s", b.Builder, b.Text)
		}
	}
	if most["side"] != 2 || most["alone"] != 1 {
		t.Errorf("at the same time: side %d (want 2), alone %d (want 1)", most["side"], most["alone"])
	}
}

func TestCollapse(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	r := start(t, &config.Config{
		Machine:  config.Machine{CPUs: 1},
		Builders: []config.Builder{{Name: "b", Steps: []config.Step{config.Func("gate")}}},
	}, runner.Options{Steps: map[string]runner.StepFunc{"gate": func(ctx context.Context, _ *runner.StepContext) (build.Result, error) {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return build.Success, nil
	}}})
	first := submit(t, r, runner.Request{Builder: "b"})
	awaitRunning(t, first)
	second := submit(t, r, runner.Request{Builder: "b"})
	other := submit(t, r, runner.Request{Builder: "b", Properties: map[string]any{"x": 1}})
	third := submit(t, r, runner.Request{Builder: "b"})
	close(gate)
	if b := wait(t, second); b.Result != build.Skipped || b.ReplacedBy != third.ID || b.ID != 0 {
		t.Errorf("second: %v, replaced by %d; want skipped, by %d", b.Result, b.ReplacedBy, third.ID)
	}
	for _, q := range []*runner.BuildRequest{first, other, third} {
		if b := wait(t, q); b.Result != build.Success {
			t.Errorf("request %d: %s", q.ID, b.Text)
		}
	}
}

// awaitRunning waits until nothing keeps the request from running.
func awaitRunning(t *testing.T, q *runner.BuildRequest) {
	t.Helper()
	until(t, fmt.Sprintf("request %d does not start", q.ID), func() bool {
		why, err := q.Why(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(why) == 0
	})
}

// until polls for what a process does.
func until(t *testing.T, otherwise string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !happened(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

func TestCancelRunsAlwaysRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cleanup := config.Shell("echo done >cleanup")
	cleanup.Flags = flags(func(f *build.Flags) { f.AlwaysRun = true })
	r := start(t, &config.Config{Dir: dir, Builders: []config.Builder{{
		Name: "b", Steps: []config.Step{config.Shell("echo up >started; sleep 1000"), config.Shell("echo no >never"), cleanup},
	}}}, runner.Options{})
	q := submit(t, r, runner.Request{Builder: "b"})
	awaitFile(t, filepath.Join(dir, "started"))
	if err := q.Cancel(t.Context(), "because"); err != nil {
		t.Fatal(err)
	}
	b := wait(t, q)
	if b.Result != build.Cancelled || !strings.HasPrefix(b.Text, "cancelled: because") {
		t.Errorf("got %v, %q", b.Result, b.Text)
	}
	if _, err := os.Stat(filepath.Join(dir, "cleanup")); err != nil {
		t.Errorf("the always_run step did not run: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "never")); err == nil {
		t.Error("a step ran after the cancel")
	}
	if err := q.Cancel(t.Context(), "again"); !errors.Is(err, runner.ErrUnknown) {
		t.Errorf("cancel of a finished request: %v", err)
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	until(t, path+" does not come", func() bool { _, err := os.Stat(path); return err == nil })
}

func TestPanicAndStubbornStep(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	late := make(chan error, 1)
	stubborn := config.Func("stubborn")
	stubborn.MaxTime, stubborn.SigtermTime = 50*time.Millisecond, 50*time.Millisecond
	r := start(t, &config.Config{
		Machine: config.Machine{CPUs: 1},
		Workers: []config.Worker{{Name: "one"}, {Name: "two"}, {Name: "three"}}, // two will be quarantined
		Builders: []config.Builder{
			{Name: "panics", Steps: []config.Step{config.Func("panic")}},
			{Name: "stubborn", Steps: []config.Step{stubborn}},
			{Name: "next", Steps: []config.Step{config.Shell("true")}},
		},
	}, runner.Options{Steps: map[string]runner.StepFunc{
		"panic": func(context.Context, *runner.StepContext) (build.Result, error) { panic("oh no") },
		"stubborn": func(_ context.Context, s *runner.StepContext) (build.Result, error) {
			<-leave
			_, err := fmt.Fprintln(s.Stdout, "too late")
			late <- err
			return build.Success, nil
		},
	}})
	b := wait(t, submit(t, r, runner.Request{Builder: "panics"}))
	if b.Result != build.Exception || b.Cause != build.CauseStep {
		t.Errorf("panic: %v, cause %q, %s", b.Result, b.Cause, b.Text)
	}
	b = wait(t, submit(t, r, runner.Request{Builder: "stubborn"}))
	if b.Result != build.Exception {
		t.Errorf("stubborn: %v, %s", b.Result, b.Text)
	}
	next := submit(t, r, runner.Request{Builder: "next"})
	why, err := next.Why(t.Context())
	if err != nil || len(why) == 0 {
		t.Errorf("the slot of a step that does not return is free: %v, %v", why, err)
	}
	close(leave)
	if err := <-late; err == nil {
		t.Error("a step that was given up could still write")
	}
	if b := wait(t, next); b.Result != build.Success {
		t.Errorf("next: %s", b.Text)
	}
}

// TestRestart stops a Runner with a build running and one pending: both are
// run by the next Runner on the directory.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := func() *config.Config {
		return &config.Config{Dir: dir, Machine: config.Machine{CPUs: 1}, Builders: []config.Builder{{
			Name: "b", NoCollapse: true, MaxRetries: config.Off, Source: config.Source{Kind: config.SourceTree},
			Steps: []config.Step{config.Shell("echo $BOTHY_ATTEMPT >>attempts; test -e go || { echo >started; sleep 1000; }")},
		}}}
	}
	r, err := runner.Open(conf(), runner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	running := submit(t, r, runner.Request{Builder: "b"})
	submit(t, r, runner.Request{Builder: "b", Reason: "pending"})
	awaitFile(t, filepath.Join(dir, "started"))

	var held *runner.HeldError
	if _, err := runner.Open(conf(), runner.Options{}); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("a second Runner on the directory: %v", err)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Wait(t.Context()); !errors.Is(err, runner.ErrStopped) {
		t.Errorf("wait after stop: %v", err)
	}
	if _, err := r.Submit(t.Context(), runner.Request{Builder: "b"}); !errors.Is(err, runner.ErrStopped) {
		t.Errorf("submit after stop: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	r, err = runner.Open(conf(), runner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	events := r.Events(t.Context())
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	finished := 0
	for ev := range events {
		if ev, ok := ev.(runner.RequestFinished); ok {
			if ev.Result != build.Success {
				t.Errorf("request %d: %s", ev.Request, ev.Text)
			}
			if finished++; finished == 2 {
				break
			}
		}
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	attempts, err := os.ReadFile(filepath.Join(dir, "attempts"))
	if err != nil || string(attempts) != "1\n2\n1\n" {
		t.Errorf("attempts %q, %v; want 1, 2 of the first request, 1 of the second", attempts, err)
	}
}

func TestTwoRunnersShareTheMachine(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, most := 0, 0
	count := func(context.Context, *runner.StepContext) (build.Result, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		for deadline := time.Now().Add(2 * time.Millisecond); time.Now().Before(deadline); {
		}
		mu.Lock()
		now--
		mu.Unlock()
		return build.Success, nil
	}
	conf := func() *config.Config {
		return &config.Config{Machine: config.Machine{CPUs: 1}, Builders: []config.Builder{{
			Name: "b", NoCollapse: true, Steps: []config.Step{config.Func("count")},
		}}}
	}
	o := runner.Options{Steps: map[string]runner.StepFunc{"count": count}}
	a, b := start(t, conf(), o), start(t, conf(), o)
	var qs []*runner.BuildRequest
	for range 20 {
		qs = append(qs, submit(t, a, runner.Request{Builder: "b"}), submit(t, b, runner.Request{Builder: "b"}))
	}
	for _, q := range qs {
		if b := wait(t, q); b.Result != build.Success {
			t.Error(b.Text)
		}
	}
	if most > 1 {
		t.Errorf("%d builds at the same time on a budget of one CPU", most)
	}
}

func TestStepLocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	locked := config.Shell("mkdir held && sleep 0.01 && rmdir held")
	locked.Locks = []config.LockAccess{{Name: "l", Mode: config.LockExclusive}}
	r := start(t, &config.Config{
		Dir: dir, Machine: config.Machine{MemoryPerBuild: 1 << 20}, Locks: []config.Lock{{Name: "l"}},
		Builders: []config.Builder{{Name: "b", NoCollapse: true, CPUs: 0.1, Steps: []config.Step{locked, locked}}},
	}, runner.Options{})
	var qs []*runner.BuildRequest
	for range 10 {
		qs = append(qs, submit(t, r, runner.Request{Builder: "b"}))
	}
	for _, q := range qs {
		if b := wait(t, q); b.Result != build.Success {
			t.Error(b.Text)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", "token"), []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, &config.Config{
		Dir: dir, Secrets: []config.SecretProvider{{Kind: config.SecretDir, Path: "secrets"}},
		Builders: []config.Builder{
			{Name: "b", Steps: []config.Step{config.Shell("echo %(secret:token)s >out; cat out")}},
			{Name: "missing", Steps: []config.Step{config.Shell("echo %(secret:other)s")}},
		},
	}, runner.Options{})
	if b := wait(t, submit(t, r, runner.Request{Builder: "b"})); b.Result != build.Success {
		t.Fatal(b.Text)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil || string(out) != "hunter2hunter2\n" {
		t.Errorf("the step got %q, %v", out, err)
	}
	if b := wait(t, submit(t, r, runner.Request{Builder: "missing"})); b.Result != build.Exception || b.Cause != build.CauseConfig {
		t.Errorf("missing secret: %v, cause %q, %s", b.Result, b.Cause, b.Text)
	}
	err = filepath.WalkDir(filepath.Join(dir, ".bothy"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "hunter2hunter2") {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDaemons is the acceptance scene: what leaves its session is ended all the
// same, after a cancel and at the end of a build.
func TestDaemons(t *testing.T) {
	t.Parallel()
	const strays = `setsid sleep 1111 & sleep 1111 & nohup sh -c 'trap "" TERM; sleep 1111; sleep 1111' & `
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		step := config.Shell(strays + "echo >started; wait")
		step.SigtermTime = 500 * time.Millisecond
		r := start(t, &config.Config{Dir: dir, Builders: []config.Builder{{Name: "b", Steps: []config.Step{step}}}}, runner.Options{})
		q := submit(t, r, runner.Request{Builder: "b"})
		awaitFile(t, filepath.Join(dir, "started"))
		asked := time.Now()
		if err := q.Cancel(t.Context(), "enough"); err != nil {
			t.Fatal(err)
		}
		b := wait(t, q)
		if d := time.Since(asked); d > step.SigtermTime+10*time.Second { // a second on a fast machine
			t.Errorf("it took %v with a grace of %v", d, step.SigtermTime)
		}
		if b.Result != build.Cancelled || len(b.Ended) == 0 {
			t.Errorf("%s; ended %v", b.Text, b.Ended)
		}
		noneLeft(t, dir)
	})
	t.Run("ends normally", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		r := start(t, &config.Config{Dir: dir, Builders: []config.Builder{{Name: "b", Steps: []config.Step{
			config.Shell(`setsid sh -c 'echo $$ >pid; exec sleep 1111' & while ! test -s pid; do :; done`),
			config.Shell("kill -0 $(cat pid)"), // it lives for the next step
		}}}}, runner.Options{})
		b := wait(t, submit(t, r, runner.Request{Builder: "b"}))
		if b.Result != build.Success || len(b.Ended) != 1 || !strings.Contains(b.Ended[0], "sleep 1111") {
			t.Errorf("%v: %s; ended %v", b.Result, b.Text, b.Ended)
		}
		noneLeft(t, dir)
	})
}

// noneLeft checks that no living process has dir as its working directory.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if cwd, err := os.Readlink(l); err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/")) {
			cmd, _ := os.ReadFile(filepath.Join(filepath.Dir(l), "cmdline"))
			t.Errorf("%s still runs: %q", filepath.Dir(l), cmd)
		}
	}
}

// TestEmbed builds and runs the program in testdata/embed, a module of its own.
func TestEmbed(t *testing.T) {
	t.Parallel()
	module, err := filepath.Abs("../testdata/embed")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "embed")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), binary, t.TempDir()).CombinedOutput()
	if err != nil || string(out) != "test 1 success\n" {
		t.Errorf("run: %v, output %q", err, out)
	}
}

func TestBadOpen(t *testing.T) {
	t.Parallel()
	_, err := runner.Open(&config.Config{Dir: t.TempDir(), Builders: []config.Builder{{Name: "b", Steps: []config.Step{config.Func("nobody")}}}}, runner.Options{})
	if err == nil || !strings.Contains(err.Error(), `no step function "nobody"`) {
		t.Errorf("unknown function: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = runner.Open(&config.Config{BaseDir: file}, runner.Options{})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as base directory: %v", err)
	}
	_, err = runner.Open(&config.Config{Dir: t.TempDir(), Builders: []config.Builder{{Name: "b", CPUs: 100_000, Steps: []config.Step{config.Shell("true")}}}}, runner.Options{})
	if err == nil || !strings.Contains(err.Error(), "CPUs") {
		t.Errorf("a need larger than the machine: %v", err)
	}
}

// What kept a build from being prepared names the worker once, and its builder
// not at all: both stand beside the text wherever it is shown.
func TestPreparationErrorIsSaidOnce(t *testing.T) {
	cfg := oneWorker()
	cfg.Builders[0].Source = config.Git("file://"+t.TempDir()+"/none.git", "")
	r := start(t, cfg, runner.Options{})
	req, err := r.Submit(t.Context(), runner.Request{Builder: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := req.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const begin = "exception: worker w could not prepare the build: "
	rest, ok := strings.CutPrefix(b.Text, begin)
	if b.Result != build.Exception || !ok || strings.Contains(rest, "prepare") || strings.Contains(rest, "b #1") {
		t.Errorf("%s: %q", b.Result, b.Text)
	}
}
