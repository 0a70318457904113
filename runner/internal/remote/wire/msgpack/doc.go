// Package msgpack reads and writes the messages of Buildbot's protocol
// msgpack_experimental_v7: one MessagePack dictionary per binary WebSocket frame,
// in both directions. It does no I/O; its user sends and receives the frames.
//
// Every message is a [Frame]: a sequence number and a [Message]. A request
// ([Print], [StartCommand], [Update] …) carries a number its sender counted from 0
// on this connection; the peer answers each with one [Response] of the same
// number. [Session] pairs them.
//
// The protocol has no version on the wire: the one of 3.6.0 is the one of today.
//
// # Limits
//
// [Read] takes bytes from a stranger. Before anything is decoded the whole frame
// is checked: its size, the number of values in it, how deep they nest, that keys
// are text, that text is UTF-8, that nothing follows it. What is decoded then
// costs at most a small multiple of the frame's size.
//
// # Sources
//
// buildbot/worker/protocols/manager/msgpack.py and buildbot_worker/msgpack.py of
// Buildbot 3.7.0 for names and rules, and the frames both exchange with each other
// (testdata/*.txt), which this package writes byte for byte as they do.
package msgpack
