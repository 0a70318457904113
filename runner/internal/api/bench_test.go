package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"bothy/runner/build"
	"bothy/runner/config"
	"bothy/runner/internal/engine"
	"bothy/runner/internal/store"
)

// What is measured: the speed the issue asks for. Each benchmark reports the
// latency as p50-ms and p99-ms; none fails for being slow.

// manyWorkers is a configuration with n workers.
func manyWorkers(n int) *config.Config {
	conf := basic()
	conf.Workers = []config.Worker{{Name: "w", Count: n}}
	conf.Builders = append(conf.Builders, config.Builder{Name: "trivial", NoCollapse: true, Steps: []config.Step{named("say", "print x")}})
	return conf
}

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
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}
	defer client.CloseIdleConnections()
	all := make([]time.Duration, b.N)
	next := make(chan int, b.N)
	for i := range b.N {
		next <- i
	}
	close(next)
	var bytes int64
	var mu sync.Mutex
	var g sync.WaitGroup
	b.ResetTimer()
	for range clients {
		g.Go(func() {
			buf := make([]byte, 64<<10)
			var n int64
			for i := range next {
				began := time.Now()
				req, err := http.NewRequest(http.MethodGet, url, nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Accept", "application/json")
				for _, h := range headers {
					name, v, _ := strings.Cut(h, ": ")
					req.Header.Set(name, v)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				m, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Errorf("%s: %v", resp.Status, err)
					return
				}
				all[i] = time.Since(began)
				n += m
				if pause > 0 {
					time.Sleep(pause)
				}
			}
			mu.Lock()
			bytes += n
			mu.Unlock()
		})
	}
	g.Wait()
	b.StopTimer()
	report(b, all)
	b.ReportMetric(float64(bytes)/float64(b.N)/1024, "KiB/answer")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
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
			c := &call{a: r.api}
			if _, _, err := r.api.data.workers.collection(b.Context(), c, everything, nil); err != nil {
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

// BenchmarkFanOut is the time from an event to the last of 1,000 WebSockets.
func BenchmarkFanOut(b *testing.B) {
	const listeners = 1000
	r := newRig(b, manyWorkers(1))
	ctx := b.Context()
	got := make(chan time.Time, listeners)
	for range listeners {
		conn, _, err := websocket.Dial(ctx, "ws"+r.srv.URL[4:]+"/ws", nil)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"cmd":"startConsuming","path":"workers/*/*","_id":1}`)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := conn.Read(ctx); err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
				got <- time.Now()
			}
		}()
	}
	var all []time.Duration
	v := r.e.Workers()[0]
	row := r.api.workerOf(v)
	for b.Loop() {
		began := time.Now()
		r.api.hub.publish([][]string{{"workers", "1", "state_updated"}}, objectOf(r.api.data.workers, row))
		var last time.Time
		for range listeners {
			if at := <-got; at.After(last) {
				last = at
			}
		}
		all = append(all, last.Sub(began))
	}
	report(b, all)
}
