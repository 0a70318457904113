package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"bothy/runner"
	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/queue"
	"bothy/runner/worker"
)

// open starts a Runner on a scratch directory.
func (b *bench) open(name string, cfg *config.Config, steps map[string]runner.StepFunc) (*runner.Runner, error) {
	cfg.Dir = filepath.Join(b.dir, name)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	r, err := runner.Open(cfg, runner.Options{Steps: steps})
	if err != nil {
		return nil, err
	}
	return r, r.Start(context.Background())
}

// trivialBuilds runs builds of one step "true", everything durable.
func trivialBuilds(ctx context.Context, b *bench) error {
	const n = 3000
	r, err := b.open("builds", &config.Config{
		Machine:  config.Machine{MemoryPerBuild: 64 << 20},
		Builders: []config.Builder{{Name: "true", NoCollapse: true, Memory: 64 << 20, CPUs: 1, Source: config.Source{Kind: config.SourceTree}, Steps: []config.Step{config.Shell("true")}}},
	}, nil)
	if err != nil {
		return err
	}
	all := func(n int) (time.Duration, error) {
		qs := make([]runner.Request, n)
		for i := range qs {
			qs[i].Builder = "true"
		}
		start := time.Now()
		reqs, err := r.SubmitAll(ctx, qs...)
		if err != nil {
			return 0, err
		}
		for _, q := range reqs {
			bd, err := q.Wait(ctx)
			if err == nil {
				err = bd.Err()
			}
			if err != nil {
				return 0, err
			}
		}
		return time.Since(start), nil
	}
	if _, err := all(200); err != nil {
		return err
	}
	var ours, theirs []time.Duration
	for range 3 {
		d, err := all(n)
		if err != nil {
			return err
		}
		ours = append(ours, d)
		start := time.Now()
		cmd := exec.Command("xargs", fmt.Sprintf("-P%d", runtime.NumCPU()), "-n1", "sh", "-c", "true")
		cmd.Stdin = strings.NewReader(strings.Repeat("x\n", n))
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("xargs: %w", err)
		}
		theirs = append(theirs, time.Since(start))
	}
	if err := r.Shutdown(ctx); err != nil {
		return err
	}
	per := func(ds []time.Duration) float64 { return n / median(ds).Seconds() }
	ratio := per(ours) / per(theirs)
	b.add(row{
		"trivial builds, all durable", fmt.Sprintf("%.0f/s", per(ours)), fmt.Sprintf("xargs -P%d sh -c true: %.0f/s", runtime.NumCPU(), per(theirs)),
		fmt.Sprintf("%.2f", ratio), "≥ 1,000/s and ≥ 0.5", per(ours) >= 1000 && ratio >= 0.5,
	})
	return nil
}

// submits measures durable requests, one by one and in batches. Nothing runs
// meanwhile: their builder's only step waits in a lock.
func submits(ctx context.Context, b *bench) error {
	r, err := b.open("submits", &config.Config{
		Locks: []config.Lock{{Name: "l"}},
		Builders: []config.Builder{{
			Name: "wait", NoCollapse: true, CPUs: 0.01, Memory: 1 << 20, Source: config.Source{Kind: config.SourceTree},
			Locks: []config.LockAccess{{Name: "l", Mode: config.LockExclusive}}, Steps: []config.Step{config.Func("block")},
		}},
	}, map[string]runner.StepFunc{"block": func(ctx context.Context, _ *runner.StepContext) (build.Result, error) {
		<-ctx.Done()
		return build.Success, nil
	}})
	if err != nil {
		return err
	}
	const single, batches, size = 3000, 50, 1000
	start := time.Now()
	for range single {
		if _, err := r.Submit(ctx, runner.Request{Builder: "wait"}); err != nil {
			return err
		}
	}
	one := single / time.Since(start).Seconds()
	qs := make([]runner.Request, size)
	for i := range qs {
		qs[i].Builder = "wait"
	}
	start = time.Now()
	for range batches {
		if _, err := r.SubmitAll(ctx, qs...); err != nil {
			return err
		}
	}
	many := batches * size / time.Since(start).Seconds()
	b.add(row{"submits one by one, durable", fmt.Sprintf("%.0f/s", one), "", "", "≥ 2,000/s", one >= 2000})
	b.add(row{"submits in batches of 1,000, durable", fmt.Sprintf("%.0f/s", many), "", "", "≥ 20,000/s", many >= 20000})
	return r.Kill(ctx)
}

// firstStep measures from the call of Submit to the first line of a step.
func firstStep(ctx context.Context, b *bench) error {
	began := make(chan time.Time, 1)
	r, err := b.open("first", &config.Config{
		Builders: []config.Builder{{Name: "f", Source: config.Source{Kind: config.SourceTree}, Steps: []config.Step{config.Func("now")}}},
	}, map[string]runner.StepFunc{"now": func(context.Context, *runner.StepContext) (build.Result, error) {
		began <- time.Now()
		return build.Success, nil
	}})
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 200 {
		start := time.Now()
		q, err := r.Submit(ctx, runner.Request{Builder: "f"})
		if err != nil {
			return err
		}
		took = append(took, (<-began).Sub(start))
		if _, err := q.Wait(ctx); err != nil {
			return err
		}
	}
	m := median(took)
	b.add(row{"submit → first step", m.Round(time.Microsecond).String(), "", "", "≤ 5 ms", m <= 5*time.Millisecond})
	return r.Shutdown(ctx)
}

// logIngest has a step print a large file, beside cat into a file.
func logIngest(ctx context.Context, b *bench) error {
	const size = 512 << 20
	src := filepath.Join(b.dir, "large")
	if err := writeLines(src, size); err != nil {
		return err
	}
	r, err := b.open("ingest", &config.Config{
		Builders: []config.Builder{{Name: "cat", Source: config.Source{Kind: config.SourceTree}, Steps: []config.Step{config.Argv("cat", src)}}},
	}, nil)
	if err != nil {
		return err
	}
	var ours, theirs []time.Duration
	for range 3 {
		start := time.Now()
		q, err := r.Submit(ctx, runner.Request{Builder: "cat"})
		if err != nil {
			return err
		}
		bd, err := q.Wait(ctx)
		if err == nil {
			err = bd.Err()
		}
		if err != nil {
			return err
		}
		ours = append(ours, time.Since(start))
		// "; sync FILE", since a finished log is on disk too.
		out := filepath.Join(b.dir, "copy")
		start = time.Now()
		if err := exec.Command("sh", "-c", `cat "$1" >"$2" && sync "$2"`, "sh", src, out).Run(); err != nil {
			return err
		}
		theirs = append(theirs, time.Since(start))
		if err := os.Remove(out); err != nil {
			return err
		}
	}
	rate := func(ds []time.Duration) float64 { return size / median(ds).Seconds() / 1e6 }
	ratio := rate(ours) / rate(theirs)
	b.add(row{"log ingest, durable", fmt.Sprintf("%.0f MB/s", rate(ours)), fmt.Sprintf("cat >file; sync: %.0f MB/s", rate(theirs)), fmt.Sprintf("%.2f", ratio), "≥ 0.7", ratio >= 0.7})
	return errors.Join(r.Shutdown(ctx), os.Remove(src))
}

func writeLines(path string, size int) error {
	line := "ok  \tgithub.com/some/module/internal/package\t0.123s\tcoverage: 81.4% of statements\n"
	return os.WriteFile(path, []byte(strings.Repeat(line, size/len(line)+1)[:size]), 0o600)
}

// decisions measures one decision (a build ends, the next is chosen) over the
// number of pending requests and workers.
func decisions(_ context.Context, b *bench) error {
	var base time.Duration
	for _, c := range []struct{ pending, workers int }{{100, 1}, {100, 1000}, {10_000, 100}, {100_000, 1}, {100_000, 1000}} {
		d := decision(c.pending, c.workers)
		if base == 0 {
			base = d
		}
		ratio := float64(d) / float64(base)
		b.add(row{
			fmt.Sprintf("a decision, %d pending, %d workers", c.pending, c.workers), d.String(), "100 pending, 1 worker: " + base.String(),
			fmt.Sprintf("%.1f", ratio), "≤ 2 × of 100 pending", ratio <= 2,
		})
	}
	return nil
}

func decision(pending, workers int) time.Duration {
	q := queue.New()
	names := make([]string, workers)
	for i := range names {
		names[i] = fmt.Sprintf("w%d", i)
		q.SetWorker(queue.Worker{Name: names[i], MaxBuilds: 2})
	}
	const builders = 20
	for i := range builders {
		q.SetBuilder(queue.Builder{Name: fmt.Sprintf("b%d", i), Workers: names})
	}
	now := time.Now()
	id := int64(0)
	add := func() {
		id++
		q.Add(queue.Request{ID: id, Builder: fmt.Sprintf("b%d", id%builders), Priority: int(id % 3), Submitted: now, Need: worker.Need{CPUs: 1, Memory: 1 << 30}})
	}
	for range pending + 2*workers {
		add()
	}
	var running []queue.Assignment
	for {
		a, ok := q.Next(now)
		if !ok {
			break
		}
		running = append(running, a)
	}
	const turns = 20_000
	start := time.Now()
	for i := range turns {
		k := i % len(running)
		q.Release(running[k])
		running[k], _ = q.Next(now)
		add()
	}
	return time.Since(start) / turns
}

// idleWorkers measures what idle local workers cost.
func idleWorkers(ctx context.Context, b *bench) error {
	const n = 10_000
	measure := func(name string, count int) (int64, error) {
		r, err := b.open(name, &config.Config{
			Workers:  []config.Worker{{Name: "w", Count: count}},
			Builders: []config.Builder{{Name: "x", Steps: []config.Step{config.Shell("true")}}},
		}, nil)
		if err != nil {
			return 0, err
		}
		if _, err := r.InProcessConn(); err != nil { // it runs: all workers are attached
			return 0, err
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		used := int64(m.HeapInuse + m.StackInuse)
		return used, r.Shutdown(ctx)
	}
	few, err := measure("few", 1)
	if err != nil {
		return err
	}
	many, err := measure("many", n)
	if err != nil {
		return err
	}
	each := (many - few) / n
	b.add(row{fmt.Sprintf("%d idle local workers", n), fmt.Sprintf("%d B each", each), "", "", "≤ 4 KiB each", each <= 4096})
	return nil
}
