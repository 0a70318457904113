//go:build unix

package engine

import (
	"fmt"
	"syscall"
)

// logsFull is what a full disk looks like to the log store.
func logsFull() error { return fmt.Errorf("write log: %w", syscall.ENOSPC) }
