// Package remote is the master's side of remote workers: it listens for them,
// checks who they are, and makes each a [worker.Kind] whose builds run through
// the remote commands of Buildbot's worker protocols. An unmodified
// buildbot-worker is a worker.
//
//	listener.go   Listener: accepts, limits strangers, tells the protocols apart
//	sniff.go      the protocols by their first bytes
//	guard.go      how many strangers there may be, and how failures slow them down
//	login.go      names and passwords
//	worker.go     Worker: the kind; who wins when a name comes twice
//	conn.go       Conn: a worker's connection, whatever the protocol
//	link.go       what a protocol must do, and what it reports
//	msgpack.go    MessagePack over WebSocket
//	handshake.go  sessions with other Bothys: begun, gone on with, refused
//	lease.go      leasedLink: such a session, which outlives its connections
//	pb.go         Perspective Broker
//	command.go    a remote command from its start to its end
//	build.go      a build's directory; shell.go its commands; git.go its source
//	transfer.go   files to and from the worker
//
// # One port, two protocols
//
// A worker that speaks MessagePack begins with an HTTP request; one that speaks
// Perspective Broker says nothing until the master has spoken. So a peer that is
// silent for [SniffWait] is taken to speak Perspective Broker: its login takes
// that much longer, once per connection. A MessagePack worker whose request takes
// longer than that to come is taken for the other, fails, and tries again.
//
// # What a worker of Buildbot's cannot do
//
// It kills only the process group of a command; what escapes that survives. Over
// MessagePack it lets commands run on when the connection drops. Over Perspective
// Broker its output comes every 5 s, ends of line are made "\n", and lines of
// more than 4096 characters are damaged. It sends text only: bytes that are not
// UTF-8 become U+FFFD, and a last line without an end gets one. Its results count
// only on the connection they were started on. Over MessagePack its own log has
// every message, and so every secret in a command.
//
// # Between two Bothys
//
// A worker of Bothy's that speaks MessagePack says so in a header of its request,
// which Buildbot's masters ignore, as its workers ignore the master's. Then the
// messages are the same, but they go through a stream of package lasting, below
// which connections may come and go: nothing above it notices a cut. Only output
// differs: it comes as bytes, and is not answered.
//
// The first packet is the worker's hello. To a new worker the master gives a session:
// a token that nobody can guess, the epoch, the lease, the window. A worker that
// comes with the token of its session goes on with it, in place of the connection
// that may be half open. To any other token the answer is a refusal, logged: the
// session is over, or it is another master's, and the worker ends what it runs
// before it asks for a new one. A session lives in memory only, so none outlives its
// master.
//
// The worker pings, and counts its lease from the sending of the last ping that was
// answered, with a clock that counts suspension; it looks at it before it sends
// anything. When the lease is over it ends its processes. The master counts from the
// last ping it has seen, which is later, and adds the grace that ending takes and a
// margin for the clocks: then the session is over ([worker.ErrLost]), and its builds
// can be run again without running twice. Until then the [Conn] lives, tells that it
// is cut ([worker.Holder]), and what is asked of the worker waits for it; only what
// is to be cancelled or killed is answered at once, its worker ends it when it is
// back or with the lease.
//
// A newcomer of the name gets it at once if it comes from the base directory of the
// worker that is cut off, which only one process can have and in which nothing of an
// earlier one runs; or if no build is held. Else it must wait for the lease.
//
// Each attempt's commands carry its token in their ids. What comes of a command that
// nobody waits for any more is refused, and logged once.
//
// # Limits
//
// What a peer may make us hold: as a stranger some KiB and 10 s, and when there are
// too many the address that has the most of them makes room; as a worker one
// frame, and 1 MiB of output for each running command; as a Bothy's, the window of
// 4 MiB and 20 MiB of uploads. When a log cannot be written as fast as a worker
// sends, its connection is not read, and TCP slows it down; another Bothy is not
// acknowledged, and waits. A peer that does not read what it is sent for 30 s is
// dropped.
package remote
