// Package bothy is the codec of what two Bothys say to each other below their
// MessagePack messages, so that these survive a cut connection. It has no policy
// and does no I/O; package lasting uses it.
//
// Each message of the WebSocket is a packet: one byte that says which, then its
// fields. Numbers are uvarints of encoding/binary, texts and bytes have their
// length before them.
//
//	hello     worker  it wants a session, or the one it had
//	welcome   master  it has it
//	refusal   master  that session is over
//	data      both    a message of the stream, with its number
//	ack       both    up to where the peer's messages have been dealt with
//	ping      both    to be answered with
//	pong      both
//	bye       both    the session is over
//
// The payload of data is a MessagePack frame or, in bulk, a command's [Output]:
// bytes as the command wrote them.
package bothy
