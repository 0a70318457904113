//go:build unix

package basedir

import (
	"crypto/rand"
	"os"
)

// fill writes bytes that no file system can store in less space.
func fill(f *os.File, size int64) error {
	buf := make([]byte, 1<<20)
	for size > 0 {
		part := buf[:min(size, int64(len(buf)))]
		if _, err := rand.Read(part); err != nil {
			return err
		}
		n, err := f.Write(part)
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
