package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// A compressed log is a zstd file that `zstd -d` turns back into the file it was
// made from, trailer apart: independent frames of frameSize bytes each (the last
// one smaller), then a skippable frame with
//
//	compressed size of every frame u32, number of frames u32, crc32c of these u32, the trailer
//
// so that any part is found without reading what comes before.
const (
	frameSize     = 1 << 20
	skippableMag  = 0x184D2A50 // RFC 8878, 3.1.2
	skippableHead = 8
	maxFrames     = 1 << 24
)

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(2*frameSize),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
}

// compress replaces the finished file of a log by its compressed form.
func (s *Store) compress(id int64) error {
	err := s.compressOwn(s.ctx, id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return nil // removed, or the store is being closed: the next Open takes it up
	}
	if err != nil {
		return fmt.Errorf("compress log %d: %w", id, err)
	}
	return nil
}

func (s *Store) compressOwn(ctx context.Context, id int64) error {
	path := s.livePath(id)
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	t, err := readTrailer(in, st.Size())
	if err != nil {
		return err
	}
	done := s.donePath(id)
	dir := filepath.Dir(done)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp := done + ".tmp"
	out, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = writeFrames(ctx, out, in, t)
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = os.Rename(tmp, done)
	}
	if err == nil {
		err = errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return os.Remove(done) // the log was removed meanwhile
	}
	return nil // a file that a reader keeps from being removed goes at the next Open
}

func writeFrames(ctx context.Context, out io.Writer, in io.ReaderAt, t *trailer) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(frameSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	defer enc.Close()
	le := binary.LittleEndian
	raw := make([]byte, frameSize)
	var packed, table []byte
	for off := int64(0); off < t.End; off += frameSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(frameSize, t.End-off)
		if _, err := in.ReadAt(raw[:n], off); err != nil {
			return err
		}
		packed = enc.EncodeAll(raw[:n], packed[:0])
		if _, err := out.Write(packed); err != nil {
			return err
		}
		table = le.AppendUint32(table, uint32(len(packed)))
	}
	table = le.AppendUint32(table, uint32(len(table)/4))
	table = le.AppendUint32(table, crc32.Checksum(table, castagnoli))
	table = t.append(table)
	head := le.AppendUint32(nil, skippableMag)
	head = le.AppendUint32(head, uint32(len(table)))
	_, err = out.Write(append(head, table...))
	return err
}

// frames reads a compressed log as if it was not compressed.
type frames struct {
	src     io.ReaderAt
	dec     *zstd.Decoder
	trailer *trailer
	offs    []int64 // of the frames, and the end of the last
	packed  []byte
	buf     []byte
	raw     []byte // in buf: frame number at
	at      int
}

func openFrames(src io.ReaderAt, size int64, dec *zstd.Decoder) (*frames, error) {
	t, err := readTrailer(src, size)
	if err != nil {
		return nil, err
	}
	// The table ends where the trailer begins.
	var tail [4]byte
	if _, err := src.ReadAt(tail[:], size-trailerTail); err != nil {
		return nil, fmt.Errorf("read frame table: %w", err)
	}
	le := binary.LittleEndian
	end := size - trailerTail - int64(le.Uint32(tail[:])) - 8
	bad := fmt.Errorf("%w: bad frame table", ErrCorrupt)
	n := (t.End + frameSize - 1) / frameSize
	if n > maxFrames || end < 4*n+skippableHead {
		return nil, bad
	}
	b := make([]byte, 4*n+8)
	if _, err := src.ReadAt(b, end-4*n); err != nil {
		return nil, fmt.Errorf("read frame table: %w", err)
	}
	if int64(le.Uint32(b[4*n:])) != n || crc32.Checksum(b[:4*n+4], castagnoli) != le.Uint32(b[4*n+4:]) {
		return nil, bad
	}
	z := &frames{src: src, dec: dec, trailer: t, offs: make([]int64, n+1), at: -1}
	for i := range n {
		c := int64(le.Uint32(b[4*i:]))
		if c == 0 || c > 2*frameSize {
			return nil, bad
		}
		z.offs[i+1] = z.offs[i] + c
	}
	if z.offs[n] != end-4*n-skippableHead {
		return nil, bad
	}
	return z, nil
}

// ReadAt serves one goroutine at a time.
func (z *frames) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off < 0 || off >= z.trailer.End {
			return n, io.EOF
		}
		if err := z.load(int(off / frameSize)); err != nil {
			return n, err
		}
		m := copy(p[n:], z.raw[off%frameSize:])
		n += m
		off += int64(m)
	}
	return n, nil
}

// load decompresses frame i unless it is there.
func (z *frames) load(i int) error {
	if z.at == i {
		return nil
	}
	z.at = -1
	size := int(z.offs[i+1] - z.offs[i])
	if cap(z.packed) < size {
		z.packed = make([]byte, size)
	}
	z.packed = z.packed[:size]
	if _, err := z.src.ReadAt(z.packed, z.offs[i]); err != nil {
		return fmt.Errorf("read frame %d: %w", i, err)
	}
	want := int(min(frameSize, z.trailer.End-int64(i)*frameSize))
	if z.buf == nil {
		z.buf = make([]byte, min(frameSize, z.trailer.End))
	}
	raw, err := z.dec.DecodeAll(z.packed, z.buf[:0:want])
	if err != nil || len(raw) != want {
		return fmt.Errorf("%w: frame %d of %d bytes has %d: %w", ErrCorrupt, i, want, len(raw), errOr(err))
	}
	z.raw, z.at = raw, i
	return nil
}

func errOr(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
