package config

import "time"

// Web is the [web] table: the page and the REST interface.
type Web struct {
	// Listen is the address to listen on; default "127.0.0.1:8010". An address
	// that is not loopback needs users or tokens.
	Listen  string
	TLSCert string // PEM file, relative to the configuration's directory; needs TLSKey
	TLSKey  string
	Users   []User
	Tokens  []Token
}

// Role says what a user or a token may do.
type Role string

// The roles, each of which includes the ones before it.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Admin    Role = "admin"
)

// User is a person who may log in to the page.
type User struct {
	Name string
	// PasswordHash is an argon2id hash as printed by "bothy hash-password", or a
	// bcrypt one as printed by "htpasswd -B".
	PasswordHash Secret
	Role         Role // default Viewer
}

// Token lets a program use the REST interface.
type Token struct {
	Name   string
	Secret Secret // the token, or its SHA-256 in hex as printed by "bothy token"
	Role   Role   // default Viewer
}

// Remote is the [remote] table: where remote workers connect. Its port is only
// opened when a remote worker is configured.
type Remote struct {
	Listen   string // default "127.0.0.1:9989"
	TLSCert  string // PEM file; needs TLSKey
	TLSKey   string
	ClientCA string // PEM file: workers must show a certificate signed by it; needs TLSCert
}

// Machine is the [machine] table: what in-process workers may use together.
type Machine struct {
	CPUs   float64 // logical CPUs; default 0: affinity and the CPU quota of every cgroup above
	Memory int64   // bytes; default 0: RAM and the memory limit of every cgroup above
	// ReserveMemory is kept for the master and the system, in bytes. Default 0:
	// the larger of 256 MiB and 10 %. Off: nothing.
	ReserveMemory int64
	// MemoryPerBuild is the planning size, in bytes, of a build whose builder
	// says nothing and has no history. Default 1 GiB.
	MemoryPerBuild int64
	// PassEnv names environment variables of the master that steps see under
	// "bothy serve", beyond the built-in list.
	PassEnv []string
}

// Store is the [store] table: how long things are kept.
type Store struct {
	KeepBuilds           int           // per builder; default 1000, Off: all
	KeepLogs             time.Duration // default 90 days, Off: for ever
	KeepFailedWorkspaces int           // directories of failed builds; default 5, Off: none
	DiskCap              int64         // bytes for the whole base directory; default 20 GiB, Off: no limit
}

// Mail is the [mail] table: how mail leaves this machine. It alone sends no
// build mails; those are reports.
type Mail struct {
	From  string // default "bothy@localhost"
	Relay string // HOST:PORT; default "localhost:25"
	// TLS is how the connection is protected; default TLSAuto.
	TLS      MailTLS
	Username string
	Password Secret
	ReplyTo  string // "" adds no Reply-To header
}

// MailTLS is a way to protect the connection to a mail relay.
type MailTLS string

// The ways to protect the connection to a mail relay.
const (
	TLSAuto     MailTLS = "auto" // loopback: opportunistic, unverified; elsewhere STARTTLS, verified
	TLSStartTLS MailTLS = "starttls"
	TLSImplicit MailTLS = "implicit"
	TLSNone     MailTLS = "none"
)
