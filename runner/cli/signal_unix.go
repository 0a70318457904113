//go:build unix

package cli

import (
	"os"
	"syscall"
)

func stopSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} }

func serveSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1}
}

func isDrain(s os.Signal) bool  { return s == syscall.SIGUSR1 }
func isReload(s os.Signal) bool { return s == syscall.SIGHUP }
