//go:build race

package spawn

// raceEnv keeps the race detector from sleeping for a second when a spawner ends.
func raceEnv() []string { return []string{"GORACE=atexit_sleep_ms=0"} }
