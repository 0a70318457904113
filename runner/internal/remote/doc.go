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
// # Limits
//
// What a peer may make us hold: as a stranger some KiB and 10 s, and when there are
// too many the address that has the most of them makes room; as a worker one
// frame, and 1 MiB of output for each running command. When a log cannot be
// written as fast as a worker sends, its connection is not read, and TCP slows
// it down. A peer that does not read what it is sent for 30 s is dropped.
package remote
