package localworker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bothy/runner/worker"
)

func TestBuildInPlace(t *testing.T) {
	needShell(t)
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := attach(t, newWorker(t, newHost(t, nil), "bot1"))
	b := start(t, c, spec(worker.Source{Kind: worker.SourceTree, Dir: src}, fresh))
	if b.Dir() != src {
		t.Errorf("directory %s, want %s", b.Dir(), src)
	}
	if got := run(t, b, "cat f; echo more >g"); got != "text" {
		t.Errorf("output %q", got)
	}
	cmd := shell("pwd")
	cmd.Dir = "made/for/it"
	var out sink
	if _, err := b.Run(t.Context(), cmd, &out); err != nil || strings.TrimSpace(out.String()) != filepath.Join(src, "made/for/it") {
		t.Errorf("output %q, %v", out.String(), err)
	}
	if r := end(t, b, worker.RetainDir); r.Kept != "" || len(r.Ended) != 0 {
		t.Errorf("receipt %+v", r)
	}
	if _, err := os.Stat(filepath.Join(src, "g")); err != nil {
		t.Error(err)
	}
	if _, err := b.Run(t.Context(), shell("true"), &out); err == nil {
		t.Error("a command was run after the end")
	}
}

func TestBuildsSideBySideHaveDirectoriesOfTheirOwn(t *testing.T) {
	needShell(t)
	h := newHost(t, nil)
	c := attach(t, newWorker(t, h, "bot1"))
	b1, b2 := start(t, c, spec(none, fresh)), start(t, c, spec(none, fresh))
	if b1.Dir() == b2.Dir() {
		t.Fatalf("both are in %s", b1.Dir())
	}
	run(t, b1, "echo 1 >f")
	if got := run(t, b2, "ls"); got != "" {
		t.Errorf("second build sees %q", got)
	}
	end(t, b1, worker.DropDir)
	r := end(t, b2, worker.RetainDir)
	if _, err := os.Stat(r.Kept); err != nil || !strings.HasPrefix(r.Kept, filepath.Join(h.o.BaseDir, "workers", "bot1")) {
		t.Errorf("kept %q: %v", r.Kept, err)
	}
	if err := h.Close(); err != nil { // directories are cleared until then
		t.Error(err)
	}
	for _, b := range []worker.Build{b1, b2} {
		if _, err := os.Stat(b.Dir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", b.Dir())
		}
	}
}

// Directories are cleared after the end of their builds, but never more wait for
// it than there are slots.
func TestClearing(t *testing.T) {
	h := newHost(t, nil)
	c := attach(t, newWorker(t, h, "bot1"))
	gone := func(b worker.Build) bool {
		_, err := os.Stat(b.Dir())
		return errors.Is(err, fs.ErrNotExist)
	}
	waiting := make([]leftover, 2)
	for i := range waiting { // as if their removal took its time
		b := start(t, c, spec(none, fresh)).(*build)
		waiting[i] = leftover{b.area, b.Dir()}
	}
	h.leftovers = waiting
	b := start(t, c, spec(none, fresh))
	end(t, b, worker.DropDir)
	if !gone(b) {
		t.Error("a third directory waits for its removal")
	}
	h.clearAll()
	if len(h.leftovers) > 0 {
		t.Errorf("%d directories wait although there was time", len(h.leftovers))
	}
	var builds []worker.Build
	for range 20 {
		b := start(t, c, spec(none, fresh))
		if err := os.WriteFile(filepath.Join(b.Dir(), "f"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		end(t, b, worker.DropDir)
		builds = append(builds, b)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	late := start(t, c, spec(none, fresh))
	end(t, late, worker.DropDir)
	for _, b := range append(builds, late) {
		if !gone(b) {
			t.Errorf("%s is still there", b.Dir())
		}
	}
}

func TestGitSourceThroughTheSpawner(t *testing.T) {
	needShell(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED: git is not installed")
	}
	src := t.TempDir()
	script := "git init -q . && echo 1 >f && git add f && git -c user.name=T -c user.email=t@example.com commit -qm one && git rev-parse HEAD"
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = src
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c := attach(t, newWorker(t, newHost(t, nil), "bot1"))
	b := start(t, c, spec(worker.Source{Kind: worker.SourceGit, URL: src}, fresh))
	if got := b.Properties()["got_revision"]; got != strings.TrimSpace(string(out)) {
		t.Errorf("got_revision %v, want %s", got, out)
	}
	if got := run(t, b, "cat f"); got != "1" {
		t.Errorf("f holds %q", got)
	}
	end(t, b, worker.DropDir)
	b = start(t, c, spec(worker.Source{Kind: worker.SourceCopy, Dir: src}, fresh))
	if got := run(t, b, "ls -A"); got != "f" {
		t.Errorf("copy holds %q", got)
	}
	end(t, b, worker.DropDir)
	_, err = c.StartBuild(t.Context(), spec(worker.Source{Kind: worker.SourceGit, URL: src, Branch: "none"}, fresh))
	if err == nil || !strings.Contains(err.Error(), `branch "none" does not exist`) {
		t.Errorf("error %v", err)
	}
}

func TestSpawnersAreReusedAndTheirNumberIsBounded(t *testing.T) {
	needShell(t)
	h := newHost(t, nil)
	stock := func() (idle, open int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.idle), len(h.open)
	}
	c := attach(t, newWorker(t, h, "bot1"))
	for range 3 {
		b := start(t, c, spec(none, fresh))
		if _, open := stock(); open > 1 {
			t.Fatalf("%d spawners for builds one by one", open)
		}
		run(t, b, "true")
		end(t, b, worker.DropDir)
	}
	if idle, open := stock(); idle != 1 || open != 1 {
		t.Errorf("%d idle of %d spawners, want one", idle, open)
	}
	var builds []worker.Build
	for range 4 {
		b := start(t, c, spec(none, fresh))
		run(t, b, "true")
		builds = append(builds, b)
	}
	for _, b := range builds {
		end(t, b, worker.DropDir)
	}
	if idle, open := stock(); idle != 2 || open != 2 { // as many as slots
		t.Errorf("%d idle of %d spawners, want two", idle, open)
	}
	b := start(t, c, spec(none, fresh))
	end(t, b, worker.DropDir) // a build without commands
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, open := stock(); open != 0 {
		t.Errorf("%d spawners after Close", open)
	}
	if _, err := newWorker(t, h, "bot2").Attach(t.Context()); err == nil {
		t.Error("attached to a closed host")
	}
}

// A command that is cancelled before its spawner is there is cancelled like one
// that runs, and the next one finds everything in order.
func TestCancelledWhileASpawnerStarts(t *testing.T) {
	needShell(t)
	for name, prepare := range map[string]func(*Host){
		"first of the host": func(*Host) {},
		"being warmed":      func(h *Host) { h.warm = make(chan struct{}) }, // takes for ever
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nil)
			prepare(h)
			b := start(t, attach(t, newWorker(t, h, "bot1")), spec(none, fresh))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			out := &sink{}
			exit, err := b.Run(ctx, shell("echo it ran"), out)
			if err != nil || exit.Stopped != worker.Cancelled || exit.Code != -1 || out.String() != "" {
				t.Errorf("%+v, %v, output %q", exit, err, out)
			}
			if got := run(t, b, "echo later"); got != "later" {
				t.Errorf("output %q", got)
			}
			end(t, b, worker.DropDir)
		})
	}
}

// The first spawner may be started before the epoch is known.
func TestWarmBeforeTheEpoch(t *testing.T) {
	needShell(t)
	h := newHost(t, func(o *HostOptions) { o.Epoch = 0 })
	h.Warm()
	h.SetEpoch(7)
	b := start(t, attach(t, newWorker(t, h, "bot1")), spec(none, fresh))
	if got := run(t, b, `echo "${BOTHY_COOKIE%.*.*}"`); got != "test.7" {
		t.Errorf("cookie %q", got)
	}
	end(t, b, worker.DropDir)
	if idle, open := len(h.idle), len(h.open); idle != 1 || open != 1 {
		t.Errorf("%d idle of %d spawners, want the one", idle, open)
	}

	h = newHost(t, func(o *HostOptions) { o.Epoch = 0 })
	h.Warm()
	if err := h.Close(); err != nil { // no epoch ever
		t.Error(err)
	}
}

func TestCloseEndsAPreparation(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED: git is not installed")
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := attach(t, newWorker(t, newHost(t, nil), "bot1"))
	result := make(chan error, 1)
	go func() {
		_, err := c.StartBuild(context.Background(), spec(worker.Source{Kind: worker.SourceGit, URL: "git://" + silent.Addr().String() + "/x"}, fresh))
		result <- err
	}()
	peer, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	begin := time.Now()
	c.Close()
	if err := <-result; !errors.Is(err, worker.ErrLost) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestCancelledCommand(t *testing.T) {
	needShell(t)
	c := attach(t, newWorker(t, newHost(t, nil), "bot1"))
	b := start(t, c, spec(none, fresh))
	ctx, cancel := context.WithCancel(t.Context())
	out := &sink{saw: make(chan string, 10)}
	go func() { <-out.saw; cancel() }()
	cmd := shell("echo $$; sleep 1000")
	cmd.SigtermTime = 5 * time.Second
	exit, err := b.Run(ctx, cmd, out)
	if err != nil || exit.Stopped != worker.Cancelled {
		t.Errorf("%+v, %v", exit, err)
	}
	run(t, b, "true") // as an always_run step
	end(t, b, worker.DropDir)
}

func TestABuildIsMeasuredWhileItHasProcesses(t *testing.T) {
	needShell(t)
	h := newHost(t, nil)
	c := attach(t, newWorker(t, h, "bot1"))
	r := reserve(t, h.o.Budget, 1, 1<<20)
	s := spec(none, fresh)
	s.Slot = r
	b := start(t, c, s)
	out := &sink{saw: make(chan string, 10)}
	result := make(chan worker.Exit, 1)
	go func() {
		exit, _ := b.Run(context.Background(), shell("echo; read x"), out)
		result <- exit
	}()
	<-out.saw
	r.take()
	<-result
	rec := end(t, b, worker.DropDir)
	if rec.Usage.PeakMemory <= 0 {
		t.Errorf("receipt %+v", rec)
	}
	if r.sample != nil {
		t.Error("an ended build is still measured")
	}
	r.take()
	r.Release()
}

func TestLeftoversAreRemovedWhenAttached(t *testing.T) {
	h := newHost(t, nil)
	w := newWorker(t, h, "bot1")
	left := filepath.Join(w.dir, "test", "fresh", "0.7")
	kept := filepath.Join(w.dir, "test", "keep", "1")
	for _, dir := range []string{filepath.Join(left, "x"), kept} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := attach(t, w)
	deadline := time.Now().Add(10 * time.Second)
	for _, err := os.Stat(left); err == nil; _, err = os.Stat(left) {
		if time.Now().After(deadline) {
			t.Fatal("still there")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	c.Close()
	// In the same process they are of ended builds whose End is still to come.
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	attach(t, w)
	h.Close()
	if _, err := os.Stat(left); err != nil {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	h := newHost(t, nil)
	w := newWorker(t, h, "bot1")
	info := attach(t, w).Info()
	want := map[string]any{
		"system": "posix", "numcpus": 2, "version": "1.2", "basedir": filepath.Join(h.o.BaseDir, "workers", "bot1"),
		"os_id": "debian", "os_id_like": nil,
	}
	if runtime.GOOS == "windows" {
		want["system"] = "nt"
	}
	for name, value := range want {
		if got, ok := info[name]; !ok || got != value {
			t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
	info["numcpus"] = 99
	if attach(t, newWorker(t, h, "bot2")).Info()["numcpus"] != 2 {
		t.Error("workers share a map")
	}
}

func TestWorkDir(t *testing.T) {
	h := newHost(t, nil)
	abs := t.TempDir()
	for _, c := range []struct{ workDir, want string }{
		{"", filepath.Join(h.o.BaseDir, "workers", "bot1")},
		{"elsewhere", filepath.Join(h.o.BaseDir, "elsewhere")},
		{abs, abs},
	} {
		w, err := h.NewWorker("bot1", c.workDir)
		if err != nil || w.dir != c.want {
			t.Errorf("%q: %s, %v, want %s", c.workDir, w.dir, err, c.want)
		}
	}
	if _, err := h.NewWorker("", ""); err == nil {
		t.Error("a worker without a name was made")
	}
}

// manyWorkers attaches n workers and returns what one of them costs.
func manyWorkers(tb testing.TB, h *Host, n int) (bytes, goroutines int) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	had := runtime.NumGoroutine()
	workers := make([]*Worker, n)
	for i := range workers {
		w, err := h.NewWorker(fmt.Sprint("bot", i), "")
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Attach(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		workers[i] = w
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	goroutines = runtime.NumGoroutine() - had
	runtime.KeepAlive(workers)
	return int(after.HeapAlloc-before.HeapAlloc) / n, goroutines
}

func TestIdleWorkersAreSmall(t *testing.T) {
	bytes, goroutines := manyWorkers(t, newHost(t, nil), 10_000)
	if bytes > 4096 || goroutines > 0 {
		t.Errorf("an idle worker costs %d bytes, all together %d goroutines", bytes, goroutines)
	}
}

func BenchmarkIdleWorkers(b *testing.B) {
	budget := newBudget(newLedger(), nil, func() facts { return facts{slots: 2, cpus: 2, memory: 1 << 30} })
	defer budget.Close()
	h, err := NewHost(HostOptions{Budget: budget, BaseDir: b.TempDir(), BaseID: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	for b.Loop() {
		bytes, goroutines := manyWorkers(b, h, 10_000)
		b.ReportMetric(float64(bytes), "B/worker")
		b.ReportMetric(float64(goroutines), "goroutines")
	}
}

// BenchmarkBuild is the yardstick for whole builds: what of their life is spent here.
func BenchmarkBuild(b *testing.B) {
	for name, src := range map[string]worker.Source{"tree": {Kind: worker.SourceTree, Dir: b.TempDir()}, "none": none} {
		b.Run(name, func(b *testing.B) {
			budget := newBudget(newLedger(), nil, func() facts { return facts{slots: 2, cpus: 2, memory: 1 << 30} })
			defer budget.Close()
			h, err := NewHost(HostOptions{Budget: budget, BaseDir: b.TempDir(), BaseID: "bench", Epoch: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			w, err := h.NewWorker("bot1", "")
			if err != nil {
				b.Fatal(err)
			}
			c, err := w.Attach(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.SetParallelism(1) // two slots on two cores
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s := spec(src, fresh)
					s.Slot, _ = budget.Reserve(worker.Need{CPUs: 1, Memory: 1 << 20})
					build, err := c.StartBuild(b.Context(), s)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := build.Run(b.Context(), shell("true"), &sink{}); err != nil {
						b.Error(err)
					}
					if _, err := build.End(b.Context(), worker.DropDir); err != nil {
						b.Error(err)
					}
					if r, ok := s.Slot.(*Reservation); ok && r != nil {
						r.Release()
					}
				}
			})
		})
	}
}

func TestDetect(t *testing.T) {
	r, err := Detect("", MachineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Slots < 1 || r.Containment == "" || len(r.ContainmentText) == 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := Detect(filepath.Join(t.TempDir(), "none"), MachineOptions{}); err == nil {
		t.Error("a root that is not there was looked at")
	}
}
