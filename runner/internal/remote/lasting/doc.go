// Package lasting keeps a stream of messages between two Bothys going over
// connections that are cut: each message is delivered once, in order, whatever
// becomes of the connections, until the session is over.
//
//	stream.go     Stream: a side of a session; how it ends
//	send.go       what goes out, until the peer has dealt with it
//	receive.go    what comes in; pings
//	serve.go      a connection from its beginning to its end
//	spool.go      what has no room in memory while the connection is cut
//	tools.go      buffers and zstd; websocket.go a connection over a WebSocket
//
// # How it works
//
// Every message has a number. The sender keeps it until the receiver has dealt
// with it, which is acknowledged cumulatively, with the next message or within
// 25 ms. After a cut both sides tell how far they had received, and go on after
// that: what the other has is not sent again, what it has not is. A message that
// comes twice is dropped by its number, and one that is missing ends the
// connection.
//
// What the receiver has not dealt with is bounded by the window: a sender of bulk
// waits. While the connection is cut, or nothing was acknowledged for 2 s, what the
// window has no room for goes to the [Spool], if there is one, and when that is
// full the sender waits. Answers never wait: their number is bounded by what was
// asked. The reader of a connection never waits either, so pings are answered
// however slow the receiver is.
//
// Bulk is compressed with zstd when both understand it and the way was measured
// to be slow while messages waited, and each message only if that makes it smaller
// by an eighth.
//
// A stream knows no policy: who may resume it, and until when, is its owner's. It
// tells when the peer was last heard ([Stream.Heard]), and when the last ping that
// was answered had been sent ([Stream.Confirmed]).
package lasting
