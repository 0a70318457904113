package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bothy/runner/internal/logs"
	"bothy/runner/worker"
)

// soak reports whether the long form of the tests is wanted: BOTHY_SOAK=1.
func soak() bool { return os.Getenv("BOTHY_SOAK") == "1" }

// output is text of about size bytes, in lines of some 60 bytes with colours.
func output(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "[%6d] \x1b[32mCC\x1b[0m src/module%d/file%d.c -o build/obj%d.o\n", i, i%17, i*7919%9973, i)
	}
	return b.Bytes()
}

// fill writes a log of size bytes.
func (r *logRig) fill(w *logs.Writer, size int) {
	r.t.Helper()
	for p := output(1 << 20); size > 0; size -= len(p) {
		if err := w.Write(worker.Stdout, p[:min(len(p), size)]); err != nil {
			r.t.Fatal(err)
		}
	}
}

// memory is how much of the heap is in use.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A large log costs no more memory than a small one, whatever is done with it:
// while it is written, when it is finished, and when it is compressed. The long
// form takes 1 GiB and prints how long pages take.
func TestLargeLog(t *testing.T) {
	size := 48 << 20
	if soak() {
		size = 1 << 30
	}
	r := newLogRig(t, logs.Options{MaxLogBytes: 4 << 30})
	r.log("warm", "o"+numbered(1, 1000))
	r.want(where("warm"), false)
	w := r.begin("stdio")
	r.fill(w, size)
	lines := func() int64 {
		info, err := r.logs.Stat(w.ID(), "")
		if err != nil {
			t.Fatal(err)
		}
		return info.Lines
	}()
	look := func(when string) {
		t.Helper()
		base := memory()
		var most uint64
		stop := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
		})
		for name, path := range map[string]string{
			"first page":   "?from=1",
			"last page":    fmt.Sprintf("?from=%d", lines),
			"in between":   fmt.Sprintf("?from=%d", lines/2),
			"first rows":   "/lines?from=1",
			"last rows":    fmt.Sprintf("/lines?from=%d", chunkOf(lines)),
			"middle rows":  fmt.Sprintf("/lines?from=%d", chunkOf(lines/3)),
			"10,000 lines": fmt.Sprintf("/text?from=%d&n=10000", lines/4),
		} {
			var took []time.Duration
			for range 9 {
				began := time.Now()
				status, _, body := r.get(where("stdio")+path, strings.HasPrefix(path, "/"))
				took = append(took, time.Since(began))
				if status != http.StatusOK || len(body) < 1000 {
					t.Fatalf("%s: %d, %d bytes", path, status, len(body))
				}
			}
			slices.Sort(took)
			t.Logf("%s, %-13s %6.1f ms (slowest of 9: %.1f)", when, name, float64(took[4].Microseconds())/1000, float64(took[8].Microseconds())/1000)
		}
		close(stop)
		watch.Wait()
		grown := int64(most) - int64(base)
		t.Logf("%s, memory grows by %.1f MiB at most", when, float64(grown)/(1<<20))
		if limit := int64(40 << 20); grown > limit {
			t.Errorf("%s: pages of a log of %d MiB take %d MiB of memory", when, size>>20, grown>>20)
		}
	}
	look("written")
	r.end(w)
	look("finished")
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(5 * time.Minute); !r.compressed(w.ID()); <-poll.C {
		if time.Now().After(end) {
			t.Fatal("the log is never compressed")
		}
	}
	look("compressed")
}

// One line of 100 MB is shown, piece by piece, at the cost of a piece.
func TestLongLine(t *testing.T) {
	size := 20 << 20
	if soak() {
		size = 100 << 20
	}
	r := newLogRig(t, logs.Options{MaxLogBytes: 4 << 30})
	w := r.begin("stdio")
	p := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	for n := 0; n < size; n += len(p) {
		if err := w.Write(worker.Stdout, p); err != nil {
			t.Fatal(err)
		}
	}
	r.write(w, worker.Stdout, "\nend\n")
	r.end(w)
	base := memory()
	began := time.Now()
	page := r.want(where("stdio")+"?from=99999999", false, "<code>end</code>")
	t.Logf("last page of a line of %d MiB: %v, %d KiB", size>>20, time.Since(began), len(page)>>10)
	began = time.Now()
	page = r.want(where("stdio")+"/lines", true, "goes on", "63536 characters more")
	t.Logf("first 100 rows: %v, %d KiB", time.Since(began), len(page)>>10)
	if len(page) > 1<<20 {
		t.Errorf("100 rows have %d bytes", len(page))
	}
	if grown := int64(memory()) - int64(base); grown > 30<<20 {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
}

// Many follow one log that is written fast: the writer does not wait for them,
// they come to the end, and what they did not get they are told. The long form
// has 100 of them for 20 s at 50 MB/s, and prints what that costs the writer.
func TestManyFollowers(t *testing.T) {
	followers, rate, lasts := 20, 10<<20, time.Second
	if soak() {
		followers, rate, lasts = 100, 50_000_000, 20*time.Second
	}
	r := newLogRig(t, logs.Options{MaxLogBytes: 8 << 30})
	const part = 32 << 10
	text := output(part)
	// write writes at the rate and returns how long the writes took, and all.
	write := func(w *logs.Writer) (busy, all time.Duration) {
		began := time.Now()
		for n := 0; ; n += len(text) {
			due := began.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
			if due.Sub(began) >= lasts {
				return busy, time.Since(began)
			}
			if wait := time.Until(due); wait > 0 { // the rate is what is tested
				<-time.After(wait)
			}
			at := time.Now()
			if err := w.Write(worker.Stdout, text); err != nil {
				t.Error(err)
				return busy, 0
			}
			busy += time.Since(at)
		}
	}
	alone := r.begin("alone")
	busy0, all0 := write(alone)
	r.end(alone)

	w := r.begin("stdio")
	type sum struct{ messages, lines, skipped, bytes int64 }
	sums := make([]sum, followers)
	var late time.Duration
	var group sync.WaitGroup
	joined := make(chan struct{}, followers)
	for i := range sums {
		group.Go(func() {
			next := r.follow(context.Background(), where("stdio")+"/follow")
			joined <- struct{}{}
			told := int64(0)
			for {
				m, err := next()
				if err != nil {
					t.Errorf("follower %d: %v", i, err)
					return
				}
				if m.First != told+m.Skipped+1 {
					t.Errorf("follower %d: after line %d comes %d, with %d skipped", i, told, m.First, m.Skipped)
				}
				n := int64(strings.Count(m.Rows, `<div class="r`))
				open := int64(strings.Count(m.Rows, ` open"`))
				told = m.First + n - open - 1
				s := &sums[i]
				s.messages, s.lines, s.skipped, s.bytes = s.messages+1, s.lines+n-open, s.skipped+m.Skipped, s.bytes+int64(len(m.Rows))
				if m.Done {
					if told != m.Total {
						t.Errorf("follower %d: the end is line %d, told %d", i, m.Total, told)
					}
					return
				}
			}
		})
	}
	for range sums {
		<-joined
	}
	busy, all := write(w)
	r.end(w)
	ended := time.Now()
	group.Wait()
	late = time.Since(ended)
	lines := int64(0)
	if info, err := r.logs.Stat(w.ID(), ""); err == nil {
		lines = info.Lines
	}
	for i, s := range sums {
		if s.lines+s.skipped != lines {
			t.Errorf("follower %d: %d lines and %d skipped are not %d", i, s.lines, s.skipped, lines)
		}
	}
	t.Logf("alone: writing took %v of %v; with %d followers: %v of %v, %+.1f %% of all the time", busy0, all0, followers, busy, all, 100*(float64(all)/float64(all0)-1))
	t.Logf("each: %d messages, %d of %d lines, %.0f KB/s; the last one ended %v after the log", sums[0].messages, sums[0].lines, lines, float64(sums[0].bytes)/1000/all.Seconds(), late)
}
