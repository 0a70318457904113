package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// versionOne makes a database as the first version of bothy left it, with the
// rows that queries insert.
func versionOne(t testing.TB, queries ...string) string {
	t.Helper()
	list, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := open(path, quiet(), list[:1])
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		if err := s.exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// What the first version wrote stays, and its builders and workers get ids in
// the order of their first build.
func TestUpgradeFromVersionOne(t *testing.T) {
	t.Parallel()
	path := versionOne(t,
		`INSERT INTO requests (id, builder, priority, submitted, state, result, completed, attempts, retries, memory, replaced,
			collapse_key, worker, session, reason, text, spec, properties) VALUES
			(1, 'zeta', 3, 1000, 2, 0, 5000, 1, 0, 0, 0, 'k', '', 's', 'because', 'done', x'0102', '{"p":["v","src"]}'),
			(2, 'alpha', 0, 2000, 1, -1, 0, 1, 0, 0, 0, '', 'pinned', '', 'why', '', NULL, ''),
			(3, 'asked', 0, 3000, 0, -1, 0, 0, 0, 0, 0, '', '', '', '', '', NULL, '')`,
		`INSERT INTO builds (id, request, builder, number, worker, epoch, counter, attempt, started, completed, result, peak_memory,
			cpu, steps_hash, cause, dir, kept, text, ended, properties) VALUES
			(4, 1, 'zeta', 7, 'w2', 2, 1, 1, 1500, 4500, 0, 99, 98, 'h', '', '/d', '', 'fine', '["sleep"]', '{"p":["v","src"]}'),
			(5, 2, 'alpha', 1, 'w1', 2, 2, 1, 2500, 0, -1, 0, 0, 'h', '', '/e', '', '', '', ''),
			(6, 2, 'alpha', 2, 'w2', 2, 3, 2, 6000, 7000, 2, 0, 0, 'h', '', '/e', '', '', '', ''),
			(7, 2, 'alpha', 3, '', 2, 3, 2, 6500, 7500, 2, 0, 0, 'h', '', '/e', '', '', '', '')`,
		`INSERT INTO steps VALUES (5, 0, 'compile', 2600, 0, -1, 0, 'running')`,
		`INSERT INTO logs VALUES (11, 5, 0, 'stdio', 'seg:1', 5, 50, 0, 0)`,
		`INSERT INTO meta VALUES ('.id', CAST('the-id' AS BLOB)), ('mine', x'ff')`,
		`INSERT INTO counters VALUES ('epoch', 2), ('request', 8), ('build', 9), ('log', 11)`,
		`INSERT INTO numbers VALUES ('gone', 40), ('zeta', 7)`,
	)
	s := mustOpen(t, path)
	r := mustStart(t, s)
	at := func(n int64) time.Time { return fromNanos(n) }
	wantWorkers := []Worker{
		{ID: 1, Name: "w2", Kind: "local", Configured: at(1500), LastSeen: at(7000)},
		{ID: 2, Name: "w1", Kind: "local", Configured: at(2500), LastSeen: at(2500)},
	}
	wantBuilders := []Builder{
		{ID: 1, Name: "zeta", Configured: at(1500)},
		{ID: 2, Name: "alpha", Configured: at(2500)},
		{ID: 3, Name: "asked", Configured: at(3000)},
		{ID: 4, Name: "gone"},
	}
	if d := cmp.Diff(wantWorkers, r.Workers); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(wantBuilders, r.Builders); d != "" {
		t.Error(d)
	}
	if r.ID != "the-id" || r.Epoch != 3 || r.NextRequest != 9 || r.NextBuild != 10 || r.NextLog != 12 || r.NextWorker != 3 || r.NextBuilder != 5 || r.NextMail != 1 {
		t.Errorf("%+v", r)
	}
	if r.Numbers["gone"] != 40 || r.Numbers["alpha"] != 3 {
		t.Errorf("numbers %v", r.Numbers)
	}
	c := dump(t, s)
	if len(c.Requests) != 3 || len(c.Builds) != 4 || len(c.Steps) != 1 || len(c.Logs) != 1 || string(c.Meta["mine"]) != "\xff" {
		t.Errorf("%d requests, %d builds, %d steps, %d logs, meta %q", len(c.Requests), len(c.Builds), len(c.Steps), len(c.Logs), c.Meta)
	}
	if got := c.Builds[0]; got.Text != "fine" || got.Properties["p"].Value != "v" || got.Ended[0] != "sleep" {
		t.Errorf("build %+v", got)
	}
	checkTotals(t, s)
	page, err := s.SelectBuilds(t.Context(), Select{Limit: NoLimit, Where: []Cond{{"builderid", Eq, []any{int64(2)}}, {"workerid", Eq, []any{int64(1)}}}})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].ID != 6 || page.Rows[0].WorkerID != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestUpgradeOfAnEmptyDatabase(t *testing.T) {
	s := mustOpen(t, versionOne(t))
	r := mustStart(t, s)
	if len(r.Workers)+len(r.Builders) != 0 || r.NextWorker != 1 || r.NextBuilder != 1 {
		t.Errorf("%+v", r)
	}
	checkTotals(t, s)
}

// An upgraded database and a new one have the same schema.
func TestUpgradedSchemaIsThatOfANewDatabase(t *testing.T) {
	schema := func(s *Store) map[string]string {
		m := map[string]string{}
		rows, err := s.conn.QueryContext(t.Context(), "SELECT type || ' ' || name, ifnull(sql, '') FROM sqlite_schema")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, sql string
			if err := rows.Scan(&name, &sql); err != nil {
				t.Fatal(err)
			}
			m[name] = sql
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	fresh := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	if d := cmp.Diff(schema(fresh), schema(mustOpen(t, versionOne(t))), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

// checkTotals compares table totals with what it counts.
func checkTotals(t interface {
	Helper()
	Fatal(...any)
}, s *Store) {
	t.Helper()
	read := func(query string) map[string]int64 {
		m := map[string]int64{}
		err := scan(context.Background(), s.conn, func(rows *sql.Rows) error {
			var key string
			var n int64
			err := rows.Scan(&key, &n)
			m[key] = n
			return err
		}, query)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	kept := read("SELECT of || ' ' || value, n FROM totals WHERE n <> 0")
	counted := read(`SELECT 'builds ', count(*) FROM builds HAVING count(*) > 0
		UNION ALL SELECT 'builds.builder ' || builder, count(*) FROM builds GROUP BY builder
		UNION ALL SELECT 'builds.worker ' || worker, count(*) FROM builds GROUP BY worker
		UNION ALL SELECT 'builds.result ' || result, count(*) FROM builds GROUP BY result
		UNION ALL SELECT 'requests ', count(*) FROM requests HAVING count(*) > 0
		UNION ALL SELECT 'requests.builder ' || builder, count(*) FROM requests GROUP BY builder
		UNION ALL SELECT 'requests.state ' || state, count(*) FROM requests GROUP BY state`)
	if d := cmp.Diff(counted, kept); d != "" {
		t.Fatal("totals are wrong: " + d)
	}
}
