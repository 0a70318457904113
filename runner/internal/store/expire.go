package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

// Retention says what is kept. What is not settled is always kept.
type Retention struct {
	// Builds are kept per builder, and as many requests that led to no build;
	// 0: all.
	Builds int
	// LogsBefore: logs of builds that ended before it may go; zero: all stay.
	LogsBefore time.Time
	// ArtifactsBefore: artifacts of builds that ended before it may go, as far as
	// they are no younger than Logs that go; zero: all stay.
	ArtifactsBefore time.Time
	// RecordsBefore: lines of the journal and settled mails from before it may
	// go, but for the newest 1,000 of each; zero: all stay.
	RecordsBefore time.Time
	// Limit bounds the lists returned, so that one deletion stays short; 0: 100.
	// Of the last build, all logs are named.
	Limit int
}

// Expired is what may be removed: put it into a [Batch], commit, then remove
// what the logs' Ref fields and Artifacts name. In this order a crash leaves at worst bytes
// that no row names.
type Expired struct {
	Builds   []int64
	Requests []int64 // of which no build is left
	// Logs are those of Builds, and the oldest of those that may go.
	Logs []Log
	// Artifacts are those of further builds; those of Builds go with them.
	Artifacts []KeptFiles
	// Mails and Entries are records of what happened.
	Mails   []int64
	Entries []int64
}

// Len returns how much there is to remove.
func (e *Expired) Len() int {
	return len(e.Builds) + len(e.Requests) + len(e.Logs) + len(e.Artifacts) + len(e.Mails) + len(e.Entries)
}

// Empty reports whether there is nothing to remove.
func (e *Expired) Empty() bool { return e.Len() == 0 }

// Batch returns a batch that removes everything in e.
func (e *Expired) Batch() *Batch {
	b := NewBatch()
	b.DeleteBuilds(e.Builds...)
	b.DeleteRequests(e.Requests...)
	for _, l := range e.Logs {
		b.DeleteLogs(l.ID)
	}
	for _, k := range e.Artifacts {
		b.DeleteArtifacts(k.Build)
	}
	b.DeleteMails(e.Mails...)
	b.DeleteEntries(e.Entries...)
	return b
}

// Expired returns what r no longer keeps, oldest first, at most r.Limit of a
// kind. To free a full disk, ask with LogsBefore now and remove logs until it
// is enough.
func (s *Store) Expired(ctx context.Context, r Retention) (Expired, error) {
	if r.Limit <= 0 {
		r.Limit = defaultLimit
	}
	return read(s, func(q querier) (Expired, error) { return s.expired(ctx, q, r) }, "read what is not kept")
}

func (s *Store) expired(ctx context.Context, q querier, r Retention) (e Expired, err error) {
	if r.Builds > 0 {
		if e.Builds, err = idRows(ctx, q, expiredBuilds, r.Builds, r.Limit); err != nil {
			return e, err
		}
		if e.Requests, err = idRows(ctx, q, expiredRequests, r.Builds, r.Limit); err != nil {
			return e, err
		}
	}
	for i, id := range e.Builds {
		logs, err := logRows.list(ctx, s, q, "WHERE build = ? ORDER BY id", id)
		if err != nil {
			return e, err
		}
		e.Logs = append(e.Logs, logs...)
		if len(e.Logs) >= r.Limit {
			e.Builds = e.Builds[:i+1]
			break
		}
	}
	if !r.LogsBefore.IsZero() && len(e.Logs) < r.Limit {
		old, err := oldLogs(ctx, q, r)
		if err != nil {
			return e, err
		}
		for _, l := range old {
			if !slices.Contains(e.Builds, l.Build) {
				e.Logs = append(e.Logs, l)
			}
		}
	}
	if !r.ArtifactsBefore.IsZero() {
		if e.Artifacts, err = oldArtifacts(ctx, q, r, e.Logs); err != nil {
			return e, err
		}
	}
	if !r.RecordsBefore.IsZero() {
		if e.Mails, err = idRows(ctx, q, expiredMails, recordsKept-1, nanos(r.RecordsBefore), r.Limit); err != nil {
			return e, err
		}
		if e.Entries, err = idRows(ctx, q, expiredEntries, recordsKept-1, nanos(r.RecordsBefore), r.Limit); err != nil {
			return e, err
		}
	}
	return e, nil
}

// Both queries jump from builder to builder in an index, find the first row
// that is too many, and read on from there.
const (
	expiredBuilds = `WITH RECURSIVE names (name) AS (
			SELECT min(builder) FROM builds
			UNION ALL
			SELECT (SELECT min(builder) FROM builds WHERE builder > name) FROM names WHERE name IS NOT NULL)
		SELECT id FROM names JOIN builds ON builder = name
		WHERE name IS NOT NULL AND result >= 0
			AND number <= (SELECT number FROM builds AS b WHERE b.builder = name ORDER BY number DESC LIMIT 1 OFFSET ?)
		LIMIT ?`
	expiredRequests = `WITH RECURSIVE names (name) AS (
			SELECT min(builder) FROM requests
			UNION ALL
			SELECT (SELECT min(builder) FROM requests WHERE builder > name) FROM names WHERE name IS NOT NULL)
		SELECT id FROM names JOIN requests ON builder = name
		WHERE name IS NOT NULL AND state = 2
			AND id <= (SELECT id FROM requests AS r WHERE r.builder = name ORDER BY id DESC LIMIT 1 OFFSET ?)
			AND NOT EXISTS (SELECT 1 FROM builds WHERE request = requests.id)
		LIMIT ?`
)

// recordsKept is how many mails, and lines of the journal, stay however old they are.
const recordsKept = 1000

// Ids rise with time: both queries read from the oldest to the first that is
// young enough.
const (
	expiredMails = `SELECT id FROM mails
		WHERE id < (SELECT id FROM mails ORDER BY id DESC LIMIT 1 OFFSET ?1)
			AND id < ifnull((SELECT id FROM mails WHERE created >= ?2 ORDER BY id LIMIT 1), 9223372036854775807)
			AND done <> 0 AND done < ?2
		ORDER BY id LIMIT ?3`
	expiredEntries = `SELECT id FROM journal
		WHERE id < (SELECT id FROM journal ORDER BY id DESC LIMIT 1 OFFSET ?1)
			AND id < ifnull((SELECT id FROM journal WHERE time >= ?2 ORDER BY id LIMIT 1), 9223372036854775807)
		ORDER BY id LIMIT ?3`
)

func idRows(ctx context.Context, q querier, query string, args ...any) ([]int64, error) {
	var ids []int64
	err := scan(ctx, q, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, query, args...)
	return ids, err
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// oldLogs reads logs in the order in which they were made. It stops at the
// first whose build began after r.LogsBefore: every later log is of a build
// that ended after it, or has not ended.
func oldLogs(ctx context.Context, q querier, r Retention) ([]Log, error) {
	var list []Log
	err := scan(ctx, q, func(rows *sql.Rows) error {
		var l Log
		var started, completed time.Time
		var ended bool
		err := rows.Scan(&l.ID, &l.Build, &l.Step, &l.Name, &l.Ref, &l.Lines, &l.Bytes, &l.Truncated, &l.Complete,
			stamp{&started}, stamp{&completed}, &ended)
		switch {
		case err != nil:
			return err
		case len(list) == r.Limit || !started.Before(r.LogsBefore):
			return errEnough
		case l.Complete && ended && completed.Before(r.LogsBefore):
			list = append(list, l)
		}
		return nil
	}, `SELECT logs.id, build, step, name, ref, lines, bytes, truncated, complete, started, completed, result >= 0
		FROM logs CROSS JOIN builds ON builds.id = logs.build ORDER BY logs.id`)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}
