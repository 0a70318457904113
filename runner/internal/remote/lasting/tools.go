package lasting

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"bothy/runner/internal/remote/wire/bothy"
)

// Tools are buffers and codecs that streams share. Make them with [NewTools].
type Tools struct {
	buffers sync.Pool
	enc     *zstd.Encoder
	dec     *zstd.Decoder
}

// buffer is a buffer of the pool's.
type buffer struct{ b []byte }

// maxKept is the largest buffer that is used again.
const maxKept = 1 << 20

// zipWindow is the compressor's window: its memory is several times that.
const zipWindow = 256 << 10

// NewTools returns tools for any number of streams.
func NewTools() (*Tools, error) {
	t := &Tools{buffers: sync.Pool{New: func() any { return new(buffer) }}}
	var err error
	t.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(zipWindow),
		zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	t.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(bothy.MaxPayload), zstd.WithDecoderLowmem(true))
	return t, err
}

func (t *Tools) get() *buffer { return t.buffers.Get().(*buffer) }

func (t *Tools) give(b *buffer) {
	if cap(b.b) <= maxKept {
		t.buffers.Put(b)
	}
}

// zip appends the compressed message.
func (t *Tools) zip(b, msg []byte) []byte { return t.enc.EncodeAll(msg, b) }

// unpack returns a copy of a packet's message, as it was before it was compressed.
func (t *Tools) unpack(d bothy.Data) ([]byte, error) {
	if !d.Zipped {
		if len(d.Payload) > bothy.MaxPayload {
			return nil, fmt.Errorf("message %d: %d bytes", d.Seq, len(d.Payload))
		}
		return append(make([]byte, 0, len(d.Payload)), d.Payload...), nil
	}
	msg, err := t.dec.DecodeAll(d.Payload, nil)
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", d.Seq, err)
	}
	return msg, nil
}
