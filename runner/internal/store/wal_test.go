package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Under a load that never pauses, with readers, the write-ahead log starts over
// again and again instead of growing.
func TestWriteAheadLogStaysShort(t *testing.T) {
	t.Parallel()
	builds := int64(12_000)
	if testing.Short() || raceDetector {
		builds = 2_000
	}
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustStart(t, s)
	ctx, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Builds(ctx, Filter{Limit: 20}); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
				return
			}
		}
	})
	var longest time.Duration
	var highest, written int64
	const batch = 20
	for n := int64(0); n < builds; n += batch {
		b := NewBatch()
		for i := n + 1; i <= n+batch; i++ {
			numbered(b, i, i, 1)
		}
		begin := time.Now()
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(begin))
		info, err := os.Stat(s.path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		highest = max(highest, info.Size())
		pages, err := s.pagesWritten(false)
		if err != nil {
			t.Fatal(err)
		}
		written = max(written, int64(pages)<<12)
	}
	stop()
	reading.Wait()
	t.Logf("%d builds: write-ahead log at most %.1f MiB, longest commit %v", builds, float64(highest)/(1<<20), longest)
	if written < walPages<<12 {
		t.Errorf("only %d bytes were written at a time: nothing was tested", written)
	}
	// The threshold, and what comes in while that is copied on a busy machine.
	if highest > 16*walPages<<12 {
		t.Errorf("the write-ahead log grew to %d bytes", highest)
	}
	checkNumbered(t, s, builds)
}

// Somebody who reads for long keeps the log from starting over, but holds up
// nobody.
func TestLongReadHoldsUpNobody(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustStart(t, s)
	reads, err := s.reader()
	if err != nil {
		t.Fatal(err)
	}
	db := reads.db
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var epoch int
	if err := tx.QueryRowContext(t.Context(), "SELECT value FROM counters WHERE name = 'epoch'").Scan(&epoch); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= 3; n++ {
		mustCommit(t, s, func(b *Batch) { numbered(b, n, n, 1) })
		begin := time.Now()
		if err := s.checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d >= lockWait {
			t.Errorf("copying took %v", d)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pages, copied, err := checkpoint(t.Context(), db, "PASSIVE"); err != nil || pages != copied {
		t.Errorf("%d of %d pages copied, %v", copied, pages, err)
	}
	var timeout int64
	if err := s.conn.QueryRowContext(t.Context(), "PRAGMA busy_timeout").Scan(&timeout); err != nil || timeout != lockWait.Milliseconds() {
		t.Errorf("commits wait %d ms for a lock, %v", timeout, err)
	}
	checkNumbered(t, s, 3)
}

func TestCommitsAndReadsSideBySide(t *testing.T) {
	t.Parallel()
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	mustStart(t, s)
	var group sync.WaitGroup
	const each = 50
	for w := range int64(4) {
		group.Go(func() {
			for i := range int64(each) {
				n := 1 + w*each + i
				b := NewBatch()
				numbered(b, n, n, 1)
				if err := s.Commit(b); err != nil {
					t.Error(err)
					return
				}
				got, err := s.Build(t.Context(), "b", n) // what is committed is seen at once
				if err != nil || got.ID != n {
					t.Errorf("build %d after its commit: %+v, %v", n, got, err)
				}
			}
		})
	}
	group.Wait()
	checkNumbered(t, s, 4*each)
}
