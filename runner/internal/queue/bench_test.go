package queue

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"bothy/runner/worker"
)

var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// site is a busy installation: every slot is taken and requests wait.
type site struct {
	q       *Queue
	now     time.Time
	nextID  int64
	turns   int
	running []Assignment
	request func(id int64) Request
}

// newSite has workers of two builds each on one host with room for all but one
// of these builds, and ten builders.
func newSite(tb testing.TB, workers, pending int, request func(int64) Request) *site {
	s := &site{q: New(), now: epoch, request: request}
	slots := max(1, 2*workers-1)
	s.q.SetHost(Host{Name: "here", Slots: slots, CPUs: float64(slots), Memory: int64(slots) << 30})
	names := make([]string, workers)
	for i := range names {
		names[i] = fmt.Sprintf("bot%d", i)
		s.q.SetWorker(Worker{Name: names[i], Host: "here", MaxBuilds: 2})
	}
	s.q.SetLock(LockDef{Name: "db", Max: 1 << 30})
	for b := range 10 {
		d := Builder{Name: builderName(b), Workers: names}
		if b == 0 {
			d.Locks = []Lock{{Name: "db", Count: 1}}
		}
		s.q.SetBuilder(d)
	}
	for range pending + slots {
		s.add()
	}
	for a, ok := s.q.Next(s.now); ok; a, ok = s.q.Next(s.now) {
		s.running = append(s.running, a)
	}
	if s.q.Len() != pending {
		tb.Fatalf("%d are pending, want %d", s.q.Len(), pending)
	}
	return s
}

func builderName(i int) string { return fmt.Sprintf("builder%d", i) }

func (s *site) add() {
	s.nextID++
	s.q.Add(s.request(s.nextID))
}

// turn is what happens when a build ends: its place goes to the next request,
// and nothing more can start. A new request keeps the number of those pending as
// it was.
func (s *site) turn(tb testing.TB) {
	s.turns++
	i := s.turns % len(s.running)
	s.q.Release(s.running[i])
	a, ok := s.q.Next(s.now)
	if !ok {
		tb.Fatal("a build ended and nothing started")
	}
	s.running[i] = a
	if b, ok := s.q.Next(s.now); ok {
		tb.Fatalf("%+v started where there is no room", b)
	}
	s.add()
	s.now = s.now.Add(time.Millisecond)
}

func plainRequest(id int64) Request {
	return Request{ID: id, Builder: builderName(int(id % 10)), Priority: int(id % 3), Submitted: epoch.Add(time.Duration(id) * time.Second),
		Need: worker.Need{CPUs: 1, Memory: 1 << 29}}
}

var (
	pendings = []int{100, 1_000, 10_000, 100_000}
	crews    = []int{1, 10, 100, 1_000}
)

// BenchmarkDecision is the cost of one build's end: Release, a Next that finds
// the request that takes its place, one that finds nothing, and the Add of a new
// request.
func BenchmarkDecision(b *testing.B) {
	for _, workers := range crews {
		for _, pending := range pendings {
			b.Run(fmt.Sprintf("workers=%d/pending=%d", workers, pending), func(b *testing.B) {
				s := newSite(b, workers, pending, plainRequest)
				runtime.GC() // what building the site left behind
				for b.Loop() {
					s.turn(b)
				}
			})
		}
	}
}

// BenchmarkDecisionShapes is the same with many shapes: each request for one of
// 1,000 workers, or with one of 1,000 needs.
func BenchmarkDecisionShapes(b *testing.B) {
	for _, pending := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("pinned/pending=%d", pending), func(b *testing.B) {
			s := newSite(b, 1000, pending, func(id int64) Request {
				r := plainRequest(id)
				r.Worker = fmt.Sprintf("bot%d", id%1000)
				return r
			})
			runtime.GC()
			for b.Loop() {
				s.turn(b)
			}
		})
		b.Run(fmt.Sprintf("needs/pending=%d", pending), func(b *testing.B) {
			s := newSite(b, 1000, pending, func(id int64) Request {
				r := plainRequest(id)
				r.Need.Memory -= id % 1000
				return r
			})
			runtime.GC()
			for b.Loop() {
				s.turn(b)
			}
		})
	}
}

// BenchmarkAdd is the cost of one more request while nothing can start.
func BenchmarkAdd(b *testing.B) {
	for _, pending := range pendings {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			s := newSite(b, 100, pending, plainRequest)
			for b.Loop() {
				s.add()
				b.StopTimer()
				s.q.Remove(s.nextID)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkMemory reports the bytes that one pending request costs, its strings
// apart.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		s := newSite(b, 1, 0, plainRequest)
		names := make([]string, 10)
		for i := range names {
			names[i] = builderName(i)
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		for id := range int64(n) {
			r := Request{ID: id + 10, Builder: names[id%10], Submitted: epoch, Need: worker.Need{CPUs: 1}}
			s.q.Add(r)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/request")
		runtime.KeepAlive(s)
	}
}
