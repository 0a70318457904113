package bothy

import (
	"encoding/binary"
	"math"
	"time"
)

// Token names a session; nobody else can guess it. The zero value names none. It
// prints without its value.
type Token [16]byte

// String says no value.
func (Token) String() string { return "(a session's token)" }

// Set reports whether the token names a session.
func (t Token) Set() bool { return t != Token{} }

// Hello is the first packet of a connection, from the worker.
type Hello struct {
	// Token is that of the session to be gone on with; not set: a new one.
	Token Token
	// Received is up to which message of that session the master's have come.
	Received uint64
	// Place names the worker's base directory, which only one worker can have at
	// a time, and where nothing runs any more that an earlier one started.
	Place string
	// Zstd says that compressed payloads are understood.
	Zstd bool
}

// Welcome is the master's answer.
type Welcome struct {
	// Resumed says that the session goes on; Token and what follows Received are
	// then what they were.
	Resumed bool
	// Received is up to which message the worker's have come.
	Received uint64
	Token    Token
	// Epoch is the master's, ID the session's number in it.
	Epoch int64
	ID    uint64
	// Lease is how long the worker may go on without having heard of the master.
	Lease time.Duration
	// Window is how many bytes of messages that were not dealt with may be on
	// their way to the master.
	Window int64
	Zstd   bool
}

// Refusal is the master's answer when the session is not gone on with. The worker
// must end what runs in it, and may then ask for a new one.
type Refusal struct{ Reason string }

func (h *Hello) append(b []byte) []byte {
	b = append(b, h.Token[:]...)
	b = binary.AppendUvarint(b, h.Received)
	b = appendText(b, h.Place)
	return append(b, flag(h.Zstd))
}

func (r *reader) hello() *Hello {
	h := &Hello{Token: r.token(), Received: r.number(), Place: r.text()}
	h.Zstd = r.byte() == 1
	return h
}

func (w *Welcome) append(b []byte) []byte {
	b = append(b, flag(w.Resumed))
	b = binary.AppendUvarint(b, w.Received)
	b = append(b, w.Token[:]...)
	b = binary.AppendUvarint(b, uint64(w.Epoch))
	b = binary.AppendUvarint(b, w.ID)
	b = binary.AppendUvarint(b, uint64(w.Lease))
	b = binary.AppendUvarint(b, uint64(w.Window))
	return append(b, flag(w.Zstd))
}

func (r *reader) welcome() *Welcome {
	w := &Welcome{Resumed: r.byte() == 1, Received: r.number(), Token: r.token()}
	w.Epoch, w.ID = r.positive(), r.number()
	w.Lease, w.Window = time.Duration(r.positive()), r.positive()
	w.Zstd = r.byte() == 1
	return w
}

// positive returns a number that an int64 holds.
func (r *reader) positive() int64 {
	v := r.number()
	if v > math.MaxInt64 {
		r.fail(errNumber)
		return 0
	}
	return int64(v)
}

func (r *reader) token() (t Token) {
	if len(r.b) < len(t) {
		r.fail(errShort)
		return t
	}
	copy(t[:], r.b)
	r.b = r.b[len(t):]
	return t
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
