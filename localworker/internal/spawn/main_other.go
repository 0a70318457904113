//go:build !linux

package spawn

// Main must be the first thing in main. Only Linux has spawners; elsewhere it
// does nothing.
func Main() {}
