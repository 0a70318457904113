package spawn_test

import (
	"bytes"
	"context"
	"os/exec"
	"sync"
	"testing"

	"bothy/localworker/internal/spawn"
)

// BenchmarkBuild measures builds of one trivial command, beside plain os/exec.
func BenchmarkBuild(b *testing.B) {
	for _, m := range methods {
		b.Run(string(m), func(b *testing.B) { benchmarkMethod(b, m) })
	}
	b.Run("os-exec", func(b *testing.B) {
		measure(b, func(int64) error {
			var out, errs bytes.Buffer
			c := exec.Command("sh", "-c", "true")
			c.Stdout, c.Stderr = &out, &errs
			return c.Run()
		}, nil)
	})
}

// BenchmarkStart measures what the first build of a master waits for, and what
// the end of a master does.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := spawn.Open(spawn.Options{BaseID: baseID(), Epoch: 1})
		if err != nil {
			b.Fatal(err)
		}
		s, err := p.Start(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
}

func benchmarkMethod(b *testing.B, m spawn.Method) {
	p, err := spawn.Open(spawn.Options{BaseID: baseID(), Epoch: 1, Only: m})
	if err != nil {
		b.Skip(err)
	}
	defer p.Close()
	var jobs []func(int64) error
	for range 2 {
		s, err := p.Start(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		jobs = append(jobs, func(n int64) error {
			bd, err := s.Begin(n)
			if err != nil {
				return err
			}
			if _, err := bd.Run(context.Background(), sh("true"), &record{}); err != nil {
				return err
			}
			_, err = bd.End(context.Background())
			return err
		})
	}
	measure(b, jobs[0], jobs[1])
}

// measure runs b.N jobs, two at a time.
func measure(b *testing.B, first, second func(int64) error) {
	if second == nil {
		second = first
	}
	work := make(chan int64)
	var wg sync.WaitGroup
	for _, job := range []func(int64) error{first, second} {
		wg.Go(func() {
			for n := range work {
				if err := job(n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		work <- int64(i + 1)
	}
	close(work)
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "builds/s")
}
