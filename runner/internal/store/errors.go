package store

import (
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors that a caller may decide on.
var (
	// ErrNewer: the database was written by a newer version.
	ErrNewer = errors.New("written by a newer version of bothy")
	// ErrForeign: the file is not a database of ours. It is left as it is.
	ErrForeign = errors.New("not a database of bothy")
	// ErrCorrupt: the database is damaged.
	ErrCorrupt = errors.New("database is damaged")
	// ErrReadOnly: the file, its directory or its file system cannot be written.
	ErrReadOnly = errors.New("not writable")
	// ErrInUse: another process holds the database.
	ErrInUse = errors.New("database is in use by another process")
	// ErrNotFound: no such row.
	ErrNotFound = errors.New("not found")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// RefusedError tells of rows that Commit did not write because they would have
// changed what is settled. Everything else in the batch is on disk; committing
// the same batch again refuses the same rows again.
type RefusedError struct {
	Rows []Refused
}

// Refused is one row that was not written.
type Refused struct {
	What string // "request 7"
	Why  string
}

// Error names the rows, at most three of them.
func (e *RefusedError) Error() string {
	const most = 3
	var b strings.Builder
	b.WriteString("refused to change what is settled: ")
	for i, r := range e.Rows {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(e.Rows)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s)", r.What, r.Why)
	}
	return b.String()
}

// IsFull reports whether err comes from a full disk, as SQLite tells it.
func IsFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

// code returns SQLite's primary result code, -1 for other errors.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return -1
}

const readOnlyHint = "the file and its directory must be writable for the user who runs bothy"

// explain adds to an error of SQLite's what it means for the database file.
func (s *Store) explain(err error) error {
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s: %w: %w; stop bothy and put back a copy, or move state.db and the files beside it that begin with its name away: logs are kept, the history of builds is not", s.path, ErrCorrupt, err)
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s: %w: %w; it was left as it is", s.path, ErrForeign, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("%s: %w: %w; %s", s.path, ErrReadOnly, err, readOnlyHint)
	case sqlite3.SQLITE_BUSY:
		return fmt.Errorf("%s: %w: %w", s.path, ErrInUse, err)
	}
	return err
}
