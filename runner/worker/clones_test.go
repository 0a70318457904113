package worker

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

func TestClones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clones
		unlock, err := c.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		other, err := c.Lock(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		other()

		why := errors.New("cancelled")
		ctx, cancel := context.WithCancelCause(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := c.Lock(ctx, "a")
			gaveUp <- err
		}()
		synctest.Wait()
		cancel(why)
		if err := <-gaveUp; err != why {
			t.Errorf("one that gave up: %v", err)
		}

		var wg sync.WaitGroup
		users := 0
		for range 5 {
			wg.Go(func() {
				unlock, err := c.Lock(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				if users++; users > 1 {
					t.Error("two use the clone")
				}
				runtime.Gosched()
				users--
				unlock()
			})
		}
		synctest.Wait()
		if users != 0 {
			t.Error("it was not locked")
		}
		unlock()
		wg.Wait()
		if len(c.busy) != 0 {
			t.Errorf("%d clones are remembered that nobody uses", len(c.busy))
		}
	})
}
