package bothy

import (
	"errors"
	"fmt"
)

// The first byte of a payload.
const (
	// Frame: a MessagePack frame follows.
	Frame = 1
	// outputKind: an [Output] follows.
	outputKind = 2
)

// Output is what a command wrote, byte for byte.
type Output struct {
	// Command is the command's id.
	Command string
	// Stream is 'o', 'e' or 'h' as in package worker.
	Stream byte
	// Log is the name of a followed file, "" for the command's own output.
	Log string
	// Text is what was written.
	Text []byte
}

// ErrPayload says that bytes are no payload.
var ErrPayload = errors.New("not a payload")

// maxName is the longest id or name.
const maxName = 1 << 10

// AppendOutput writes a payload up to where Text begins.
func AppendOutput(b []byte, o Output) []byte {
	b = append(b, outputKind)
	b = appendBytes(b, []byte(o.Command))
	b = append(b, o.Stream)
	return appendBytes(b, []byte(o.Log))
}

// ReadPayload returns the MessagePack frame or the output that a payload is. Both
// alias it.
func ReadPayload(b []byte) (frame []byte, o *Output, err error) {
	if len(b) == 0 || len(b) > MaxPayload {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrPayload, len(b))
	}
	switch b[0] {
	case Frame:
		return b[1:], nil, nil
	case outputKind:
		r := reader{b: b[1:]}
		o = &Output{Command: string(r.bytes(maxName)), Stream: r.byte(), Log: string(r.bytes(maxName))}
		if r.err != nil {
			return nil, nil, fmt.Errorf("%w: output: %w", ErrPayload, r.err)
		}
		switch o.Stream {
		case 'o', 'e', 'h':
		default:
			return nil, nil, fmt.Errorf("%w: output of stream %q", ErrPayload, o.Stream)
		}
		o.Text = r.b
		return nil, o, nil
	}
	return nil, nil, fmt.Errorf("%w: kind %d", ErrPayload, b[0])
}
