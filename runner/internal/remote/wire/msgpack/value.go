package msgpack

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"bothy/runner/internal/remote/wire"
)

// readValue decodes the value b starts with and returns what follows it. b has
// been checked. Bytes alias b; text does not.
func readValue(b []byte) (any, []byte, error) {
	switch msgp.NextType(b) {
	case msgp.NilType:
		rest, err := msgp.ReadNilBytes(b)
		return nil, rest, err
	case msgp.BoolType:
		return boxed(msgp.ReadBoolBytes(b))
	case msgp.IntType:
		return boxed(msgp.ReadInt64Bytes(b))
	case msgp.UintType:
		u, rest, err := msgp.ReadUint64Bytes(b)
		if u <= math.MaxInt64 {
			return int64(u), rest, err
		}
		return u, rest, err
	case msgp.Float64Type, msgp.Float32Type:
		return boxed(readFloat(b))
	case msgp.StrType:
		return boxed(msgp.ReadStringBytes(b))
	case msgp.BinType:
		return boxed(msgp.ReadBytesZC(b))
	case msgp.ArrayType:
		return readList(b)
	case msgp.MapType:
		return boxed(readMap(b))
	}
	return nil, nil, fmt.Errorf("a value of type %#x", b[0])
}

func boxed[T any](v T, rest []byte, err error) (any, []byte, error) { return v, rest, err }

func readList(b []byte) (any, []byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	l := make([]any, n) // all are there: b has been checked
	for i := range l {
		if l[i], b, err = readValue(b); err != nil {
			return nil, nil, err
		}
	}
	return l, b, nil
}

func readMap(b []byte) (wire.Map, []byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	m := make(wire.Map, n)
	for i := range m {
		if m[i].Key, b, err = msgp.ReadStringBytes(b); err != nil {
			return nil, nil, err
		}
		if m[i].Value, b, err = readValue(b); err != nil {
			return nil, nil, err
		}
	}
	return m, b, nil
}

// readFloat reads any number as a float: Python writes 5.0 as a float and 5 as an
// integer, and both where a float is meant.
func readFloat(b []byte) (float64, []byte, error) {
	switch msgp.NextType(b) {
	case msgp.IntType:
		i, rest, err := msgp.ReadInt64Bytes(b)
		return float64(i), rest, err
	case msgp.UintType:
		u, rest, err := msgp.ReadUint64Bytes(b)
		return float64(u), rest, err
	case msgp.Float32Type:
		f, rest, err := msgp.ReadFloat32Bytes(b)
		return float64(f), rest, err
	}
	return msgp.ReadFloat64Bytes(b)
}

// appendValue writes a value of those package wire lists, which is inside depth
// others.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(b), nil
	case bool:
		return msgp.AppendBool(b, v), nil
	case int64:
		return appendInt(b, v), nil
	case int:
		return appendInt(b, int64(v)), nil
	case int32:
		return appendInt(b, int64(v)), nil
	case uint64:
		return msgp.AppendUint64(b, v), nil
	case float64:
		return msgp.AppendFloat64(b, v), nil
	case string:
		return appendText(b, v)
	case []byte:
		return msgp.AppendBytes(b, v), nil
	case []any:
		return appendList(b, v, depth)
	case wire.Tuple:
		return appendList(b, v, depth)
	case wire.Map:
		return appendMap(b, v, depth)
	}
	return nil, fmt.Errorf("MessagePack has no %T", v)
}

var errDeep = fmt.Errorf("nested deeper than %d", MaxDepth)

func appendList(b []byte, l []any, depth int) (_ []byte, err error) {
	if depth >= MaxDepth {
		return nil, errDeep
	}
	b = msgp.AppendArrayHeader(b, uint32(len(l)))
	for _, v := range l {
		if b, err = appendValue(b, v, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendMap(b []byte, m wire.Map, depth int) (_ []byte, err error) {
	if depth >= MaxDepth {
		return nil, errDeep
	}
	b = msgp.AppendMapHeader(b, uint32(len(m)))
	for _, f := range m {
		if b, err = appendText(b, f.Key); err != nil {
			return nil, err
		}
		if b, err = appendValue(b, f.Value, depth+1); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Key, err)
		}
	}
	return b, nil
}

// appendInt writes an integer in its shortest form, as Python does. msgp's own
// AppendInt64 writes 200 in three bytes.
func appendInt(b []byte, i int64) []byte {
	if i >= 0 {
		return msgp.AppendUint64(b, uint64(i))
	}
	return msgp.AppendInt64(b, i)
}

// errNotText says that what should be text is not UTF-8: the peer would not read
// the frame, nor say so.
var errNotText = errors.New("text is not UTF-8")

func appendText(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errNotText
	}
	return msgp.AppendString(b, s), nil
}
