package msgpack

import (
	"cmp"
	"errors"
	"fmt"
)

// Limits bound what one frame may ask for. The zero value means the defaults.
type Limits struct {
	// Bytes is the size of a frame; default [DefaultBytes]. The WebSocket's own
	// read limit should be the same, so that no more is ever held.
	Bytes int
	// Values is how many values a frame may hold, keys included; default
	// [DefaultValues]. One takes up to 64 bytes once decoded.
	Values int
}

// Defaults of [Limits].
const (
	// DefaultBytes leaves room for an upload's block of any sensible size and for
	// a line of output that is a whole file.
	DefaultBytes = 16 << 20
	// DefaultValues is that of an update with half a million lines. A worker
	// sends 64 KiB at a time, that is 131,072 values if all lines are empty.
	DefaultValues = 1 << 20
)

// MaxDepth is how deep values may nest. An update needs 5: dictionary, list of
// pairs, pair, log, text and times, times.
const MaxDepth = 16

// maxFields is how many keys a message may have. Buildbot's have up to 6.
const maxFields = 16

func (l Limits) bytes() int  { return cmp.Or(l.Bytes, DefaultBytes) }
func (l Limits) values() int { return cmp.Or(l.Values, DefaultValues) }

// ErrFrame says that a frame is no message at all: not MessagePack, not a
// dictionary with "op" and "seq_number", or beyond a limit. The peer cannot be
// answered. All errors of [Read] wrap it that are not a [MessageError].
var ErrFrame = errors.New("not a message")

func frameError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFrame, fmt.Errorf(format, args...))
}

// ErrUnknownOp says that there is no such operation.
var ErrUnknownOp = errors.New("unknown operation")

// MessageError says that a message is of an unknown kind, or that its content is
// not right. Its sender waits for a response of this number, unless the message
// was a response itself.
type MessageError struct {
	Seq int64
	Op  string
	Err error
}

func (e *MessageError) Error() string { return fmt.Sprintf("message %q: %v", e.Op, e.Err) }

// Unwrap returns what is wrong.
func (e *MessageError) Unwrap() error { return e.Err }
