// Package config turns bothy.toml into one validated value, [Config], and lets
// a Go program build the same value by hand.
//
// [Load] and [Parse] report every mistake of a file at once, each with its line
// and column ([Errors]). A Config built in Go is completed and checked by
// [Config.Complete], which applies the same rules; its errors name the field
// instead of a line.
//
// The zero value of a field means its default. Where the file gives 0 a meaning
// of its own ("no limit", "never"), Go code writes [Off].
package config

// Off is, in Go, what 0 says in the file: no limit, none, never. It is for
// fields whose zero value means a default other than that.
const Off = -1

// Config is everything a master needs to know.
type Config struct {
	Title string // shown on pages and in mails; default "Bothy"
	// URL is where people reach the master, ending in "/". Default: what
	// Web.Listen says, with the name of this host if that is all interfaces.
	URL string
	// BaseDir is where state, logs and build directories live; relative to Dir.
	// Default ".bothy".
	BaseDir string

	Web     Web
	Remote  Remote
	Machine Machine
	Store   Store
	Mail    Mail

	Workers    []Worker // none: one local worker named "bot1"
	Builders   []Builder
	Schedulers []Scheduler
	Reports    []Report
	Locks      []Lock
	Secrets    []SecretProvider // asked in this order

	File   string // absolute path of the file, "" when there is none
	Dir    string // absolute directory of the file; "" means the working directory
	Digest string // SHA-256 of the file's bytes in hex, "" when there is no file

	origin *origin // where the values stand in the file; nil when built in Go
}
