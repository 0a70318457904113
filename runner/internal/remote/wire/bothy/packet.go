package bothy

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Header is the name of the HTTP header in which both sides of a WebSocket's
// upgrade say that they speak packets, and Version its value.
const (
	Header  = "Bothy-Session"
	Version = "1"
)

const (
	// MaxPayload is the largest payload of [Data], not compressed: a MessagePack
	// frame of 16 MiB, which is that codec's limit, and its kind.
	MaxPayload = 16<<20 + 16
	// MaxPacket is the largest packet.
	MaxPacket = MaxPayload + maxHead
	// maxHead is what [Data] takes besides its payload: two bytes, two numbers.
	maxHead = 2 + 2*binary.MaxVarintLen64
	// maxText is the longest text of a packet; longer ones are cut.
	maxText = 256
)

// The first byte of a packet.
const (
	kindHello = iota + 1
	kindWelcome
	kindRefusal
	kindData
	kindAck
	kindPing
	kindPong
	kindBye
)

// Packet is one of [*Hello], [*Welcome], [*Refusal], [Data], [Ack], [Ping], [Pong]
// and [Bye].
type Packet interface{ isPacket() }

// Data is a message of the stream.
type Data struct {
	Seq     uint64 // of this side's messages, from 1
	Done    uint64 // up to which the peer's messages have been dealt with
	Zipped  bool   // Payload is a zstd frame
	Payload []byte
}

// Ack says up to which message the peer's have been dealt with.
type Ack struct{ Done uint64 }

// Ping is to be answered with a [Pong] of the same ID.
type Ping struct{ ID uint64 }

// Pong answers a [Ping].
type Pong struct{ ID uint64 }

// Bye ends the session.
type Bye struct{ Reason string }

func (*Hello) isPacket()   {}
func (*Welcome) isPacket() {}
func (*Refusal) isPacket() {}
func (Data) isPacket()     {}
func (Ack) isPacket()      {}
func (Ping) isPacket()     {}
func (Pong) isPacket()     {}
func (Bye) isPacket()      {}

// ErrPacket says that bytes are no packet. All errors of [Read] wrap it.
var ErrPacket = errors.New("not a packet")

// AppendData writes a [Data] up to where its payload begins.
func AppendData(b []byte, seq, done uint64, zipped bool) []byte {
	flags := byte(0)
	if zipped {
		flags = 1
	}
	b = append(b, kindData, flags)
	b = binary.AppendUvarint(b, seq)
	return binary.AppendUvarint(b, done)
}

// Append writes a packet.
func Append(b []byte, p Packet) []byte {
	switch p := p.(type) {
	case *Hello:
		return p.append(append(b, kindHello))
	case *Welcome:
		return p.append(append(b, kindWelcome))
	case *Refusal:
		return appendText(append(b, kindRefusal), p.Reason)
	case Data:
		return append(AppendData(b, p.Seq, p.Done, p.Zipped), p.Payload...)
	case Ack:
		return binary.AppendUvarint(append(b, kindAck), p.Done)
	case Ping:
		return binary.AppendUvarint(append(b, kindPing), p.ID)
	case Pong:
		return binary.AppendUvarint(append(b, kindPong), p.ID)
	case Bye:
		return appendText(append(b, kindBye), p.Reason)
	}
	panic(fmt.Sprintf("a packet of type %T", p))
}

// Read reads a packet. A payload aliases b.
func Read(b []byte) (Packet, error) {
	if len(b) == 0 || len(b) > MaxPacket {
		return nil, fmt.Errorf("%w: %d bytes", ErrPacket, len(b))
	}
	r := reader{b: b[1:]}
	var p Packet
	switch b[0] {
	case kindHello:
		p = r.hello()
	case kindWelcome:
		p = r.welcome()
	case kindRefusal:
		p = &Refusal{Reason: r.text()}
	case kindData:
		d := Data{Zipped: r.byte() == 1, Seq: r.number(), Done: r.number()}
		d.Payload, r.b = r.b, nil
		p = d
	case kindAck:
		p = Ack{Done: r.number()}
	case kindPing:
		p = Ping{ID: r.number()}
	case kindPong:
		p = Pong{ID: r.number()}
	case kindBye:
		p = Bye{Reason: r.text()}
	default:
		return nil, fmt.Errorf("%w: kind %d", ErrPacket, b[0])
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: kind %d: %w", ErrPacket, b[0], r.err)
	}
	return p, nil
}

var (
	errShort  = errors.New("it ends too early")
	errNumber = errors.New("a number out of range")
)

// reader takes fields off bytes. After an error it returns zeros. What follows the
// last known field is left: a later version may say more.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case n == 0:
		r.fail(errShort)
		return 0
	case n < 0:
		r.fail(errNumber)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns a field of at most max bytes, which aliases the packet.
func (r *reader) bytes(max uint64) []byte {
	n := r.number()
	switch {
	case n > max:
		r.fail(errNumber)
		return nil
	case n > uint64(len(r.b)):
		r.fail(errShort)
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) text() string { return string(r.bytes(maxText)) }

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

func appendText(b []byte, s string) []byte {
	return appendBytes(b, []byte(s[:min(len(s), maxText)]))
}
