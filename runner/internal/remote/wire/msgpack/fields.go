package msgpack

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"

	"bothy/runner/internal/remote/wire"
)

// fields are the entries of a message.
type fields []field

// fieldError says what is wrong with an entry.
type fieldError struct {
	key string
	err error
}

func (e *fieldError) Error() string { return e.key + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

var errMissing = errors.New("missing")

// raw returns the encoded value of key: of several, the last, as Python does.
func (f fields) raw(key string) ([]byte, bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if string(f[i].key) == key {
			return f[i].value, true
		}
	}
	return nil, false
}

// read decodes the value of key, which must be there.
func read[T any](f fields, key, want string, decode func([]byte) (T, []byte, error)) (T, error) {
	raw, ok := f.raw(key)
	if !ok {
		var zero T
		return zero, &fieldError{key, errMissing}
	}
	v, _, err := decode(raw)
	if err != nil {
		if errors.As(err, new(msgp.Error)) {
			err = fmt.Errorf("want %s, got a MessagePack %s", want, msgp.NextType(raw))
		}
		return v, &fieldError{key, err}
	}
	return v, nil
}

func (f fields) text(key string) (string, error) {
	return read(f, key, "text", msgp.ReadStringBytes)
}

func (f fields) int(key string) (int64, error) {
	return read(f, key, "an integer", msgp.ReadInt64Bytes)
}

func (f fields) float(key string) (float64, error) {
	return read(f, key, "a number", readFloat)
}

// bytes returns bytes that alias the frame.
func (f fields) bytes(key string) ([]byte, error) {
	return read(f, key, "bytes", msgp.ReadBytesZC)
}

func (f fields) dict(key string) (wire.Map, error) {
	return read(f, key, "a dictionary", readMap)
}

// optionalText returns "" for what is missing or nil.
func (f fields) optionalText(key string) (string, error) {
	raw, ok := f.raw(key)
	if !ok || msgp.IsNil(raw) {
		return "", nil
	}
	return f.text(key)
}

// seconds returns a duration that the wire has as a number of seconds.
func (f fields) seconds(key string) (time.Duration, error) {
	s, err := f.float(key)
	if err == nil && !(s >= 0 && s < maxSeconds) {
		err = &fieldError{key, fmt.Errorf("%v seconds", s)}
	}
	return time.Duration(math.Round(s * float64(time.Second))), err
}

// maxSeconds is a bit less than what a time.Duration holds.
const maxSeconds = 1 << 33

// nested returns the entries of a dictionary within the message.
func (f fields) nested(key string) (fields, error) {
	raw, ok := f.raw(key)
	if !ok {
		return nil, &fieldError{key, errMissing}
	}
	n, b, err := msgp.ReadMapHeaderBytes(raw)
	if err != nil {
		return nil, &fieldError{key, errors.New("want a dictionary")}
	}
	entries := make(fields, n) // all are there: the frame has been checked
	for i := range entries {
		if entries[i].key, b, err = msgp.ReadStringZC(b); err != nil {
			return nil, &fieldError{key, err}
		}
		rest, err := msgp.Skip(b)
		if err != nil {
			return nil, &fieldError{key, err}
		}
		entries[i].value, b = b[:len(b)-len(rest)], rest
	}
	return entries, nil
}
