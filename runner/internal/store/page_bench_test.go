package store

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"bothy/runner/worker"
)

// million makes a database with a million builds of 100 builders on 1,000
// workers. Every tenth failed, one in 100,000 was cancelled, the last ten run.
// The first version's schema, with few indexes, is filled and then upgraded,
// which is faster, and measured.
func million(b *testing.B) *Store {
	b.Helper()
	const of = " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT "
	path := versionOne(b,
		"DROP INDEX builds_good", "DROP INDEX builds_worker", "DROP INDEX builds_open", "DROP INDEX builds_request",
		"INSERT INTO requests"+of+`i, 'builder' || (i % 100), 0, 1700000000000000000 + i * 1000000000, iif(i > 999990, 1, 2), iif(i > 999990, -1, iif(i % 10 = 0, 2, 0)),
			iif(i > 999990, 0, 1700000060000000000 + i * 1000000000), 1, 0, 0, 0, '', '', '', 'a reason', '', NULL, '' FROM n`,
		"INSERT INTO builds"+of+`i, i, 'builder' || (i % 100), 1 + (i - 1) / 100, 'worker' || (i % 1000), 1, i, 1, 1700000000000000000 + i * 1000000000,
			iif(i > 999990, 0, 1700000060000000000 + i * 1000000000),
			CASE WHEN i > 999990 THEN -1 WHEN i % 100000 = 7 THEN 6 WHEN i % 10 = 0 THEN 2 ELSE 0 END,
			100000000, 1000000000, 'e3b0c44298fc1c14', '', '/var/lib/bothy/work/' || i, '', 'build successful', '',
			'{"branch":["main","Force"],"owner":["somebody","Force"],"revision":["0123456789012345678901234567890123456789","Build"]}' FROM n`,
		"CREATE INDEX builds_good ON builds (builder, number) WHERE result IN (0, 1)", "CREATE INDEX builds_worker ON builds (worker)",
		"CREATE INDEX builds_open ON builds (id) WHERE result < 0", "CREATE INDEX builds_request ON builds (request)",
	)
	begin := time.Now()
	s := mustOpen(b, path)
	b.Logf("a million builds were upgraded in %v", time.Since(begin))
	batch := NewBatch()
	for id := int64(1); id <= 1000; id++ {
		batch.PutWorker(&Worker{
			ID: id, Name: fmt.Sprint("worker", id%1000), Kind: "remote", Configured: t0, LastSeen: t0, State: []byte(`{"connected":true}`),
			Info: worker.Info{"system": "linux", "numcpus": int64(8), "version": "1.0", "os_id": "debian", "os_version_id": "13", "admin": "somebody"},
		})
	}
	batch.PutBuilder(&Builder{ID: 1000, Name: "b"})
	if err := s.Commit(batch); err != nil {
		b.Fatal(err)
	}
	return s
}

// pages are questions about a million builds.
var pages = []struct {
	name string
	sel  Select
}{
	{"newest", Select{Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"newest with properties", Select{Order: []Sort{{"buildid", true}}, Limit: 100, Properties: []string{"*"}}},
	{"newest with one property", Select{Order: []Sort{{"buildid", true}}, Limit: 100, Properties: []string{"owner"}}},
	{"oldest", Select{Limit: 100}},
	{"before", Select{Where: []Cond{{"buildid", Lt, []any{int64(500_000)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"one", Select{Where: []Cond{{"buildid", Eq, []any{int64(500_000)}}}, Limit: 100}},
	{"running", Select{Where: []Cond{{"complete", Eq, []any{false}}}, Order: []Sort{{"started_at", true}}, Limit: 100}},
	{"finished", Select{Where: []Cond{{"complete", Eq, []any{true}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"last finished", Select{Where: []Cond{{"complete", Eq, []any{true}}}, Order: []Sort{{"complete_at", true}}, Limit: 100}},
	{"failed", Select{Where: []Cond{{"results", Eq, []any{int64(2)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"not good", Select{Where: []Cond{{"results", In, []any{int64(2), int64(4), int64(5), int64(6)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"cancelled", Select{Where: []Cond{{"results", Eq, []any{int64(6)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"builder", Select{Where: []Cond{{"builderid", Eq, []any{int64(7)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"builder by number", Select{Where: []Cond{{"builderid", Eq, []any{int64(7)}}}, Order: []Sort{{"number", true}}, Limit: 100}},
	{"builders", Select{Where: []Cond{{"builderid", Eq, []any{int64(7), int64(9)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"number", Select{Where: []Cond{{"builderid", Eq, []any{int64(7)}}, {"number", Eq, []any{int64(500)}}}, Limit: 100}},
	{"failed of builder", Select{Where: []Cond{{"builderid", Eq, []any{int64(10)}}, {"results", Eq, []any{int64(2)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"running of builder", Select{Where: []Cond{{"builderid", Eq, []any{int64(7)}}, {"complete", Eq, []any{false}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"worker", Select{Where: []Cond{{"workerid", Eq, []any{int64(7)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"request", Select{Where: []Cond{{"buildrequestid", Eq, []any{int64(7)}}}, Limit: 100}},
	{"last hour", Select{Where: []Cond{{"started_at", Ge, []any{int64(1_700_996_400)}}}, Order: []Sort{{"buildid", true}}, Limit: 100}},
	{"far away", Select{Order: []Sort{{"buildid", true}}, Limit: 100, Offset: 900_000}},
}

// BenchmarkBuildsPage answers questions about a million builds, one at a time.
func BenchmarkBuildsPage(b *testing.B) {
	s := million(b)
	for _, p := range pages {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.SelectBuilds(b.Context(), p.sel); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("requests", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.SelectRequests(b.Context(), Select{Order: []Sort{{"buildrequestid", true}}, Limit: 100}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("thousand workers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, err := s.SelectWorkers(b.Context(), Select{Limit: NoLimit}); err != nil || len(p.Rows) < 1000 {
				b.Fatal(len(p.Rows), err)
			}
		}
	})
	b.Run("newest, 50 clients, builds run", func(b *testing.B) {
		stop := make(chan struct{})
		var building sync.WaitGroup
		building.Go(func() {
			for id := int64(2_000_000); ; id++ {
				select {
				case <-stop:
					return
				default:
				}
				batch := NewBatch()
				numbered(batch, id, id, 1)
				if err := s.Commit(batch); err != nil {
					b.Error(err)
					return
				}
			}
		})
		var mu sync.Mutex
		var all []time.Duration
		b.SetParallelism(25) // times GOMAXPROCS
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			var took []time.Duration
			for pb.Next() {
				begin := time.Now()
				if _, err := s.SelectBuilds(b.Context(), pages[0].sel); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
		close(stop)
		building.Wait()
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	})
}
