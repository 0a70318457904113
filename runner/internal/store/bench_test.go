package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"bothy/runner/build"
)

// syncTime is what the disk takes to make an append of one page durable.
func syncTime(b *testing.B) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	const rounds = 200
	begin := time.Now()
	for range rounds {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin) / rounds
}

// BenchmarkCommit commits requests, one by one and in batches. The yardstick
// beside it is the time of one fsync.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 10, 1000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			s := mustOpen(b, filepath.Join(b.TempDir(), "state.db"))
			mustStart(b, s)
			sync := syncTime(b)
			id := int64(0)
			b.ResetTimer()
			for b.Loop() {
				batch := NewBatch()
				for range size {
					id++
					batch.PutRequest(&Request{
						ID: id, Builder: "b", Submitted: t0, Reason: "forced by somebody", Result: build.None,
						Properties: build.Properties{"branch": {Value: "main", Source: "Force"}}, Spec: []byte(`{"dir":"/somewhere"}`),
					})
				}
				if err := s.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(sync.Microseconds()), "µs/fsync")
		})
	}
}

// BenchmarkBuildLife commits what a build of one step puts, start and end, in
// batches of two dozen builds.
func BenchmarkBuildLife(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "state.db"))
	mustStart(b, s)
	sync := syncTime(b)
	id := int64(0)
	const each = 24
	b.ResetTimer()
	for b.Loop() {
		begin, end := NewBatch(), NewBatch()
		for range each {
			id++
			running := Build{ID: id, Request: id, Builder: "b", Number: id, Worker: "w", Started: t0, Result: build.None}
			begin.PutRequest(&Request{ID: id, Builder: "b", State: Running, Result: build.None})
			begin.PutBuild(&running)
			begin.PutStep(&Step{Build: id, Name: "s", Result: build.None})
			begin.PutLog(&Log{ID: id, Build: id, Name: "stdio"})
			numbered(end, id, id, 1)
			running.Completed, running.Result, running.Token.Epoch = t0, build.Success, 1
			end.PutBuild(&running)
		}
		for _, batch := range []*Batch{begin, end} {
			if err := s.Commit(batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(each*b.N)/b.Elapsed().Seconds(), "builds/s")
	b.ReportMetric(float64(sync.Microseconds()), "µs/fsync")
}

// BenchmarkOpen opens, starts and closes a database that exists, with a short
// and a long history.
func BenchmarkOpen(b *testing.B) {
	for _, builds := range []int64{0, 100, 100_000} {
		b.Run(fmt.Sprint(builds, " builds"), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "state.db")
			s := mustOpen(b, path)
			mustStart(b, s)
			for n := int64(0); n < builds; n += 100 {
				batch := NewBatch()
				for i := n + 1; i <= n+100; i++ {
					numbered(batch, i, i, 1)
				}
				if err := s.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			sync := syncTime(b)
			var open, start, closing time.Duration
			b.ResetTimer()
			for b.Loop() {
				t0 := time.Now()
				s, err := Open(path, quiet())
				if err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				if _, err := s.Start(); err != nil {
					b.Fatal(err)
				}
				t2 := time.Now()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				open, start, closing = open+t1.Sub(t0), start+t2.Sub(t1), closing+time.Since(t2)
			}
			b.ReportMetric(float64(open.Microseconds())/float64(b.N), "µs/Open")
			b.ReportMetric(float64(start.Microseconds())/float64(b.N), "µs/Start")
			b.ReportMetric(float64(closing.Microseconds())/float64(b.N), "µs/Close")
			b.ReportMetric(float64(sync.Microseconds()), "µs/fsync")
		})
	}
}

// BenchmarkHistory reads what a builder's first build of a master needs.
func BenchmarkHistory(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "state.db"))
	batch := NewBatch()
	for n := range int64(2000) {
		numbered(batch, n+1, n+1, 1)
	}
	if err := s.Commit(batch); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.History(b.Context(), "b", ""); err != nil {
			b.Fatal(err)
		}
	}
}
