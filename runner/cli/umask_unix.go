//go:build unix

package cli

import "syscall"

func setUmask(mask int) { syscall.Umask(mask) }
