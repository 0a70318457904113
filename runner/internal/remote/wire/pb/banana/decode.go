package banana

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Limits bound what one message may ask for. The zero value means the defaults.
type Limits struct {
	// Bytes is the size of a message; default [DefaultBytes].
	Bytes int
	// Values is how many values a message may hold, lists included; default
	// [DefaultValues]. One takes up to 40 bytes once decoded.
	Values int
	// String is how many bytes a string may have; default [MaxString].
	String int
	// List is how many elements a list may have; default [MaxList].
	List int
}

// Defaults of [Limits].
const (
	// DefaultBytes leaves room for the longest string that Twisted sends, and
	// for lists of files.
	DefaultBytes = 4 << 20
	// DefaultValues is that of a list of 100,000 files' names.
	DefaultValues = 400_000
)

// MaxDepth is how deep lists may nest. The environment of a command, a dictionary
// in a dictionary in a call's arguments, needs 10.
const MaxDepth = 64

// ErrEncoding says that bytes are not Banana, or beyond a limit. Nothing that
// follows can be understood.
var ErrEncoding = errors.New("not Banana")

func encodingError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrEncoding, fmt.Errorf(format, args...))
}

// Decoder reads values from a stream. It reads ahead.
type Decoder struct {
	r      *bufio.Reader
	limits Limits
	bytes  int // left of the message
	values int
	words  bool
}

// readAhead is the size of a decoder's buffer, most of what an idle connection
// costs. Larger strings are read past it.
const readAhead = 4 << 10

// NewDecoder returns a decoder that does not know the vocabulary yet.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: bufio.NewReaderSize(r, readAhead)}
}

// UseVocabulary makes the decoder accept the vocabulary, once the dialect "pb"
// was agreed on.
func (d *Decoder) UseVocabulary() { d.words = true }

// More waits for the first byte of the next value. At the end of the stream it
// returns [io.EOF].
func (d *Decoder) More() error {
	_, err := d.r.Peek(1)
	return err
}

// Decode reads the next value. Its errors wrap [ErrEncoding] or are those of the
// stream: [io.EOF] if it ends before the value, [io.ErrUnexpectedEOF] if within.
func (d *Decoder) Decode(l Limits) (any, error) {
	if err := d.More(); err != nil {
		return nil, err
	}
	d.limits = Limits{
		Bytes:  cmp.Or(l.Bytes, DefaultBytes),
		Values: cmp.Or(l.Values, DefaultValues),
		String: cmp.Or(l.String, MaxString),
		List:   cmp.Or(l.List, MaxList),
	}
	d.bytes, d.values = d.limits.Bytes, d.limits.Values
	v, err := d.value(0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return v, err
}

// Cost returns about how many bytes of memory the last value takes.
func (d *Decoder) Cost() int {
	const perValue = 40 // an interface, and the header of a string or list
	return d.limits.Bytes - d.bytes + perValue*(d.limits.Values-d.values)
}

// value reads a value that is inside depth lists.
func (d *Decoder) value(depth int) (any, error) {
	if d.values--; d.values < 0 {
		return nil, encodingError("more than %d values", d.limits.Values)
	}
	n, typ, err := d.token()
	if err != nil {
		return nil, err
	}
	switch typ {
	case typeList:
		if n > uint64(d.limits.List) {
			return nil, encodingError("a list of %d", n)
		}
		if depth == MaxDepth {
			return nil, encodingError("nested deeper than %d", MaxDepth)
		}
		return d.list(int(n), depth+1)
	case typeString:
		if n > uint64(d.limits.String) {
			return nil, encodingError("a string of %d bytes", n)
		}
		return d.str(int(n))
	case typeInt, typeLongInt:
		if n > math.MaxInt64 {
			return n, nil
		}
		return int64(n), nil
	case typeNeg, typeLongNeg:
		if n > -math.MinInt64 {
			return nil, encodingError("an integer below -2^63")
		}
		return -int64(n), nil
	case typeFloat:
		return d.float()
	case typeVocab:
		if !d.words || n == 0 || n >= uint64(len(vocabulary)) {
			return nil, encodingError("word %d of the vocabulary", n)
		}
		return vocabulary[n], nil
	}
	return nil, encodingError("a value of type %#x", typ)
}

// token reads a number and what it means.
func (d *Decoder) token() (n uint64, typ byte, err error) {
	for i := range maxPrefix + 1 {
		c, err := d.r.ReadByte()
		if err != nil {
			return 0, 0, err
		}
		if err := d.spend(1); err != nil {
			return 0, 0, err
		}
		if c >= 0x80 {
			return n, c, nil
		}
		if i >= 10 && c != 0 || i == 9 && c > 1 { // digits beyond 64 bits
			return 0, 0, encodingError("a number of more than 64 bits")
		}
		if i < 10 {
			n |= uint64(c) << (7 * i)
		}
	}
	return 0, 0, encodingError("a number of more than %d digits", maxPrefix)
}

// spend takes n bytes from what is left of the message.
func (d *Decoder) spend(n int) error {
	if d.bytes -= n; d.bytes < 0 {
		return encodingError("more than %d bytes", d.limits.Bytes)
	}
	return nil
}

// What is allocated on the word of a header; more only as it arrives.
const (
	firstElements = 64
	firstBytes    = 64 << 10
)

func (d *Decoder) list(n, depth int) (any, error) {
	l := make([]any, 0, min(n, firstElements))
	for range n {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}

func (d *Decoder) str(n int) (any, error) {
	if err := d.spend(n); err != nil {
		return nil, err
	}
	if n <= readAhead {
		b, err := d.r.Peek(n)
		if err != nil {
			return nil, err
		}
		s := string(b)
		_, err = d.r.Discard(n)
		return s, err
	}
	var b []byte
	for len(b) < n {
		next := min(n, max(2*len(b), firstBytes))
		b = append(make([]byte, 0, next), b...)
		got, err := io.ReadFull(d.r, b[len(b):next])
		if err != nil {
			return nil, err
		}
		b = b[:len(b)+got]
	}
	return string(b), nil
}

func (d *Decoder) float() (any, error) {
	if err := d.spend(8); err != nil {
		return nil, err
	}
	var b [8]byte
	if _, err := io.ReadFull(d.r, b[:]); err != nil {
		return nil, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b[:])), nil
}
