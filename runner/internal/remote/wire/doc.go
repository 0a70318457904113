// Package wire holds what the two protocols between a Buildbot master and its
// workers have in common: the values that arguments, updates and a worker's facts
// are made of. The protocols are in packages below it, as codecs without policy:
// they say what bytes mean and keep a hostile peer within limits, and leave it to
// their users whom to believe and what to do.
//
//	wire/msgpack   MessagePack, one message per WebSocket frame
//	wire/pb        Twisted's Perspective Broker: banana, jelly, references, calls
//
// # Values
//
// A value read from a peer is one of
//
//	nil              None
//	bool             a boolean
//	int64, uint64    an integer; uint64 only where int64 is too small
//	float64          a float
//	string           text, valid UTF-8
//	[]byte           bytes
//	[]any, Tuple     a list, a tuple (MessagePack knows lists only)
//	Map              a dictionary whose keys are text
//
// and, with Perspective Broker, what that package adds: references and failures.
// When writing, int and int32 may be used too. [Int], [Text] and the like read
// what peers of different ages send for the same thing.
package wire
