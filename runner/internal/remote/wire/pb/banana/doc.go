// Package banana reads and writes Banana, the encoding below Perspective Broker:
// lists of lists, byte strings, integers and floats.
//
// A value is a number in base 128, least significant digit first, and a byte with
// its high bit set that says what the number means: how many elements or bytes
// follow, the value itself, or which word of the vocabulary is meant.
//
// What [Decoder] returns is one of
//
//	int64, uint64   an integer; uint64 only where int64 is too small
//	float64         a float
//	string          a byte string of any content
//	[]any           a list
//
// # Sources
//
// twisted/spread/banana.py of Twisted 22.4.0 (MIT), which is Banana's only
// specification, and testdata/session.txt of package pb.
package banana
