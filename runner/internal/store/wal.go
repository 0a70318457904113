package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// walPages is how many pages of 4 KiB gather in the write-ahead log before
// they are copied into the database: SQLite's own default, 4 MiB.
const walPages = 1000

const (
	// lockWait is how long a commit waits for another process, such as a
	// person's sqlite3 shell.
	lockWait = 2 * time.Second
	// readerWait is how long commits may be held up by a query that still
	// reads from a part of the write-ahead log that was copied.
	readerWait = 50 * time.Millisecond
)

// wal keeps the write-ahead log short. SQLite would copy it within a commit;
// here most of it is copied in the background, by a connection of its own, and
// commits wait only for what came in meanwhile. Without that last part a
// constantly busy log would never start over and grow without bound.
type wal struct {
	running sync.WaitGroup
	mu      sync.Mutex
	busy    bool
	failed  bool // the last copy failed, and it was logged
}

// grown is called after each commit, with s.mu held.
func (w *wal) grown(s *Store) {
	n, err := s.pagesWritten(false)
	if err != nil || n < walPages {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy {
		return
	}
	w.busy = true
	w.running.Go(func() {
		err := s.checkpoint(context.Background())
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy = false
		if err != nil && !w.failed {
			s.log.Warn("cannot copy the write-ahead log into the database; it stays complete and will be tried again", "err", err)
		}
		w.failed = err != nil
	})
}

// wait returns when nothing is being copied. Nothing may be committed any more.
func (w *wal) wait() { w.running.Wait() }

// pagesWritten counts the pages that went into the write-ahead log since the
// last reset.
func (s *Store) pagesWritten(reset bool) (int, error) {
	var pages int
	err := s.conn.Raw(func(c any) (err error) {
		pages, _, err = c.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, reset)
		return err
	})
	return pages, err
}

func (s *Store) checkpoint(ctx context.Context) error {
	reads, err := s.reader()
	if errors.Is(err, ErrClosed) {
		return nil // closing copies everything
	}
	if err != nil {
		return err
	}
	// Each pass copies what came in during the one before, so that little is
	// left for the one that holds up commits.
	done := 0
	for range 3 {
		pages, copied, err := checkpoint(ctx, reads.db, "PASSIVE")
		if err != nil {
			return s.explain(err)
		}
		if pages-done < walPages/4 || copied <= done {
			break
		}
		done = copied
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Start over, unless somebody reads the old part for too long: then the
	// log grows until the next try.
	err = s.setBusyTimeout(ctx, readerWait)
	if err == nil {
		_, _, err = checkpoint(ctx, s.conn, "RESTART")
	}
	if err = errors.Join(err, s.setBusyTimeout(ctx, lockWait)); err != nil {
		return s.explain(err)
	}
	_, err = s.pagesWritten(true)
	return err
}

// setBusyTimeout is not a prepared statement: SQLite may obey a pragma when it is
// compiled, not when it runs.
func (s *Store) setBusyTimeout(ctx context.Context, d time.Duration) error {
	return s.exec(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", d.Milliseconds()))
}

// checkpoint copies the write-ahead log into the database. It returns how many
// pages the log has and how many of them are copied; that these differ, since
// others use the log, is no error.
func checkpoint(ctx context.Context, q rowQuerier, mode string) (pages, copied int, err error) {
	var busy int
	if err := q.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &copied); err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return pages, copied, nil
}
