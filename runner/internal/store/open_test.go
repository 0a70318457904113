package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"bothy/runner/build"
)

// says checks that err is want and contains the words.
func says(t *testing.T, err, want error, words ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// unchanged opens path, which must fail, and checks that its bytes stay as
// they are.
func unchanged(t *testing.T, path string) error {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, quiet())
	if err == nil {
		t.Fatalf("opened; closed: %v", s.Close())
	}
	after, rerr := os.ReadFile(path)
	if rerr != nil {
		t.Fatal(rerr)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
	return err
}

func TestGarbageIsLeftAlone(t *testing.T) {
	for name, content := range map[string][]byte{
		"text": []byte("all work and no play\n"), "long": bytes.Repeat([]byte("x"), 10_000), "two bytes": {0, 0}, // SQLite takes a file of one byte for an empty one
		"half a header": []byte("SQLite format 3\x00\x10\x00"), "header and garbage": append([]byte("SQLite format 3\x00"), bytes.Repeat([]byte{0xff}, 5000)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			says(t, unchanged(t, path), ErrForeign, path, "left as it is")
		})
	}
}

func TestEmptyFileIsANewDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := mustStart(t, mustOpen(t, path)); r.Epoch != 1 {
		t.Errorf("epoch %d", r.Epoch)
	}
}

// edit runs statements on a database that is not open.
func edit(t *testing.T, path string, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// existing makes a database with a row and closes it.
func existing(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	mustStart(t, s)
	mustCommit(t, s, func(b *Batch) { b.PutMeta("k", []byte("v")) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestForeignDatabasesAreLeftAlone(t *testing.T) {
	for name, queries := range map[string][]string{
		"tables":                {"CREATE TABLE t (x)"},
		"another application":   {"PRAGMA application_id = 1196444487", "CREATE TABLE t (x)"},
		"a version, no tables":  {"PRAGMA user_version = 1"},
		"WAL":                   {"PRAGMA journal_mode = WAL", "CREATE TABLE t (x)"},
		"application, no table": {"PRAGMA application_id = 1196444487"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			edit(t, path, queries...)
			says(t, unchanged(t, path), ErrForeign, path, "another program")
		})
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	path := existing(t)
	edit(t, path, "INSERT INTO migrations VALUES (99, '0099_later.sql', 'x', 0, 'v9.8.7')", "PRAGMA user_version = 99")
	says(t, unchanged(t, path), ErrNewer, path, "bothy v9.8.7 left schema 99", "run the newer bothy", "another basedir")
}

func TestChangedMigrationIsRefused(t *testing.T) {
	path := existing(t)
	edit(t, path, "UPDATE migrations SET checksum = 'x'")
	says(t, unchanged(t, path), ErrForeign, path, "migration 1 is not the one")
	edit(t, path, "DELETE FROM migrations")
	says(t, unchanged(t, path), ErrForeign, path, "0 of 4 migrations")
}

func TestMigrations(t *testing.T) {
	path := existing(t)
	list, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	good := append(list[:len(list):len(list)], migration{"x_one.sql", "CREATE TABLE one (x); INSERT INTO one VALUES (1)"})
	bad := append(good[:len(good):len(good)], migration{"x_two.sql", "CREATE TABLE two (x); INSERT INTO nowhere VALUES (1)"})

	if s, err := open(path, quiet(), bad); err == nil {
		t.Fatalf("a migration that fails was applied; closed: %v", s.Close())
	} else if !strings.Contains(err.Error(), "x_two.sql") {
		t.Errorf("%q does not name the migration", err)
	}
	s := mustOpen(t, path) // nothing of the failed ones is left
	if v, err := s.Meta(t.Context(), "k"); string(v) != "v" {
		t.Errorf("row of the old schema: %q, %v", v, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // applied once
		s, err := open(path, quiet(), good)
		if err != nil {
			t.Fatal(err)
		}
		var n, version int
		err = s.conn.QueryRowContext(t.Context(), "SELECT count(*), (SELECT user_version FROM pragma_user_version) FROM one").Scan(&n, &version)
		if err != nil || n != 1 || version != len(good) {
			t.Errorf("%d rows, version %d, %v", n, version, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	says(t, unchanged(t, path), ErrNewer)
}

func TestMigrationFilesAreNumbered(t *testing.T) {
	for _, names := range [][]string{{"0002_a.sql"}, {"0001_a.sql", "0003_b.sql"}, {"a.sql"}, {"0001_a.sql", "0001_b.sql"}} {
		fsys := fstest.MapFS{}
		for _, n := range names {
			fsys["migrations/"+n] = &fstest.MapFile{Data: []byte("SELECT 1")}
		}
		if _, err := migrations(fsys); err == nil {
			t.Errorf("%v: no error", names)
		}
	}
}

// A page in the middle of a table is overwritten.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	for i := range 20 {
		mustCommit(t, s, func(b *Batch) {
			for j := range 100 {
				numbered(b, int64(100*i+j+1), int64(100*i+j+1), 1)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for off := 100 * 4096; off+4096 < len(data); off += 4096 {
		copy(data[off:off+64], bytes.Repeat([]byte{0xa5}, 64))
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	_, err = s.Builds(t.Context(), Filter{Limit: 10_000})
	says(t, err, ErrCorrupt, path, "logs are kept")
	b := NewBatch()
	for n := range int64(2000) {
		b.DeleteBuilds(n + 1)
	}
	says(t, s.Commit(b), ErrCorrupt, path)
}

// The first page says that there are more pages than the file has.
func TestTruncatedDatabaseIsNamed(t *testing.T) {
	path := existing(t)
	if err := os.Truncate(path, 2*4096); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, quiet())
	if err == nil {
		_, err = s.Start()
		if cerr := s.Close(); cerr != nil {
			t.Log(cerr)
		}
	}
	says(t, err, ErrCorrupt, path)
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a b", "a?b=c&d", "a#b", "a%20b", "ä", "a:b", "a'b\"c", "a+b"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Logf("%q: not possible here: %v", name, err)
			continue
		}
		s := mustOpen(t, filepath.Join(dir, "state.db"))
		mustStart(t, s)
		if _, err := s.Builds(t.Context(), Filter{}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(dir, "state.db")); err != nil || info.Size() == 0 {
			t.Errorf("%q: %v, %v", name, info, err)
		}
	}
}

func TestMissingDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "state.db")
	_, err := Open(path, quiet())
	says(t, err, ErrReadOnly, path, "must be writable")
}

func TestSecondProcessIsToldSo(t *testing.T) {
	t.Parallel() // it waits for the lock
	path := existing(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, quiet())
	says(t, err, ErrInUse, path, "another process")
}

// The mark is in the file from its first page on, and the settings are those
// that the promises rest on.
func TestSettings(t *testing.T) {
	s := mustOpen(t, existing(t))
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "wal_autocheckpoint": "0", "page_size": "4096"} {
		var got string
		if err := s.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, want %s (%v)", pragma, got, want, err)
		}
	}
	reads, err := s.reader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reads.db.ExecContext(t.Context(), "DELETE FROM meta"); err == nil {
		t.Error("a reading connection can write")
	}
	path := s.path
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint32(data[68:]); got != applicationID {
		t.Errorf("application id %#x", got)
	}
}

// Time in a bubble is the store's time: nothing waits for the real one.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(t.TempDir(), "state.db"), quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		mustStart(t, s)
		begin := time.Now()
		for i := range int64(3) {
			time.Sleep(24 * time.Hour)
			mustCommit(t, s, func(b *Batch) {
				b.PutRequest(&Request{ID: i + 1, Builder: "b", Submitted: time.Now(), Result: build.None})
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got, err := s.Request(ctx, i+1)
			cancel()
			if err != nil || !got.Submitted.Equal(begin.Add(time.Duration(i+1)*24*time.Hour)) {
				t.Errorf("submitted %v, %v", got.Submitted, err)
			}
		}
		synctest.Wait()
	})
}
