package logs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bothy/runner/worker"
)

// TestFollow runs a follower beside a log that goes through all its places; all
// output must be seen within 100 ms.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		w := mustCreate(t, s, 1, nil)
		r, err := s.Reader(1, "")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var seen strings.Builder
		done := make(chan struct{})
		go func() {
			defer close(done)
			for l, err := range r.Follow(t.Context(), 1) {
				if err != nil {
					t.Error(err)
				}
				seen.WriteString(text([]Line{l}))
			}
		}()
		want := ""
		step := func(stream worker.Stream, p, lines string) {
			t.Helper()
			mustWrite(t, w, stream, p)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			want += lines
			same(t, fmt.Sprintf("after %.20q", p), seen.String(), want)
		}
		time.Sleep(time.Hour)
		step(worker.Stdout, "line 0\n", "")
		step(worker.Stdout, "prompt> ", "1o:prompt>  (partial)\n")
		step(worker.Stderr, "oops\n", "1e:oops\n2o:prompt>  (partial)\n")
		step(worker.Stdout, "yes\n", "2o:prompt> yes\n")
		// Others fill the segment: the log moves to the next one.
		for id := int64(2); id < 10; id++ {
			o := mustCreate(t, s, id, nil)
			mustWrite(t, o, worker.Stdout, strings.Repeat("x", 60_000))
			mustFinish(t, o)
		}
		step(worker.Stdout, "moved\nand", "3o:moved\n4o:and (partial)\n")
		big := strings.Repeat("b", 50_000)
		step(worker.Stdout, " on\n"+big+"\n"+big+"\n", "4o:and on\n5o:"+big+"\n6o:"+big+"\n")
		step(worker.Stdout, "own file", "7o:own file (partial)\n")
		mustFinish(t, w)
		<-done
		same(t, "at the end", seen.String(), want+"7o:own file\n")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFollowChunks(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := mustCreate(t, s, 1, nil)
		r, err := s.Reader(1, "")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		got := make(chan string, 100)
		go func() {
			defer close(got)
			for c, err := range r.Chunks(ctx, true) {
				if err != nil {
					got <- err.Error()
				} else {
					got <- fmt.Sprintf("%c:%s", c.Stream, c.Data)
				}
			}
		}()
		mustWrite(t, w, worker.Stdout, "a")
		start := time.Now()
		same(t, "chunk", <-got, "o:a")
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("seen after %v", d)
		}
		big := strings.Repeat("x", 100_000)
		mustWrite(t, w, worker.Stdout, big) // moves to its own file
		same(t, "chunk", <-got, "o:"+big)
		mustWrite(t, w, worker.Header, "h")
		same(t, "chunk", <-got, "h:h")
		cancel(errors.New("enough"))
		same(t, "cancelled", <-got, "enough")
		if x, ok := <-got; ok {
			t.Errorf("more: %s", x)
		}
		mustFinish(t, w)
	})
}

// TestFollowStops: a consumer may stop at any line, and at a log without any.
func TestFollowStops(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	w := mustCreate(t, s, 1, nil)
	r := mustReader(t, s, 1, "")
	mustWrite(t, w, worker.Stdout, "a\nb\nc")
	for n := 1; n <= 3; n++ {
		seen := 0
		for _, err := range r.Follow(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == n {
				break
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, last = range mustReader(t, s, 1, "").Follow(ctx, 100) {
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: %v", last)
	}
	mustFinish(t, w)
	for l, err := range r.Follow(t.Context(), 100) {
		t.Errorf("line beyond the end: %v, %v", l, err)
	}
}
