package engine

import (
	"fmt"
	"syscall"
)

// logsFull is what a full disk looks like to the log store: ERROR_DISK_FULL.
func logsFull() error { return fmt.Errorf("write log: %w", syscall.Errno(112)) }
