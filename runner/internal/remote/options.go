package remote

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Options is what a [Listener] is made of. Password must be given.
type Options struct {
	// Password returns what the worker of that name must know; false if there is
	// no such worker. It is asked at every login and must not block.
	Password func(name string) (Password, bool)
	// Builders names the builders that may run on a worker. Over Perspective
	// Broker they are announced when it attaches, and one that was told to
	// "--delete-leftover-dirs" keeps their directories. Nil: each is announced
	// when it is first used.
	Builders func(worker string) []string
	// Graceful is called when a worker asks to be stopped gracefully, as
	// "buildbot-worker create-worker --allow-shutdown" makes it. It must not
	// block. Nil: the worker is told that nobody does it.
	Graceful func(worker string)
	// TLS makes the listener speak TLS only; see [TLS]. Nil: clear text.
	TLS *tls.Config
	// KeepFailed is how many directories of failed builds are kept on a worker
	// for each builder; default 5, negative: none.
	KeepFailed int
	// Logger is told of connections and refusals; nil: nobody is.
	Logger *slog.Logger
}

// Password is what a worker must know: one of the two. It prints without it.
type Password struct {
	Text string
	// SHA256 is the digest, in hex, of a random password; Perspective Broker's
	// challenge needs Text.
	SHA256 string
}

// String says no value.
func (Password) String() string { return "(a worker's password)" }

// GoString is String.
func (p Password) GoString() string { return p.String() }

const (
	// SniffWait is how long a new peer may be silent before it is taken to speak
	// Perspective Broker.
	SniffWait = 300 * time.Millisecond
	// LoginTime is how long a peer may take until it is logged in.
	LoginTime = 10 * time.Second
	// AttachTime is how long a worker may take from there to having told about
	// itself.
	AttachTime = 30 * time.Second
	// PingTimeout is how long a connection may take to prove that it lives when
	// another one of the same name comes. Buildbot: PING_TIMEOUT.
	PingTimeout = 10 * time.Second
	// PulseInterval is the time between two pings of a worker that builds. behaviour.md: 10 s.
	PulseInterval = 10 * time.Second
	// DeadAfter is how long a worker that builds, or one that does not read what it
	// is sent, may be silent before it counts as lost. behaviour.md: 30 s.
	DeadAfter = 30 * time.Second
	// outputBytes is how much output of one command waits for its log.
	outputBytes = 1 << 20
)
