//go:build !linux

package machine

import "errors"

// hostAffinity is known on Linux only.
func hostAffinity() (int, error) { return 0, errors.ErrUnsupported }
