// Package store keeps requests, builds, steps and the whereabouts of logs in
// one SQLite database, and gives them back after a restart.
//
//   - rows.go: the rows; each is a whole state, the last one put wins
//   - batch.go, commit.go: what is written, in one durable transaction
//   - start.go: what a new master takes up; it raises the epoch
//   - query.go, history.go, expire.go: reading, on connections of their own
//   - migrate.go, migrations: the schema
//
// What a transaction promises: [Store.Commit] returns after fsync
// (synchronous=FULL). An outcome that is on disk is never changed: a request
// that is Done, a build or step that has a result, a log that is complete.
// Writes of an attempt that was superseded are refused, see [Refused].
//
// Space that deleted rows leave is used again, the file does not shrink: it
// holds a few kB per kept build, and vacuuming would compete with commits.
package store
