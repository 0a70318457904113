package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted makes answers that say how many were made before.
func counted(n *atomic.Int64) func(context.Context) (*answer, error) {
	return func(context.Context) (*answer, error) {
		return &answer{body: body{{text: fmt.Append(nil, n.Add(1))}}}, nil
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		var version atomic.Uint64
		var made atomic.Int64
		get := func(key, want string) {
			t.Helper()
			a, err := c.get(t.Context(), key, version.Load, counted(&made))
			if err != nil || string(a.body.bytes()) != want {
				t.Errorf("%s: %s %v, want %s", key, a.body.bytes(), err, want)
			}
		}
		get("a", "1")
		get("a", "1")
		get("b", "2")
		version.Add(1)
		get("a", "3")
		get("b", "4")
		time.Sleep(maxAge)
		get("a", "5")
	})
}

// While an answer is made, those who ask share the next one if something has
// changed, and this one if not.
func TestCacheSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		var version, made atomic.Uint64
		gate := make(chan struct{})
		slow := func(context.Context) (*answer, error) {
			n := made.Add(1)
			<-gate
			return &answer{body: body{{text: fmt.Appendf(nil, "%d of %d", n, version.Load())}}}, nil
		}
		got := make(chan string, 10)
		ask := func() {
			go func() {
				a, err := c.get(t.Context(), "a", version.Load, slow)
				if err != nil {
					t.Error(err)
					return
				}
				got <- string(a.body.bytes())
			}()
			synctest.Wait()
		}
		ask()
		ask() // nothing has changed: the same
		version.Add(1)
		ask() // these two may have been told of the change
		ask()
		gate <- struct{}{}
		synctest.Wait()
		first := []string{<-got, <-got}
		gate <- struct{}{}
		second := []string{<-got, <-got}
		if first[0] != "1 of 1" || first[1] != "1 of 1" || second[0] != "2 of 1" || second[1] != "2 of 1" || made.Load() != 2 {
			t.Errorf("%q then %q, %d made", first, second, made.Load())
		}
	})
}

func TestCacheFailures(t *testing.T) {
	var c cache
	version := func() uint64 { return 1 }
	bad := errors.New("bad")
	if _, err := c.get(t.Context(), "a", version, func(context.Context) (*answer, error) { return nil, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	if _, err := c.get(t.Context(), "a", version, func(context.Context) (*answer, error) { panic("oops") }); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Error(err)
	}
	if a, err := c.get(t.Context(), "a", version, counted(new(atomic.Int64))); err != nil || string(a.body.bytes()) != "1" {
		t.Errorf("a failure was kept: %v %v", a, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wait := make(chan struct{})
	defer close(wait)
	_, err := c.get(ctx, "slow", version, func(context.Context) (*answer, error) { <-wait; return &answer{}, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("whoever goes away is told %v", err)
	}
}

func TestCacheMemory(t *testing.T) {
	var c cache
	for i := range 10 * maxCached {
		big := make([]byte, maxCachedBytes/100)
		_, err := c.get(t.Context(), fmt.Sprint(i), func() uint64 { return 1 }, func(context.Context) (*answer, error) { return &answer{body: body{{text: big}}}, nil })
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		size := 0
		for _, e := range c.entries {
			size += e.size()
		}
		if len(c.entries) > maxCached || size > maxCachedBytes || size != c.bytes {
			t.Fatalf("%d answers of %d bytes are kept, %d are counted", len(c.entries), size, c.bytes)
		}
		c.mu.Unlock()
	}
}
