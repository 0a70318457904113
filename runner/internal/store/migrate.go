package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"runtime/debug"
	"time"
)

// applicationID marks our databases in SQLite's header: "Both".
const applicationID = 0x426f7468

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one change of the schema; its number is its place in the list,
// from 1, and its file's name begins with it.
type migration struct {
	name, sql string
}

func (m migration) checksum() string {
	sum := sha256.Sum256([]byte(m.sql))
	return hex.EncodeToString(sum[:])
}

// migrations reads the numbered files of fsys in order.
func migrations(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var list []migration
	for i, name := range names {
		var n int
		if _, err := fmt.Sscanf(name, "migrations/%04d_", &n); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s is number %d of the list", name, i+1)
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{name[len("migrations/"):], string(data)})
	}
	return list, nil
}

const createMigrations = `CREATE TABLE migrations (
	version  INTEGER PRIMARY KEY,
	name     TEXT NOT NULL,
	checksum TEXT NOT NULL,
	applied  INTEGER NOT NULL,
	by       TEXT NOT NULL -- the version of bothy
) STRICT`

// migrate brings the schema up to the last of list, or refuses the database:
// a foreign one, a newer one, one whose history is not ours.
func (s *Store) migrate(ctx context.Context, list []migration) error {
	var app, version, tables int64
	err := s.conn.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&app, &version, &tables)
	switch {
	case err != nil:
		return s.explain(err)
	case app == 0 && version == 0 && tables == 0:
		// A new file. Made with a rollback journal, so that the mark is in the
		// file itself from the first byte on, not in a write-ahead log beside it.
	case app != applicationID:
		return fmt.Errorf("%s: %w: a SQLite database of another program; it was left as it is", s.path, ErrForeign)
	case version > int64(len(list)):
		return s.newer(ctx, version, len(list))
	default:
		if err := s.checkApplied(ctx, list[:version]); err != nil {
			return err
		}
	}
	if version < int64(len(list)) {
		if err := s.apply(ctx, list, int(version)); err != nil {
			return s.explain(err)
		}
	}
	return s.writeAhead(ctx)
}

// writeAhead switches the database to a write-ahead log; the setting stays in
// the file.
func (s *Store) writeAhead(ctx context.Context) error {
	var mode string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return s.explain(err)
	}
	if mode != "wal" {
		return fmt.Errorf("%s: its file system cannot hold a write-ahead log (journal mode %s)", s.path, mode)
	}
	return nil
}

func (s *Store) newer(ctx context.Context, version int64, known int) error {
	by := "an unknown version"
	row := s.conn.QueryRowContext(ctx, "SELECT by FROM migrations ORDER BY version DESC LIMIT 1")
	if err := row.Scan(&by); err != nil {
		s.log.Debug("database does not say who wrote it", "path", s.path, "err", err)
	}
	return fmt.Errorf("%s: %w: bothy %s left schema %d, this is bothy %s and knows schema %d; run the newer bothy, or use another basedir",
		s.path, ErrNewer, by, version, programVersion(), known)
}

// checkApplied compares what was applied with what this program would apply.
func (s *Store) checkApplied(ctx context.Context, want []migration) (err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT version, checksum FROM migrations ORDER BY version")
	if err != nil {
		return s.explain(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var version int
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return s.explain(err)
		}
		if version != n+1 || version > len(want) || sum != want[n].checksum() {
			return fmt.Errorf("%s: %w: migration %d is not the one this program knows", s.path, ErrForeign, version)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return s.explain(err)
	}
	if n != len(want) {
		return fmt.Errorf("%s: %w: %d of %d migrations are recorded", s.path, ErrForeign, n, len(want))
	}
	return nil
}

// apply runs list[from:] in one transaction.
func (s *Store) apply(ctx context.Context, list []migration, from int) error {
	return s.transact(ctx, func() error {
		if from == 0 {
			if err := s.exec(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
				return err
			}
			if err := s.exec(ctx, createMigrations); err != nil {
				return err
			}
		}
		for i, m := range list[from:] {
			version := from + i + 1
			if err := s.exec(ctx, m.sql); err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
			err := s.exec(ctx, "INSERT INTO migrations VALUES (?, ?, ?, ?, ?)", version, m.name, m.checksum(), time.Now().UnixNano(), programVersion())
			if err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
		}
		return s.exec(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(list)))
	})
}

// programVersion is the version of module bothy in this program.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == "bothy" && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path == "bothy" {
			return m.Version
		}
	}
	return "(devel)"
}

// transact runs f in a transaction of the writing connection. The connection
// is outside of any transaction when it returns.
func (s *Store) transact(ctx context.Context, f func() error) error {
	if err := s.run(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = s.run(ctx, "COMMIT")
	}
	if err != nil {
		// SQLite has rolled back by itself after some errors; then this one
		// says that there is no transaction, which is what is wanted.
		if rerr := s.run(ctx, "ROLLBACK"); rerr != nil {
			s.log.Debug("rollback", "err", rerr)
		}
	}
	return err
}

// run executes a statement that is used again and again.
func (s *Store) run(ctx context.Context, query string, args ...any) error {
	_, err := s.exec1(ctx, query, args...)
	return err
}

// exec1 is run with the number of rows that were changed.
func (s *Store) exec1(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, ok := s.stmts[query]
	if !ok {
		var err error
		if stmt, err = s.conn.PrepareContext(ctx, query); err != nil {
			return 0, err
		}
		s.stmts[query] = stmt
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// exec executes a statement, or several, once.
func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.conn.ExecContext(ctx, query, args...)
	return err
}
