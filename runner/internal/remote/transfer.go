package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"bothy/runner/internal/remote/wire"
)

// blockSize is how much of a file is sent at once. Buildbot: 256 KiB for files;
// Perspective Broker has room for 640 KiB.
const blockSize = 256 << 10

// maxBlock is how much of a file a worker may ask for at once.
const maxBlock = 512 << 10

// ErrTooLarge says that a file is larger than it may be.
var ErrTooLarge = errors.New("it is larger than allowed")

// Upload copies a file of the worker to w: at most limit bytes, of a larger one
// the error is [ErrTooLarge]. path is relative to the build's directory.
func (b *Build) Upload(ctx context.Context, path string, w io.Writer, limit int64) error {
	return b.upload(ctx, "upload_file", wire.Map{{Key: "keepstamp", Value: false}}, path, w, limit)
}

// UploadDir copies a directory of the worker to w, as a tar file of names
// relative to it: at most limit bytes. The names come from the worker, and must
// not be trusted.
func (b *Build) UploadDir(ctx context.Context, path string, w io.Writer, limit int64) error {
	return b.upload(ctx, "upload_directory", wire.Map{{Key: "compress", Value: nil}}, path, w, limit)
}

func (b *Build) upload(ctx context.Context, name string, args wire.Map, path string, w io.Writer, limit int64) error {
	if limit < 0 {
		return fmt.Errorf("%s %s: negative limit", name, path)
	}
	var written int64
	// The worker would cut the file off at the limit and call that a failure: it
	// is allowed one byte more, which tells the two apart.
	asked := limit
	if asked < math.MaxInt64 {
		asked++
	}
	return b.transfer(ctx, name, append(wire.Map{
		{Key: "path", Value: b.c.facts.paths.join(b.dir, path)},
		{Key: "maxsize", Value: asked},
		{Key: "blocksize", Value: int64(blockSize)},
	}, args...), path, func(a *ask) (any, error) {
		if a.op != askWrite {
			return nil, nil
		}
		if written += int64(len(a.data)); written > limit {
			return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, limit)
		}
		_, err := w.Write(a.data)
		return nil, err
	})
}

// Download copies what r gives, at most limit bytes, to a file of the worker,
// whose permissions become mode unless that is 0. path is relative to the build's
// directory; directories above it are made. After an error there may be half a
// file.
func (b *Build) Download(ctx context.Context, path string, r io.Reader, limit int64, mode fs.FileMode) error {
	const name = "download_file"
	var perm any
	if mode != 0 {
		perm = int64(mode.Perm())
	}
	var sent int64
	return b.transfer(ctx, name, wire.Map{
		{Key: "path", Value: b.c.facts.paths.join(b.dir, path)},
		{Key: "maxsize", Value: nil},
		{Key: "blocksize", Value: int64(blockSize)},
		{Key: "mode", Value: perm},
	}, path, func(a *ask) (any, error) {
		if a.op != askRead {
			return nil, nil
		}
		block := make([]byte, max(0, min(a.n, maxBlock)))
		n, err := io.ReadFull(r, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if sent += int64(n); sent > limit {
			return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, limit)
		}
		return block[:n], nil
	})
}

func (b *Build) transfer(ctx context.Context, name string, args wire.Map, path string, serve func(*ask) (any, error)) error {
	b.running.Lock()
	defer b.running.Unlock()
	var said tail
	out, err := b.c.exec(ctx, order{lane: b.lane, name: name, args: args, serve: serve, take: func(it item) error {
		if it.name == "stderr" {
			said.add(it.text)
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, path, err)
	}
	switch {
	case out.served != nil:
		return fmt.Errorf("%s %s: %w", name, path, out.served)
	case out.stopped:
		return fmt.Errorf("%s %s: %w", name, path, context.Cause(ctx))
	}
	rc, err := out.rc()
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, path, err)
	}
	if rc != 0 {
		return &rcError{name, path, rc, said.lastLine()}
	}
	return nil
}
