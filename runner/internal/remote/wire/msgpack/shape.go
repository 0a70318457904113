package msgpack

import "encoding/binary"

// kind is what matters of a value's type while checking.
type kind uint8

const (
	scalar kind = iota
	text
	blob
	list
	dict
)

func (k kind) String() string {
	return [...]string{"a scalar", "text", "bytes", "a list", "a dictionary"}[k]
}

// shape is what an encoded value takes: its header, then its bytes or elements.
type shape struct {
	kind     kind
	head     int    // bytes
	body     int    // bytes
	elements uint64 // of a list; of a dictionary, keys and values
}

var errShort = frameError("it ends too early")

// next returns the shape of the value that b starts with. Its bytes are there;
// its elements may not be.
//
// Formats: the MessagePack specification, "Formats". Extensions are refused, the
// protocol has none.
func next(b []byte) (shape, error) {
	if len(b) == 0 {
		return shape{}, errShort
	}
	v, size := shapeOf(b[0])
	if size < 0 {
		return shape{}, frameError("a value of type %#x", b[0])
	}
	if size > 0 {
		v.head += size
		if len(b) < v.head {
			return shape{}, errShort
		}
		switch n := length(b[1:v.head]); v.kind {
		case list:
			v.elements = n
		case dict:
			v.elements = 2 * n
		default:
			v.body = int(min(n, uint64(len(b)))) // too large is found below
		}
	}
	if len(b)-v.head < v.body {
		return shape{}, errShort
	}
	return v, nil
}

// shapeOf returns what the first byte of a value says of it, and the size of the
// length that follows; -1 for types that may not occur.
func shapeOf(lead byte) (v shape, size int) {
	v.head = 1
	switch {
	case lead < 0x80 || lead >= 0xe0: // positive and negative fixint
		v.kind = scalar
	case lead < 0x90:
		v.kind, v.elements = dict, 2*uint64(lead&0x0f)
	case lead < 0xa0:
		v.kind, v.elements = list, uint64(lead&0x0f)
	case lead < 0xc0:
		v.kind, v.body = text, int(lead&0x1f)
	default:
		switch lead {
		case 0xc0, 0xc2, 0xc3: // nil, false, true
			v.kind = scalar
		case 0xcc, 0xd0: // unsigned, signed
			v.kind, v.body = scalar, 1
		case 0xcd, 0xd1:
			v.kind, v.body = scalar, 2
		case 0xce, 0xd2, 0xca: // unsigned, signed, float
			v.kind, v.body = scalar, 4
		case 0xcf, 0xd3, 0xcb:
			v.kind, v.body = scalar, 8
		case 0xc4, 0xc5, 0xc6:
			v.kind, size = blob, 1<<(lead-0xc4)
		case 0xd9, 0xda, 0xdb:
			v.kind, size = text, 1<<(lead-0xd9)
		case 0xdc, 0xdd:
			v.kind, size = list, 2<<(lead-0xdc)
		case 0xde, 0xdf:
			v.kind, size = dict, 2<<(lead-0xde)
		default: // extensions, and 0xc1, which is never used
			size = -1
		}
	}
	return v, size
}

// length reads a big-endian number of 1, 2 or 4 bytes.
func length(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	default:
		return uint64(binary.BigEndian.Uint32(b))
	}
}
