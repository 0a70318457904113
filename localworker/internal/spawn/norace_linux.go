//go:build !race

package spawn

func raceEnv() []string { return nil }
