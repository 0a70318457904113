package basedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// BallastSize is how much space is set aside, in bytes. It holds the endings
// of some thousand builds.
const BallastSize = 16 << 20

// Ballast is a file of [BallastSize] that is removed when the disk is full, so
// that what has ended can still be recorded.
type Ballast struct {
	path string
	free func() (int64, error)
}

// Free removes the file. It may be called again.
func (b *Ballast) Free() error {
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free ballast: %w", err)
	}
	return nil
}

// Restore makes the file unless it is there. It refuses when less than as much
// again would be left, since it would fill the disk that it is meant for. It
// costs little; a program in a hurry to start calls it later.
func (b *Ballast) Restore() error {
	if info, err := os.Stat(b.path); err == nil && info.Size() == BallastSize {
		return nil
	}
	free, err := b.free()
	if err != nil {
		return fmt.Errorf("restore ballast: %w", err)
	}
	if free < 2*BallastSize {
		return fmt.Errorf("restore ballast: %d MiB are free, %d are wanted", free>>20, 2*BallastSize>>20)
	}
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("restore ballast: %w", err)
	}
	if err := errors.Join(allocate(f, BallastSize), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("restore ballast: %w", err), b.Free())
	}
	return nil
}
