//go:build unix

package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// What is measured: the speed the issue asks for, in the latency that clients
// see, as p50-ms and p99-ms. No benchmark fails for being slow.
//
// The clients are a process of their own, on one CPU at most, that reads answers
// without looking at them; master and clients share the machine. Beside them a
// master with a real database ends [benchPace] builds a second on fake workers:
// each build changes its worker's row several times, so that nearly every answer
// is made anew. cpu-µs is what the master's process spends, user and system, over
// the whole time by the number of answers: the builds are in it, too.

// keepBuilding has builds run until the benchmark is over, pace a second.
func (r *rig) keepBuilding(pace int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(pace))
	g.Go(func() {
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if _, err := r.e.Submit(ctx, engine.Submission{Builder: "trivial"}); err != nil && ctx.Err() == nil {
				r.t.Error(err)
				return
			}
		}
	})
	return func() { cancel(); tick.Stop(); g.Wait() }
}

// hammer has clients ask for one URL b.N times in all, each one after the other,
// every client resting for pause after each answer.
func hammer(b *testing.B, url string, clients int, pause time.Duration, headers ...string) {
	b.Helper()
	p := startClients(b, clientOrder{URL: url, Clients: clients, Times: b.N, Pause: pause, Headers: headers})
	before := cpuTime(b)
	b.ResetTimer()
	p.say("go")
	var got clientReport
	p.read(&got)
	b.StopTimer()
	spent := cpuTime(b) - before
	if got.Err != "" {
		b.Fatal(got.Err)
	}
	report(b, got.Took)
	b.ReportMetric(float64(got.Bytes)/float64(b.N)/1024, "KiB/answer")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-µs")
}

// cpuTime is what this process has spent so far.
func cpuTime(t testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	at := func(p float64) float64 {
		return float64(all[min(len(all)-1, int(p*float64(len(all))))]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

const benchPace = 200 // builds a second beside

func BenchmarkWorkers1000(b *testing.B) {
	r := newRig(b, manyWorkers(1000))
	for _, c := range []struct {
		name    string
		pause   time.Duration
		headers []string
	}{
		{"50clients", 0, nil},
		{"50clients-gzip", 0, []string{"Accept-Encoding: gzip"}}, // not unpacked
		{"50clients-10perSecond", 100 * time.Millisecond, nil},
		{"50clients-10perSecond-gzip", 100 * time.Millisecond, []string{"Accept-Encoding: gzip"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			defer r.keepBuilding(benchPace)()
			hammer(b, r.srv.URL+"/api/v2/workers", 50, c.pause, c.headers...)
		})
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c := &call{a: r.api, path: "workers"}
			if _, _, err := r.api.data.workers.collection(b.Context(), c, everything); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// seedBuilds writes n finished builds.
func seedBuilds(t testing.TB, s *store.Store, n int) {
	began := time.Now().Add(-time.Duration(n) * time.Second)
	names := store.NewBatch()
	for i := range int64(100) {
		names.PutBuilder(&store.Builder{ID: 1 + i, Name: fmt.Sprintf("old%d", i), Configured: began})
	}
	if err := s.Commit(names); err != nil {
		t.Fatal(err)
	}
	id := int64(1)
	for left := n; left > 0; {
		b := store.NewBatch()
		for range min(left, 5000) {
			at := began.Add(time.Duration(id) * time.Second)
			builder := fmt.Sprintf("old%d", id%100)
			b.PutRequest(&store.Request{ID: id, Builder: builder, Submitted: at, State: store.Done, Completed: at.Add(time.Minute), Attempts: 1, Reason: "seed"})
			b.PutBuild(&store.Build{
				ID: id, Request: id, Builder: builder, Number: 1 + (id-1)/100, Worker: fmt.Sprintf("w-%d", 1+id%1000), Attempt: 1,
				Started: at, Completed: at.Add(time.Minute), Result: build.Result(id % 3), Text: "build successful", PeakMemory: 1 << 28, CPU: time.Second,
			})
			id++
			left--
		}
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkBuildsOfMillion(b *testing.B) {
	conf := manyWorkers(1000)
	conf.Store.KeepBuilds = config.Off
	r := newRig(b, conf, rigOptions{seed: func(s *store.Store) { seedBuilds(b, s, 1_000_000) }})
	for _, c := range []struct {
		name, path string
		pause      time.Duration
	}{
		{"latest100", "builds?limit=100&order=-buildid", 0},
		{"latest100-10perSecond", "builds?limit=100&order=-buildid", 100 * time.Millisecond},
		{"ofBuilder", "builders/2/builds?limit=100&order=-number", 0},
		{"failures", "builds?limit=100&order=-buildid&results=2", 0},
		{"running", "builds?complete=false", 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			defer r.keepBuilding(benchPace)()
			hammer(b, r.srv.URL+"/api/v2/"+c.path, 50, c.pause)
		})
	}
}

// BenchmarkFanOut is the time from an event to when the last of 1,000 WebSockets
// has read it, one event after the other. Nothing is built meanwhile.
func BenchmarkFanOut(b *testing.B) {
	const listeners = 1000
	r := newRig(b, manyWorkers(1))
	p := startClients(b, clientOrder{URL: r.srv.Listener.Addr().String(), Clients: listeners, Listen: "workers/*/*"})
	p.expect("ready")
	var all []time.Duration
	row := r.api.workerOf(r.e.Workers()[0])
	before := cpuTime(b)
	for b.Loop() {
		began := time.Now()
		r.api.hub.publish([][]string{{"workers", "1", "state_updated"}}, objectOf(r.api.data.workers, row))
		last, err := strconv.ParseInt(p.line(), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Unix(0, last).Sub(began)) // both processes have one clock
	}
	report(b, all)
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(len(all))/listeners, "cpu-µs/listener")
}
