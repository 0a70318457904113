// Package agent is the worker's side of the remote protocols: it connects to a
// master, Buildbot's or Bothy's, and runs the commands it is sent, with the
// processes held by localworker. It replaces buildbot-worker.
//
//   - agent.go, backoff.go: connections, one after the other, and how it ends
//   - dial.go, proxy.go: TCP, TLS, HTTP CONNECT
//   - pb*.go, msgpack*.go: the two protocols
//   - lease.go, clock*.go: a session with another Bothy, which outlives its connections
//   - info.go, environ.go: what the worker says of itself, what its commands inherit
//   - machine.go: processes
//   - session.go, command.go: the commands of one connection
//   - shell*.go, remove.go, copy.go, files.go, glob.go, upload.go, tar.go,
//     download.go: the commands
//   - output.go, split.go, decode.go: output on its way to the master
//   - tac.go: what a buildbot.tac says
//
// # Sources
//
// The names and rules of the protocols are those of Buildbot 3.7.0, and the
// arguments that came after it (command version 3.3): buildbot_worker's pb.py,
// msgpack.py, base.py and commands, the master's worker/protocols, and what both
// were seen to do. Texts of header lines are the worker's own, since masters'
// users read and match them.
package agent
