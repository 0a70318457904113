package banana

import (
	"encoding/binary"
	"math"
)

// AppendList starts a list of n elements, which must follow.
func AppendList(b []byte, n int) []byte {
	return append(appendNumber(b, uint64(n)), typeList)
}

// AppendInt writes an integer as Twisted does: what does not fit 32 bits is a
// "long".
func AppendInt(b []byte, i int64) []byte {
	switch {
	case i >= 0:
		return AppendUint(b, uint64(i))
	case i >= math.MinInt32:
		return append(appendNumber(b, uint64(-i)), typeNeg)
	default:
		return append(appendNumber(b, -uint64(i)), typeLongNeg)
	}
}

// AppendUint writes an integer that is not negative.
func AppendUint(b []byte, u uint64) []byte {
	b = appendNumber(b, u)
	if u <= math.MaxInt32 {
		return append(b, typeInt)
	}
	return append(b, typeLongInt)
}

// AppendFloat writes a float.
func AppendFloat(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, typeFloat), math.Float64bits(f))
}

// AppendString writes a byte string, in the dialect "pb". A peer accepts up to
// [MaxString] bytes.
func AppendString(b []byte, s string) []byte {
	if w := word(s); w != 0 {
		return append(b, byte(w), typeVocab)
	}
	return AppendPlain(b, s)
}

// AppendBytes is [AppendString] for bytes.
func AppendBytes(b, s []byte) []byte {
	if len(s) <= longestWord {
		return AppendString(b, string(s))
	}
	return append(append(appendNumber(b, uint64(len(s))), typeString), s...)
}

// AppendPlain writes a byte string without use of the vocabulary, as must be done
// until both sides have agreed on the dialect.
func AppendPlain(b []byte, s string) []byte {
	return append(append(appendNumber(b, uint64(len(s))), typeString), s...)
}

// appendNumber writes a number in base 128, least significant digit first.
func appendNumber(b []byte, u uint64) []byte {
	for u > 0x7f {
		b = append(b, byte(u&0x7f))
		u >>= 7
	}
	return append(b, byte(u))
}
