// Package store keeps requests, builds, steps, the whereabouts of logs, workers,
// builders, mails and a journal in one SQLite database, and gives them back
// after a restart.
//
//   - rows.go: the rows; each is a whole state, the last one put wins
//   - batch.go, commit.go, names.go, outbox.go: what is written, in one durable transaction
//   - start.go: what a new master takes up; it raises the epoch
//   - query.go, history.go, expire.go: reading, on connections of their own (pool.go)
//   - select.go, listed.go, page.go: reading what a REST query asks for;
//     tables.go says which fields there are, clause.go and plan.go write the SQL
//   - migrate.go, migrations: the schema
//
// What a transaction promises: [Store.Commit] returns after fsync
// (synchronous=FULL). An outcome that is on disk is never changed: a request
// that is Done, a build or step that has a result, a log that is complete.
// Writes of an attempt that was superseded are refused, see [Refused].
//
// A page of a hundred among a million builds is found by an index, whichever of
// them is the right one: [Select] decides, since SQLite knows nothing about how
// many rows have a value. Numbers of rows are kept by triggers in table totals.
//
// Space that deleted rows leave is used again, the file does not shrink: it
// holds a few kB per kept build, and vacuuming would compete with commits.
package store
