//go:build race

package store

// Under the race detector SQLite, which is Go here, takes ten times as long.
const raceDetector = true
