// Package peertest holds tests of the codecs against the programs they were made
// for: unmodified buildbot-worker and Buildbot master, each with the least of a
// counterpart that gets a command run.
//
//   - rig_linux_test.go: starts the real programs
//   - pb_linux_test.go: Perspective Broker, both ends
//   - msgpack_linux_test.go: MessagePack over WebSocket, both ends
//   - link_linux_test.go: the least that MessagePack needs besides its codec
package peertest
