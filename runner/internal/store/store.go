package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Store is an open database. Its methods may be called from many goroutines;
// commits happen one after the other.
type Store struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex // held while the writing connection is used
	closed bool
	db     *sql.DB   // of the writing connection
	conn   *sql.Conn // the writing connection
	stmts  map[string]*sql.Stmt
	logs   logIDs
	wal    wal

	commits atomic.Uint64
	named   atomic.Uint64           // see naming
	names   atomic.Pointer[nameIDs] // nil until the first is looked up

	readMu sync.Mutex
	reads  *pool // nil until the first query
}

// readers bounds the connections that read at the same time.
const readers = 4

// Open opens the database at path, makes it when there is none, and brings its
// schema up to date. Nothing is written to a file that is not ours, to a damaged
// one, or to one of a newer version: see [ErrForeign], [ErrCorrupt], [ErrNewer].
// The directory must exist, and the caller must hold it: one process at a time.
//
// While the store is open the process must not open and close the file by
// other means: on POSIX systems that drops SQLite's locks.
func Open(path string, logger *slog.Logger) (*Store, error) {
	list, err := migrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	return open(path, logger, list)
}

func open(path string, logger *slog.Logger, list []migration) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s := &Store{path: abs, log: logger, stmts: map[string]*sql.Stmt{}}
	ctx := context.Background()
	if err := s.openWriter(ctx, list); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %w", err), s.closeWriter())
	}
	return s, nil
}

func (s *Store) openWriter(ctx context.Context, list []migration) (err error) {
	s.db, err = sql.Open("sqlite", s.dsn(
		busyTimeout(),
		"synchronous(FULL)", // NORMAL loses the last commits at a power cut
		"wal_autocheckpoint(0)",
		fmt.Sprintf("journal_size_limit(%d)", 4*walPages<<12), // after a time of slow readers
		"temp_store(MEMORY)",
		"cache_size(-8000)", // kB
	)+"&_txlock=immediate")
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.db.SetMaxOpenConns(1)
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return s.explain(err)
	}
	if err := s.migrate(ctx, list); err != nil {
		return err
	}
	// SQLite opens what it cannot write for reading only, without a word.
	var readOnly bool
	err = s.conn.Raw(func(c any) (err error) {
		readOnly, err = c.(interface {
			IsReadOnly(schema string) (bool, error)
		}).IsReadOnly("main")
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	if readOnly {
		return fmt.Errorf("%s: %w; %s", s.path, ErrReadOnly, readOnlyHint)
	}
	if err := s.run(ctx, "BEGIN IMMEDIATE"); err != nil {
		return s.explain(err)
	}
	if err := s.run(ctx, "ROLLBACK"); err != nil {
		return s.explain(err)
	}
	return nil
}

// dsn names the database for the driver, with pragmas for every connection.
func (s *Store) dsn(pragmas ...string) string {
	p := filepath.ToSlash(s.path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/…
	}
	u := url.URL{Scheme: "file", Path: p, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// Version is another number after each commit that changed something, before
// that commit returns. What is read after it was asked for is at least so new.
func (s *Store) Version() uint64 { return s.commits.Load() }

func busyTimeout() string { return fmt.Sprintf("busy_timeout(%d)", lockWait.Milliseconds()) }

// reader returns the connections for reading.
func (s *Store) reader() (*pool, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.reads != nil {
		return s.reads, nil
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	db, err := sql.Open("sqlite", s.dsn(busyTimeout(), "query_only(1)", "temp_store(MEMORY)"))
	if err != nil {
		return nil, fmt.Errorf("open database %s for reading: %w", s.path, err)
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	s.reads = &pool{db: db, stmts: map[string]*sql.Stmt{}}
	return s.reads, nil
}

// Close waits for a commit that runs, and for queries, and leaves one tidy
// file. It may be called again. What was committed is safe whatever it returns.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.wal.wait()

	s.readMu.Lock()
	defer s.readMu.Unlock()
	var errs []error
	if s.reads != nil {
		errs = append(errs, s.reads.Close())
		s.reads = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := context.Background()
	errs = append(errs, s.settleLogIDs(ctx), s.closeWriter())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) closeWriter() error {
	var errs []error
	for _, stmt := range s.stmts {
		errs = append(errs, stmt.Close())
	}
	// Closing the last connection copies the write-ahead log into the database
	// and removes it.
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}
